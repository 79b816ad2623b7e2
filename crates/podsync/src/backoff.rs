//! Memory between plans: what failed, and how long to wait before the next try.

use std::collections::BTreeMap;

use crate::Millis;

/// The first wait after a failure.
const FIRST: Millis = 10_000;
/// The longest wait.
const LONGEST: Millis = 300_000;
/// After this long without a failure the waits start over.
const FORGIVEN: Millis = 2 * LONGEST;
/// How long after a failed preparation (a missing config map, say) the next try comes.
const RETRY: Millis = 10_000;

/// A wait that doubles with each failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The present wait.
    pub delay: Millis,
    /// When it last grew.
    pub updated: Millis,
}

impl Backoff {
    /// The next longer wait, or the first when the last failure is long ago.
    fn next(previous: Option<Self>, event: Millis, now: Millis) -> Self {
        let delay = match previous {
            Some(old) if event - old.updated <= FORGIVEN => (old.delay * 2).min(LONGEST),
            Some(_) | None => FIRST,
        };
        Self {
            delay,
            updated: now,
        }
    }

    /// Until when to wait after something that happened at `event`, if that is still to come.
    fn until(self, event: Millis, now: Millis) -> Option<Millis> {
        let end = event + self.delay;
        (event - self.updated <= FORGIVEN && now < end).then_some(end)
    }
}

/// Why a container could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The waiting reason, such as `ErrImagePull`.
    pub reason: String,
    /// The words.
    pub message: String,
    /// When it failed.
    pub since: Millis,
    /// Not before this time again.
    pub retry_at: Millis,
    /// Set when an image could not be pulled: its name.
    pub image: Option<String>,
}

/// What a pod's worker remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    crashes: BTreeMap<(String, String), Backoff>,
    pulls: BTreeMap<String, Backoff>,
    failures: BTreeMap<String, Failure>,
    sandbox: Option<(Backoff, String)>,
}

impl Memory {
    /// A container is about to be started; `ended` is when the one before it ended.
    pub fn starting(&mut self, name: &str, hash: &str, ended: Option<Millis>, now: Millis) {
        let Some(ended) = ended else { return };
        let key = (name.to_owned(), hash.to_owned());
        let next = Backoff::next(self.crashes.get(&key).copied(), ended, now);
        self.crashes.insert(key, next);
    }

    /// A container was started.
    pub fn started(&mut self, name: &str) {
        if let Some(image) = self.failures.remove(name).and_then(|failure| failure.image) {
            self.pulls.remove(&image);
        }
    }

    /// A container could not be made or started.
    pub fn failed(&mut self, name: &str, reason: &str, message: &str, now: Millis) {
        let failure = Failure {
            reason: reason.to_owned(),
            message: message.to_owned(),
            since: now,
            retry_at: now + RETRY,
            image: None,
        };
        self.failures.insert(name.to_owned(), failure);
    }

    /// A container's image could not be pulled.
    pub fn pull_failed(&mut self, name: &str, image: &str, message: &str, now: Millis) {
        let next = Backoff::next(self.pulls.get(image).copied(), now, now);
        self.pulls.insert(image.to_owned(), next);
        let failure = Failure {
            reason: "ErrImagePull".to_owned(),
            message: message.to_owned(),
            since: now,
            retry_at: now + next.delay,
            image: Some(image.to_owned()),
        };
        self.failures.insert(name.to_owned(), failure);
    }

    /// Something changed that failed starts may have waited for: try them again at once. Pulls
    /// keep their wait, to spare the registry.
    pub fn retry(&mut self) {
        for failure in self
            .failures
            .values_mut()
            .filter(|failure| failure.image.is_none())
        {
            failure.retry_at = 0;
        }
    }

    /// The sandbox could not be made.
    pub fn sandbox_failed(&mut self, message: &str, now: Millis) {
        let delay = match &self.sandbox {
            Some((old, _)) => (old.delay * 2).min(RETRY),
            None => 1_000,
        };
        self.sandbox = Some((
            Backoff {
                delay,
                updated: now,
            },
            message.to_owned(),
        ));
    }

    /// The sandbox was made.
    pub fn sandbox_made(&mut self) {
        self.sandbox = None;
    }

    /// Until when the next try at a sandbox waits.
    #[must_use]
    pub fn sandbox_wait(&self, now: Millis) -> Option<Millis> {
        let (backoff, _) = self.sandbox.as_ref()?;
        backoff.until(backoff.updated, now)
    }

    /// Until when a container that ended at `ended` waits, and the present delay.
    #[must_use]
    pub fn crash_wait(
        &self,
        name: &str,
        hash: &str,
        ended: Millis,
        now: Millis,
    ) -> Option<(Millis, Millis)> {
        let backoff = self.crashes.get(&(name.to_owned(), hash.to_owned()))?;
        backoff
            .until(ended, now)
            .map(|until| (until, backoff.delay))
    }

    /// Why the container of this name could not be started when last tried.
    #[must_use]
    pub fn failure(&self, name: &str) -> Option<&Failure> {
        self.failures.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn waits_double_from_ten_seconds_to_five_minutes() {
        let (mut memory, mut now, mut delays) = (Memory::default(), 0, Vec::new());
        for _ in 0..8 {
            memory.starting("a", "h", Some(now), now);
            let (until, delay) = memory.crash_wait("a", "h", now, now).unwrap();
            delays.push(delay / 1000);
            now = until;
        }
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn ten_good_minutes_are_forgiven() {
        let mut memory = Memory::default();
        memory.starting("a", "h", Some(0), 0);
        memory.starting("a", "h", Some(10_000), 20_000);
        let later = 20_000 + 600_001;
        assert_eq!(memory.crash_wait("a", "h", later, later), None);
        memory.starting("a", "h", Some(later), later);
        assert_eq!(
            memory.crash_wait("a", "h", later, later),
            Some((later + 10_000, 10_000))
        );
    }

    #[test]
    fn another_image_starts_without_waiting() {
        let mut memory = Memory::default();
        memory.starting("a", "old", Some(0), 0);
        assert_eq!(memory.crash_wait("a", "new", 0, 1), None);
    }
}
