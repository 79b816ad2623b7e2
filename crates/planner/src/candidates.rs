//! Which candidate for a request is next.

use std::collections::{BTreeMap, BTreeSet};

use pandaemon_types::{Name, Timestamp};

use crate::pacing::Pacer;

/// Candidates for a request, in the order of the end of their back-off and then by name. Those that
/// have not failed come first.
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
    /// Adds, moves or removes a candidate that was in the queue or not, with the end of its
    /// back-off.
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
    use crate::{
        event::{Failure, FailureKind},
        pacing::{MAX_IN_FLIGHT, PAUSE, REFUSED_MAX},
    };

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
