//! How fast the requests of one kind of a set follow each other, and which candidate is next.
//!
//! Each candidate (a node or a pod) has a back-off of its own, so that one whose requests fail delays no
//! other. The set as a whole slows down only when different candidates fail in a row.

use std::collections::{BTreeMap, BTreeSet};

use pandaemon_types::{Name, Timestamp};

use crate::event::{Failure, FailureKind};

/// How many requests of one kind of one set may be under way at once.
pub(crate) const MAX_IN_FLIGHT: usize = 250;

/// The longest back-off of a candidate whose requests are refused, in milliseconds.
const REFUSED_MAX: i64 = 5 * 60_000;
/// The longest back-off of a candidate whose requests get no answer, in milliseconds.
const UNANSWERED_MAX: i64 = 30_000;
/// The shortest and the longest pause of a set whose candidates fail in a row, in milliseconds.
const PAUSE: (i64, i64) = (100, 30_000);
/// The pause of a set in a namespace that is being deleted, in milliseconds.
const TERMINATING_PAUSE: i64 = 60_000;

/// The failures of one candidate since its last success.
#[derive(Debug, Clone, Copy)]
struct BackOff {
    failures: u32,
    until: Timestamp,
}

impl BackOff {
    /// The back-off after one more failure: twice as long as the last time, at least as long as the server
    /// asks for. `spread` adds up to a quarter, so that what failed together is not repeated together.
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
    window: usize,
    in_flight: usize,
    /// How many candidates have failed for the first time since the last success.
    failed_in_a_row: u32,
    /// Candidates that have not failed are not tried before this time.
    paused_until: Option<Timestamp>,
    /// No candidate is tried before this time, as the server asked for it.
    blocked_until: Option<Timestamp>,
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
    /// The first failure of one candidate leaves the window alone. From the second candidate in a row on,
    /// each halves the window and doubles a pause of the candidates that have not failed, once per pause.
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

    /// When a candidate that has failed may be tried again; the time may have passed. `None` if it has not
    /// failed since its last success.
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
    /// A request failed: the next one waits twice as long as the last time. Of several that were under way at
    /// once, the first counts.
    pub(crate) fn failed(&mut self, failure: &Failure, now: Timestamp, spread: u64) {
        if !self.is_over(now) {
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

/// Candidates for a request, in the order of the end of their back-off and then by name. Those that have
/// not failed come first.
#[derive(Debug)]
pub(crate) struct CandidateQueue<I> {
    fresh: BTreeSet<(Name, I)>,
    failed: BTreeSet<(Timestamp, Name, I)>,
    /// The back-off under which a candidate is in `failed`.
    ends: BTreeMap<I, Timestamp>,
}

impl<I> Default for CandidateQueue<I> {
    fn default() -> Self {
        Self {
            fresh: BTreeSet::new(),
            failed: BTreeSet::new(),
            ends: BTreeMap::new(),
        }
    }
}

impl<I: Copy + Ord> CandidateQueue<I> {
    /// Adds, moves or removes a candidate that was in the queue or not, with the end of its back-off.
    pub(crate) fn update(
        &mut self,
        candidate: I,
        name: impl FnOnce() -> Name,
        (was, is): (bool, bool),
        end: Option<Timestamp>,
    ) {
        let old = self.ends.get(&candidate).copied();
        if !is && !was || (was && is && old == end) {
            return;
        }
        let name = name();
        if let Some(old) = old {
            self.ends.remove(&candidate);
            self.failed.remove(&(old, Name::clone(&name), candidate));
        } else if was {
            self.fresh.remove(&(Name::clone(&name), candidate));
        }
        match end {
            _ if !is => {}
            Some(end) => {
                self.ends.insert(candidate, end);
                self.failed.insert((end, name, candidate));
            }
            None => {
                self.fresh.insert((name, candidate));
            }
        }
    }

    /// The candidate to try next; `None` if none may be tried now.
    pub(crate) fn next(&self, pacer: &Pacer<I>, now: Timestamp) -> Option<I> {
        let passed = |at: Option<Timestamp>| at.is_none_or(|at| at <= now);
        if !pacer.has_room() || !passed(pacer.blocked_until) {
            return None;
        }
        let fresh = self.fresh.first().filter(|_| passed(pacer.paused_until));
        let failed = || self.failed.first().filter(|(end, ..)| *end <= now);
        fresh
            .map(|(_, candidate)| *candidate)
            .or_else(|| failed().map(|(_, _, candidate)| *candidate))
    }

    /// When a candidate may be tried next without an event.
    pub(crate) fn wake_at(&self, pacer: &Pacer<I>, now: Timestamp) -> Option<Timestamp> {
        if !pacer.has_room() {
            // The end of a request is an event.
            return None;
        }
        let fresh = self.fresh.first().and(pacer.paused_until);
        let failed = self.failed.first().map(|(end, ..)| *end);
        let blocked = self.fresh.first().and(pacer.blocked_until);
        let times = [
            fresh.max(blocked),
            failed.map(|end| Some(end).max(pacer.blocked_until).unwrap_or(end)),
        ];
        times.into_iter().flatten().filter(|at| now < *at).min()
    }

    /// Moves all times, as the clock was set back.
    pub(crate) fn shift(&mut self, millis: i64) {
        let failed = std::mem::take(&mut self.failed).into_iter();
        self.failed = failed
            .map(|(end, name, candidate)| (end.plus_millis(millis), name, candidate))
            .collect();
        for end in self.ends.values_mut() {
            *end = end.plus_millis(millis);
        }
    }

    /// The candidates in the order in which they are tried.
    pub(crate) fn iter(&self) -> impl Iterator<Item = I> {
        let failed = self.failed.iter().map(|(_, _, candidate)| *candidate);
        self.fresh
            .iter()
            .map(|(_, candidate)| *candidate)
            .chain(failed)
    }

    /// The names of the candidates, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        let failed = self.failed.iter().map(|(_, name, _)| name);
        self.fresh.iter().map(|(name, _)| name).chain(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Failure {
        Failure {
            kind: FailureKind::Refused,
            message: String::new(),
            retry_after: 0,
        }
    }

    const NOW: Timestamp = Timestamp(1_000_000);

    fn pacer(window: usize) -> Pacer<u32> {
        let mut pacer = Pacer::new(1, 100);
        pacer.window = window;
        pacer
    }

    fn queue(candidates: &[u32], pacer: &Pacer<u32>) -> CandidateQueue<u32> {
        let mut queue = CandidateQueue::default();
        for candidate in candidates {
            let name = || format!("{candidate:03}").into();
            let end = pacer.back_off_end(*candidate);
            queue.update(*candidate, name, (false, true), end);
        }
        queue
    }

    #[test]
    fn a_candidate_that_fails_for_ever_leaves_window_and_others_alone() {
        let mut pacer = pacer(40);
        for _ in 0..20 {
            pacer.failed(1, &refused(), NOW, 0);
        }
        assert_eq!(pacer.window, 40);
        let queue = queue(&[1, 2], &pacer);
        assert_eq!(queue.next(&pacer, NOW), Some(2));
        let longest = NOW.plus_millis(REFUSED_MAX);
        assert_eq!(pacer.back_off_end(1), Some(longest));
        assert_eq!(queue.wake_at(&pacer, NOW), Some(longest));
    }

    #[test]
    fn different_candidates_that_fail_in_a_row_halve_the_window_and_pause_the_others() {
        let mut pacer = pacer(40);
        (0..3).for_each(|candidate| pacer.failed(candidate, &refused(), NOW, 0));
        // Once per pause, however many were under way.
        assert_eq!(pacer.window, 20);
        let queue = queue(&[9], &pacer);
        assert_eq!(queue.next(&pacer, NOW), None);
        let later = NOW.plus_millis(PAUSE.0);
        assert_eq!(queue.wake_at(&pacer, NOW), Some(later));
        assert_eq!(queue.next(&pacer, later), Some(9));
        pacer.failed(9, &refused(), later, 0);
        assert_eq!(pacer.window, 10);
        assert_eq!(pacer.paused_until, Some(later.plus_millis(2 * PAUSE.0)));
        pacer.succeeded(9);
        assert_eq!((pacer.window, pacer.paused_until), (11, None));
        assert_eq!(pacer.back_off_end(9), None);
    }

    #[test]
    fn candidates_come_by_the_end_of_their_back_off_and_then_by_name() {
        let mut pacer = pacer(40);
        pacer.failed(1, &refused(), NOW, 0);
        pacer.failed(1, &refused(), NOW, 0);
        pacer.failed(2, &refused(), NOW.plus_millis(-10), 0);
        pacer.succeeded(7);
        let mut queue = queue(&[1, 2, 4, 3], &pacer);
        let names: Vec<&str> = queue.names().map(|name| &**name).collect();
        assert_eq!(names, ["003", "004", "002", "001"]);
        queue.update(3, || "003".into(), (true, false), None);
        queue.update(4, || "004".into(), (true, false), None);
        assert_eq!(queue.next(&pacer, NOW), None);
        assert_eq!(queue.next(&pacer, NOW.plus_millis(90)), Some(2));
        pacer.succeeded(2);
        queue.update(2, || "002".into(), (true, true), pacer.back_off_end(2));
        assert_eq!(queue.next(&pacer, NOW), Some(2));
    }

    #[test]
    fn retry_after_blocks_every_candidate() {
        let mut pacer = pacer(40);
        let throttled = Failure {
            retry_after: 5_000,
            ..refused()
        };
        pacer.failed(1, &refused(), NOW, 0);
        pacer.failed(2, &throttled, NOW, 0);
        let queue = queue(&[1, 2, 3], &pacer);
        let end = NOW.plus_millis(5_000);
        assert_eq!(queue.next(&pacer, NOW.plus_millis(4_999)), None);
        assert_eq!(queue.wake_at(&pacer, NOW.plus_millis(4_999)), Some(end));
        assert_eq!(queue.next(&pacer, end), Some(3));
    }

    #[test]
    fn no_more_than_the_window_is_under_way() {
        let mut pacer = pacer(2);
        let queue = queue(&[1], &pacer);
        pacer.begin();
        assert!(queue.next(&pacer, NOW).is_some());
        pacer.begin();
        assert_eq!(queue.next(&pacer, NOW), None);
        pacer.end();
        assert!(queue.next(&pacer, NOW).is_some());
        (0..2 * MAX_IN_FLIGHT).for_each(|_| pacer.succeeded(0));
        assert_eq!(pacer.window, MAX_IN_FLIGHT);
    }
}
