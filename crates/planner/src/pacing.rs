//! How fast the requests of one kind of a set follow each other.
//!
//! Each candidate (a node or a pod) has a back-off of its own, so that one whose requests fail
//! delays no other. The set as a whole slows down only when different candidates fail in a row.

use std::collections::BTreeMap;

use pandaemon_types::Timestamp;

use crate::event::{Failure, FailureKind};

/// How many requests of one kind of one set may be under way at once.
pub(crate) const MAX_IN_FLIGHT: usize = 250;

/// The longest back-off of a candidate whose requests are refused, in milliseconds.
pub(crate) const REFUSED_MAX: i64 = 5 * 60_000;
/// The longest back-off of a candidate whose requests get no answer, in milliseconds.
const UNANSWERED_MAX: i64 = 30_000;
/// The shortest and the longest pause of a set whose candidates fail in a row, in milliseconds.
pub(crate) const PAUSE: (i64, i64) = (100, 30_000);
/// The pause of a set in a namespace that is being deleted, in milliseconds.
const TERMINATING_PAUSE: i64 = 60_000;

/// The failures of one candidate since its last success.
#[derive(Debug, Clone, Copy)]
struct BackOff {
    failures: u32,
    until: Timestamp,
}

impl BackOff {
    /// The back-off after one more failure: twice as long as the last time, at least as long as the
    /// server asks for. `spread` adds up to a quarter, so that what failed together is not repeated
    /// together.
    fn next(
        last: Option<Self>,
        first: i64,
        failure: &Failure,
        now: Timestamp,
        spread: u64,
    ) -> Self {
        let failures = last.map_or(0, |last| last.failures);
        let longest = match failure.kind {
            FailureKind::Unclear => UNANSWERED_MAX,
            FailureKind::NotFound | FailureKind::Refused | FailureKind::NamespaceTerminating => {
                REFUSED_MAX
            }
        };
        let wait = doubled(first, failures, longest, spread).max(server_asks(failure));
        Self {
            failures: failures.saturating_add(1),
            until: now.plus_millis(wait),
        }
    }
}

/// How long the server asks to wait, in milliseconds; 0 if it does not.
const fn server_asks(failure: &Failure) -> i64 {
    match failure.kind {
        FailureKind::NamespaceTerminating => TERMINATING_PAUSE,
        _ => failure.retry_after,
    }
}

/// Paces the requests of one kind of a set.
#[derive(Debug)]
pub(crate) struct Pacer<I> {
    /// The first back-off of a candidate in milliseconds.
    first_back_off: i64,
    /// The window at the start.
    start: usize,
    /// How many requests may be under way. Grows by one with each success.
    pub(crate) window: usize,
    in_flight: usize,
    /// How many candidates have failed for the first time since the last success.
    failed_in_a_row: u32,
    /// Candidates that have not failed are not tried before this time.
    pub(crate) paused_until: Option<Timestamp>,
    /// No candidate is tried before this time, as the server asked for it.
    pub(crate) blocked_until: Option<Timestamp>,
    back_offs: BTreeMap<I, BackOff>,
}

impl<I: Copy + Ord> Pacer<I> {
    /// A pacer whose window starts at `start` and grows up to [`MAX_IN_FLIGHT`].
    pub(crate) const fn new(start: usize, first_back_off: i64) -> Self {
        Self {
            first_back_off,
            start,
            window: start,
            in_flight: 0,
            failed_in_a_row: 0,
            paused_until: None,
            blocked_until: None,
            back_offs: BTreeMap::new(),
        }
    }

    /// Whether one more request may be under way.
    pub(crate) const fn has_room(&self) -> bool {
        self.in_flight < self.window
    }

    /// A request was handed out.
    pub(crate) const fn begin(&mut self) {
        self.in_flight += 1;
    }

    /// A request that was handed out is over.
    pub(crate) const fn end(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// A request succeeded; its candidate may be gone.
    pub(crate) fn succeeded(&mut self, candidate: impl Into<Option<I>>) {
        self.window = (self.window + 1).min(MAX_IN_FLIGHT);
        self.failed_in_a_row = 0;
        self.paused_until = None;
        if let Some(candidate) = candidate.into() {
            self.back_offs.remove(&candidate);
        }
    }

    /// A request failed: the candidate backs off.
    ///
    /// The first failure of one candidate leaves the window alone. From the second candidate in a
    /// row on, each halves the window and doubles a pause of the candidates that have not failed,
    /// once per pause.
    pub(crate) fn failed(&mut self, candidate: I, failure: &Failure, now: Timestamp, spread: u64) {
        let asked = server_asks(failure);
        if asked > 0 {
            self.blocked_until = self.blocked_until.max(Some(now.plus_millis(asked)));
        }
        let last = self.back_offs.get(&candidate).copied();
        let next = BackOff::next(last, self.first_back_off, failure, now, spread);
        self.back_offs.insert(candidate, next);
        let failures = next.failures;
        let is_paused = self.paused_until.is_some_and(|at| now < at);
        if failures > 1 || is_paused {
            return;
        }
        self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
        if let Some(times) = self.failed_in_a_row.checked_sub(2) {
            self.window = (self.window / 2).max(1);
            let pause = doubled(PAUSE.0, times, PAUSE.1, spread);
            self.paused_until = Some(now.plus_millis(pause));
        }
    }

    /// When a candidate that has failed may be tried again; the time may have passed. `None` if it
    /// has not failed since its last success.
    pub(crate) fn back_off_end(&self, candidate: I) -> Option<Timestamp> {
        self.back_offs
            .get(&candidate)
            .map(|back_off| back_off.until)
    }

    /// Forgets the failures of a candidate that is gone.
    pub(crate) fn forget(&mut self, candidate: I) {
        self.back_offs.remove(&candidate);
    }

    /// Forgets all failures and starts slowly again.
    pub(crate) fn restart(&mut self) {
        self.window = self.start;
        self.failed_in_a_row = 0;
        self.paused_until = None;
        self.back_offs.clear();
    }

    /// When the candidate may be tried next, if not now: its back-off, or the pause of the set.
    pub(crate) fn wait_end(&self, candidate: I, now: Timestamp) -> Option<Timestamp> {
        let own = self.back_off_end(candidate).or(self.paused_until);
        own.max(self.blocked_until).filter(|at| now < *at)
    }

    /// Moves all times, as the clock was set back.
    pub(crate) fn shift(&mut self, millis: i64) {
        for at in [&mut self.paused_until, &mut self.blocked_until] {
            *at = at.map(|at| at.plus_millis(millis));
        }
        for back_off in self.back_offs.values_mut() {
            back_off.until = back_off.until.plus_millis(millis);
        }
    }
}

/// The back-off of requests that a set makes one at a time: for its revisions and its status.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Retry(Option<BackOff>);

/// The first back-off of such a request in milliseconds.
const RETRY_FIRST: i64 = 1_000;

impl Retry {
    /// A request failed: the next one waits twice as long as the last time. Of several that were
    /// under way at once, the first counts, and what the server asks for.
    pub(crate) fn failed(&mut self, failure: &Failure, now: Timestamp, spread: u64) {
        if let Some(back_off) = self.0.as_mut().filter(|back_off| now < back_off.until) {
            back_off.until = back_off.until.max(now.plus_millis(server_asks(failure)));
            return;
        }
        self.0 = Some(BackOff::next(self.0, RETRY_FIRST, failure, now, spread));
    }

    /// Forgets the failures.
    pub(crate) const fn reset(&mut self) {
        self.0 = None;
    }

    /// When the back-off ends; the time may have passed.
    pub(crate) fn end(&self) -> Option<Timestamp> {
        self.0.map(|back_off| back_off.until)
    }

    /// Whether a request may be made now.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.end().is_none_or(|at| at <= now)
    }

    /// Moves the time, as the clock was set back.
    pub(crate) fn shift(&mut self, millis: i64) {
        if let Some(back_off) = &mut self.0 {
            back_off.until = back_off.until.plus_millis(millis);
        }
    }
}

/// `first` doubled `times` times, at most `longest`, and up to a quarter more by `spread`.
fn doubled(first: i64, times: u32, longest: i64, spread: u64) -> i64 {
    let wait = first.saturating_mul(1 << times.min(20)).min(longest);
    let part = i64::try_from(spread % 64).unwrap_or(0);
    wait + wait * part / 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_requests_that_fail_at_once_the_first_counts_and_the_longest_wait_that_is_asked_for() {
        let failure = |retry_after| Failure {
            kind: FailureKind::Refused,
            message: String::new(),
            retry_after,
        };
        let mut retry = Retry::default();
        retry.failed(&failure(0), Timestamp(0), 0);
        retry.failed(&failure(0), Timestamp(10), 0);
        assert_eq!(retry.end(), Some(Timestamp(1_000)));
        retry.failed(&failure(3_000), Timestamp(20), 0);
        assert_eq!(retry.end(), Some(Timestamp(3_020)));
        retry.failed(&failure(0), Timestamp(3_020), 0);
        assert_eq!(retry.end(), Some(Timestamp(5_020)), "the second failure");
    }
}
