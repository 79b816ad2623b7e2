//! What a pod worker keeps between computations: failed starts and how long to wait before retries.

use std::collections::BTreeMap;

use crate::observed::Millis;

/// The first delay after a failure, as in the kubelet.
const INITIAL_DELAY: Millis = 10_000;
/// The longest delay, as in the kubelet.
const MAX_DELAY: Millis = 300_000;
/// After this long without a failure the delay starts again at [`INITIAL_DELAY`].
const RESET_AFTER: Millis = 2 * MAX_DELAY;
/// How long after a failure other than a failed pull (such as a missing config map) the start is
/// tried again.
const RETRY_DELAY: Millis = 10_000;

/// For how long a failed pull shows its error before it shows the back-off.
pub(crate) const PULL_ERROR_SHOWN: Millis = 2_000;

/// A delay that doubles with each failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The present delay.
    pub delay: Millis,
    /// When the delay was last set.
    pub updated: Millis,
}

impl Backoff {
    /// The next longer delay; the first one again if the last failure is long ago.
    fn next(previous: Option<Self>, event: Millis, now: Millis) -> Self {
        let delay = match previous {
            Some(old) if event - old.updated <= RESET_AFTER => (old.delay * 2).min(MAX_DELAY),
            Some(_) | None => INITIAL_DELAY,
        };
        Self {
            delay,
            updated: now,
        }
    }

    /// The end of the delay after a failure at `event`, if it is still to come.
    fn until(self, event: Millis, now: Millis) -> Option<Millis> {
        let end = event + self.delay;
        (event - self.updated <= RESET_AFTER && now < end).then_some(end)
    }
}

/// Why a container could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartFailure {
    /// The reason that is reported, such as `ErrImagePull`.
    pub reason: String,
    /// The message that is reported with the reason.
    pub message: String,
    /// When it failed.
    pub since: Millis,
    /// When the next attempt may be made.
    pub retry_at: Millis,
    /// The image, if the failure is that it could not be pulled.
    pub image: Option<String>,
}

/// Back-offs and failed starts of one pod's sandbox and containers. It is not persisted: like a
/// kubelet, a new agent starts with an empty one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackoffState {
    crashes: BTreeMap<(String, String), Backoff>,
    pulls: BTreeMap<String, Backoff>,
    failures: BTreeMap<String, StartFailure>,
    sandbox: Option<(Backoff, String)>,
}

impl BackoffState {
    /// Records that a container is about to be started; `ended` is when its previous start exited.
    pub fn record_start(&mut self, name: &str, hash: &str, ended: Option<Millis>, now: Millis) {
        let Some(ended) = ended else { return };
        let key = (name.to_owned(), hash.to_owned());
        let next = Backoff::next(self.crashes.get(&key).copied(), ended, now);
        self.crashes.insert(key, next);
    }

    /// Records that a container was started.
    pub fn record_started(&mut self, name: &str) {
        if let Some(image) = self.failures.remove(name).and_then(|failure| failure.image) {
            self.pulls.remove(&image);
        }
    }

    /// Records that a container could not be created or started.
    pub fn record_failure(&mut self, name: &str, reason: &str, message: &str, now: Millis) {
        let failure = StartFailure {
            reason: reason.to_owned(),
            message: message.to_owned(),
            since: now,
            retry_at: now + RETRY_DELAY,
            image: None,
        };
        self.failures.insert(name.to_owned(), failure);
    }

    /// Records that a container's image could not be pulled.
    pub fn record_pull_failure(&mut self, name: &str, image: &str, message: &str, now: Millis) {
        let next = Backoff::next(self.pulls.get(image).copied(), now, now);
        self.pulls.insert(image.to_owned(), next);
        let failure = StartFailure {
            reason: "ErrImagePull".to_owned(),
            message: message.to_owned(),
            since: now,
            retry_at: now + next.delay,
            image: Some(image.to_owned()),
        };
        self.failures.insert(name.to_owned(), failure);
    }

    /// Lets failed starts be tried again at once, because an object they refer to may have changed.
    /// Pulls keep their back-off, to spare the registry.
    pub fn retry_now(&mut self) {
        for failure in self
            .failures
            .values_mut()
            .filter(|failure| failure.image.is_none())
        {
            failure.retry_at = 0;
        }
    }

    /// Records that the sandbox could not be created.
    pub fn record_sandbox_failure(&mut self, message: &str, now: Millis) {
        let delay = match &self.sandbox {
            Some((old, _)) => (old.delay * 2).min(RETRY_DELAY),
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

    /// Records that the sandbox was created.
    pub fn record_sandbox_created(&mut self) {
        self.sandbox = None;
    }

    /// When the next attempt to create a sandbox may be made, if it must wait.
    #[must_use]
    pub fn sandbox_retry_at(&self, now: Millis) -> Option<Millis> {
        let (backoff, _) = self.sandbox.as_ref()?;
        backoff.until(backoff.updated, now)
    }

    /// The end of the crash back-off of a container that exited at `ended`, and its delay.
    #[must_use]
    pub fn crash_backoff(
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

    /// Why the last attempt to start this container failed.
    #[must_use]
    pub fn failure(&self, name: &str) -> Option<&StartFailure> {
        self.failures.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::BackoffState;

    #[test]
    fn crash_backoff_doubles_from_ten_seconds_to_five_minutes() {
        let (mut backoff, mut now, mut delays) = (BackoffState::default(), 0, Vec::new());
        for _ in 0..8 {
            backoff.record_start("a", "h", Some(now), now);
            let (until, delay) = backoff.crash_backoff("a", "h", now, now).unwrap();
            delays.push(delay / 1000);
            now = until;
        }
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn crash_backoff_starts_over_after_ten_minutes() {
        let mut backoff = BackoffState::default();
        backoff.record_start("a", "h", Some(0), 0);
        backoff.record_start("a", "h", Some(10_000), 20_000);
        let later = 20_000 + 600_001;
        assert_eq!(backoff.crash_backoff("a", "h", later, later), None);
        backoff.record_start("a", "h", Some(later), later);
        assert_eq!(
            backoff.crash_backoff("a", "h", later, later),
            Some((later + 10_000, 10_000))
        );
    }

    #[test]
    fn a_changed_image_starts_without_backoff() {
        let mut backoff = BackoffState::default();
        backoff.record_start("a", "old", Some(0), 0);
        assert_eq!(backoff.crash_backoff("a", "new", 0, 1), None);
    }
}
