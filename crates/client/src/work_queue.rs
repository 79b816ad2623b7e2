//! The work queue of a loop: each key is in it once, failures back off per key with jitter.
//!
//! A loop owns its queue (no lock) and selects over [`WorkQueue::next`], which is safe to cancel:
//!
//! ```ignore
//! tokio::select! {
//!     delta = pods.next() => state.observe(delta, &mut queue),
//!     key = queue.next(), if running.len() < LIMIT => running.push(act(key)),
//!     Some((key, outcome)) = running.next() => queue.finish(key, outcome.is_ok()),
//! }
//! ```
//!
//! Between `next` and `finish` a key is *taken*: adding it then makes it come again afterwards, so one key is never
//! worked on twice at the same time. The queue is bounded by the number of keys.
//!
//! [`WorkQueue::add`] is client-go's `Add`, a failed [`WorkQueue::finish`] its `AddRateLimited` and
//! `Done`: a change of the object ends the back-off of its key, as the failure may have been about
//! its former state. It does not forget the failures: the next one waits as long as it would have.
//! Unlike there, the end of a back-off that a change has cut short brings the key no second time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use crate::backoff::{Backoff, jittered};

/// Keys that need work, now or later.
#[derive(Debug)]
pub struct WorkQueue<K> {
    backoff: Backoff,
    ready: VecDeque<K>,
    /// What is in `ready`.
    queued: BTreeSet<K>,
    /// Due times with their keys, and the reverse.
    later: BTreeSet<(Instant, K)>,
    due: BTreeMap<K, Instant>,
    /// Taken keys; true if they were added again meanwhile.
    taken: BTreeMap<K, bool>,
    failures: BTreeMap<K, u32>,
}

impl<K: Ord + Clone> Default for WorkQueue<K> {
    fn default() -> Self {
        Self::new(Backoff::default())
    }
}

impl<K: Ord + Clone> WorkQueue<K> {
    /// An empty queue.
    #[must_use]
    pub const fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            ready: VecDeque::new(),
            queued: BTreeSet::new(),
            later: BTreeSet::new(),
            due: BTreeMap::new(),
            taken: BTreeMap::new(),
            failures: BTreeMap::new(),
        }
    }

    /// Work on the key as soon as possible. A wait that the key was in ends.
    pub fn add(&mut self, key: K) {
        if let Some(again) = self.taken.get_mut(&key) {
            *again = true;
            return;
        }
        self.cancel(&key);
        if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// Work on the key at that time, unless it is due earlier anyway.
    pub fn add_at(&mut self, key: K, at: Instant) {
        if self.queued.contains(&key) || self.due.get(&key).is_some_and(|due| *due <= at) {
            return;
        }
        self.cancel(&key);
        self.due.insert(key.clone(), at);
        self.later.insert((at, key));
    }

    /// Work on the key after that time.
    pub fn add_after(&mut self, key: K, wait: Duration) {
        self.add_at(key, Instant::now() + wait);
    }

    /// Forgets the wait of a key.
    pub fn cancel(&mut self, key: &K) {
        if let Some(at) = self.due.remove(key) {
            self.later.remove(&(at, key.clone()));
        }
    }

    /// The next key; it stays taken until [`WorkQueue::finish`].
    pub async fn next(&mut self) -> K {
        loop {
            if let Some(key) = self.pop(Instant::now()) {
                return key;
            }
            match self.later.first() {
                Some((at, _)) => tokio::time::sleep_until(*at).await,
                None => std::future::pending().await,
            }
        }
    }

    fn pop(&mut self, now: Instant) -> Option<K> {
        while let Some((at, key)) = self.later.first().cloned() {
            if now < at {
                break;
            }
            self.add(key.clone());
            self.cancel(&key);
        }
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.taken.insert(key.clone(), false);
        Some(key)
    }

    /// Gives a taken key back. After a failure it comes again, later each time, or at once if it
    /// was added meanwhile.
    pub fn finish(&mut self, key: K, ok: bool) {
        self.finish_at(key, ok, Instant::now());
    }

    fn finish_at(&mut self, key: K, ok: bool, now: Instant) {
        let again = self.taken.remove(&key).unwrap_or(false);
        let mut retry_at = None;
        if ok {
            self.failures.remove(&key);
        } else {
            let failures = self.failures.entry(key.clone()).or_default();
            *failures = failures.saturating_add(1);
            retry_at = Some(now + jittered(self.backoff.delay(*failures)));
        }
        match retry_at {
            _ if again => self.add(key),
            Some(at) => self.add_at(key, at),
            None => {}
        }
    }

    /// Whether nothing is queued, waiting or taken.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.later.is_empty() && self.taken.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_key_is_in_it_once_and_comes_again_when_added_while_taken() {
        let (mut queue, now) = (WorkQueue::default(), Instant::now());
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.pop(now), Some("a"));
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.pop(now), Some("b"));
        assert_eq!(queue.pop(now), None);
        queue.finish("a", true);
        assert_eq!(queue.pop(now), Some("a"));
        queue.finish("a", true);
        queue.finish("b", true);
        assert!(queue.is_idle());
    }

    #[test]
    fn failures_wait_longer_each_time_and_a_change_ends_the_wait() {
        let backoff = Backoff {
            min: Duration::from_secs(10),
            max: Duration::from_secs(40),
        };
        let (mut queue, start) = (WorkQueue::new(backoff), Instant::now());
        queue.add("a");
        let mut now = start;
        for wait in [10, 20, 40, 40] {
            assert_eq!(queue.pop(now), Some("a"));
            queue.finish_at("a", false, now);
            assert_eq!(queue.pop(at(now, wait - 1)), None, "after {wait} s");
            now = at(now, wait + wait / 4 + 1);
        }
        queue.add("a");
        assert_eq!(queue.pop(start), Some("a"));
    }

    #[test]
    fn a_change_while_work_fails_is_worked_on_at_once_and_forgets_no_failure() {
        let backoff = Backoff {
            min: Duration::from_secs(10),
            max: Duration::from_secs(40),
        };
        let (mut queue, now) = (WorkQueue::new(backoff), Instant::now());
        queue.add("a");
        assert_eq!(queue.pop(now), Some("a"));
        queue.add("a");
        queue.finish_at("a", false, now);
        assert_eq!(queue.pop(now), Some("a"));
        queue.finish_at("a", false, now);
        assert_eq!(queue.pop(at(now, 19)), None, "the second failure");
        assert_eq!(queue.pop(at(now, 26)), Some("a"));
        queue.finish_at("a", true, at(now, 26));
        assert!(queue.is_idle());
    }

    #[test]
    fn the_earliest_time_counts() {
        let (mut queue, start) = (WorkQueue::default(), Instant::now());
        queue.add_at("a", at(start, 5));
        queue.add_at("a", at(start, 9));
        queue.add_at("b", at(start, 3));
        queue.add_at("b", at(start, 1));
        assert_eq!(queue.pop(start), None);
        assert_eq!(queue.pop(at(start, 1)), Some("b"));
        assert_eq!(queue.pop(at(start, 4)), None);
        assert_eq!(queue.pop(at(start, 5)), Some("a"));
    }
}
