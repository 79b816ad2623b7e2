//! When to create, acquire, renew or leave a Lease: client-go's `tryAcquireOrRenew`. Pure.

use std::time::Duration;

use jiff::Timestamp;
use pandaemon_types::time::rfc3339_micros;
use serde::{Deserialize, Serialize};

/// The spec of a Lease (client-go's `LeaderElectionRecord`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaderElectionRecord {
    /// The identity of the leader; empty after a release.
    pub holder_identity: Option<String>,
    /// How long other candidates must wait after the last change, in seconds.
    pub lease_duration_seconds: Option<i64>,
    /// When this leader acquired it, as a MicroTime.
    pub acquire_time: Option<String>,
    /// When it was renewed last, as a MicroTime.
    pub renew_time: Option<String>,
    /// How many times the leader has changed.
    pub lease_transitions: Option<i64>,
}

impl LeaderElectionRecord {
    /// The identity of the leader; empty without one.
    #[must_use]
    pub fn holder(&self) -> &str {
        self.holder_identity.as_deref().unwrap_or_default()
    }

    fn duration(&self) -> Duration {
        let seconds = self.lease_duration_seconds.unwrap_or(0);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }
}

/// What to do about the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseAction {
    /// There is no lease: create it.
    Create(LeaderElectionRecord),
    /// Acquire or renew it.
    Update(LeaderElectionRecord),
    /// Another process holds it.
    Wait,
}

/// What one candidate has seen of the lease. Time is an argument: the time since some start by the
/// clock of this process, and the wall clock for the record.
#[derive(Debug, Clone)]
pub struct ElectionState {
    identity: String,
    lease_duration: Duration,
    /// The lease as last seen, and when it was first seen in this state.
    observed: Option<(LeaderElectionRecord, Duration)>,
}

impl ElectionState {
    /// A candidate that has not seen the lease.
    #[must_use]
    pub const fn new(identity: String, lease_duration: Duration) -> Self {
        Self {
            identity,
            lease_duration,
            observed: None,
        }
    }

    /// The identity of this candidate.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The identity that held the lease when it was last seen.
    #[must_use]
    pub fn leader(&self) -> Option<&str> {
        self.observed.as_ref().map(|(record, _)| record.holder())
    }

    /// Whether this process held the lease when it was last seen.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader() == Some(&self.identity)
    }

    /// What to do about the lease as it is now; `None`: there is none.
    pub fn next_action(
        &mut self,
        seen: Option<&LeaderElectionRecord>,
        now: Duration,
        time: Timestamp,
    ) -> LeaseAction {
        let Some(seen) = seen else {
            return LeaseAction::Create(self.new_record(time, 0));
        };
        if self
            .observed
            .as_ref()
            .is_none_or(|(record, _)| record != seen)
        {
            self.observed_record(seen.clone(), now);
        }
        let since = self.observed.as_ref().map_or(now, |(_, since)| *since);
        let is_own = seen.holder() == self.identity;
        let expired = now >= since + seen.duration();
        if !is_own && !seen.holder().is_empty() && !expired {
            return LeaseAction::Wait;
        }
        let transitions = seen.lease_transitions.unwrap_or(0);
        let mut record = self.new_record(time, transitions + i64::from(!is_own));
        if is_own {
            record.acquire_time.clone_from(&seen.acquire_time);
        }
        LeaseAction::Update(record)
    }

    /// Notes the lease as it was written by this process, or read.
    pub fn observed_record(&mut self, record: LeaderElectionRecord, now: Duration) {
        self.observed = Some((record, now));
    }

    /// The record that releases the lease, if this process holds it: others need not wait for its
    /// end.
    #[must_use]
    pub fn release(&self, time: Timestamp) -> Option<LeaderElectionRecord> {
        let (record, _) = self.observed.as_ref()?;
        (record.holder() == self.identity).then(|| LeaderElectionRecord {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            ..self.new_record(time, record.lease_transitions.unwrap_or(0))
        })
    }

    fn new_record(&self, time: Timestamp, transitions: i64) -> LeaderElectionRecord {
        let time = rfc3339_micros(time);
        LeaderElectionRecord {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i64::try_from(self.lease_duration.as_secs()).ok(),
            acquire_time: Some(time.clone()),
            renew_time: Some(time),
            lease_transitions: Some(transitions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn time(seconds: u64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + i64::try_from(seconds).unwrap()).unwrap()
    }

    fn record(holder: &str, acquired: u64, renewed: u64, transitions: i64) -> LeaderElectionRecord {
        LeaderElectionRecord {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            acquire_time: Some(rfc3339_micros(time(acquired))),
            renew_time: Some(rfc3339_micros(time(renewed))),
            lease_transitions: Some(transitions),
        }
    }

    /// What is seen of the lease, at which second, and the action.
    #[test]
    fn a_lease_that_does_not_change_is_acquired() {
        let theirs = |renewed| Some(record("b", 0, renewed, 3));
        let ours = |renewed| Some(record("a", 0, renewed, 4));
        let update = |acquired, renewed, transitions| {
            LeaseAction::Update(record("a", acquired, renewed, transitions))
        };
        let free = LeaderElectionRecord {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            ..record("", 9, 9, 7)
        };
        let unknown = LeaderElectionRecord {
            lease_duration_seconds: None,
            ..record("b", 0, 0, 0)
        };
        type Steps = Vec<(u64, Option<LeaderElectionRecord>, LeaseAction)>;
        let cases: [(&str, Steps); 8] = [
            (
                "no lease",
                vec![(0, None, LeaseAction::Create(record("a", 0, 0, 0)))],
            ),
            (
                "a lease of another leader is left alone, however old its times look",
                vec![
                    (500, theirs(1), LeaseAction::Wait),
                    (514, theirs(1), LeaseAction::Wait),
                ],
            ),
            (
                "a lease that does not change for its duration is acquired",
                vec![
                    (500, theirs(1), LeaseAction::Wait),
                    (515, theirs(1), update(515, 515, 4)),
                ],
            ),
            (
                "each change starts the wait anew",
                vec![
                    (0, theirs(1), LeaseAction::Wait),
                    (14, theirs(2), LeaseAction::Wait),
                    (28, theirs(2), LeaseAction::Wait),
                    (29, theirs(2), update(29, 29, 4)),
                ],
            ),
            (
                "times in the future mean nothing",
                vec![
                    (0, theirs(9_999), LeaseAction::Wait),
                    (15, theirs(9_999), update(15, 15, 4)),
                ],
            ),
            (
                "the own lease is renewed",
                vec![
                    (5, ours(3), update(0, 5, 4)),
                    (90, ours(5), update(0, 90, 4)),
                ],
            ),
            (
                "a released lease is acquired at once",
                vec![(10, Some(free), update(10, 10, 8))],
            ),
            (
                "a lease without a duration has expired",
                vec![(0, Some(unknown), update(0, 0, 1))],
            ),
        ];
        for (name, steps) in cases {
            let mut state = ElectionState::new("a".to_owned(), LEASE);
            for (second, seen, expected) in steps {
                let step = state.next_action(seen.as_ref(), at(second), time(second));
                assert_eq!(step, expected, "{name}, second {second}");
            }
        }
    }

    #[test]
    fn only_the_leader_releases_the_lease() {
        let mut state = ElectionState::new("a".to_owned(), LEASE);
        assert_eq!(state.release(time(0)), None);
        state.observed_record(record("b", 0, 0, 1), at(0));
        assert_eq!(state.release(time(0)), None);
        state.observed_record(record("a", 0, 0, 2), at(0));
        let released = state.release(time(9)).unwrap();
        assert_eq!(released.holder(), "");
        assert_eq!(
            (released.duration(), released.lease_transitions),
            (at(1), Some(2))
        );
    }

    #[test]
    fn micro_times_have_six_digits() {
        let time: Timestamp = "2030-01-02T03:04:05.000006Z".parse().unwrap();
        assert_eq!(rfc3339_micros(time), "2030-01-02T03:04:05.000006Z");
    }
}
