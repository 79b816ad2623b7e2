//! Leader election by a Lease: the rules of client-go, so that any tool that reads such leases understands ours.
//!
//! [`Elector`] is pure: told what the lease looks like and what time it is, it says what to do. The clocks of others
//! are never read: a lease has expired when *it has not changed* for as long as it lasts, seen by our own clock.
//! `campaign` is the shell, and [`fence`] holds back everything that a leader which is none any more would send.

pub mod campaign;
pub mod fence;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// client-go's factor of jitter between attempts.
pub const JITTER: f64 = 1.2;

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long others wait after the last renewal that they saw.
    pub lease: Duration,
    /// How long the leader tries to renew before it gives up.
    pub renew: Duration,
    /// The time between attempts.
    pub retry: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Why a pace is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPace {
    /// A time is zero.
    #[error("--leader-elect-{0} must be greater than zero")]
    Zero(&'static str),
    /// A lease is written in whole seconds.
    #[error("--leader-elect-lease-duration must be at least 1s")]
    Short,
    /// Two could lead at once.
    #[error("--leader-elect-lease-duration must be greater than --leader-elect-renew-deadline")]
    Lease,
    /// The leader would give up before it has tried twice.
    #[error("--leader-elect-renew-deadline must be greater than --leader-elect-retry-period * 1.2")]
    Renew,
}

impl Pace {
    /// The checks of kube-controller-manager.
    ///
    /// # Errors
    /// [`BadPace`] says which.
    pub fn check(&self) -> Result<(), BadPace> {
        let times = [
            ("lease-duration", self.lease),
            ("renew-deadline", self.renew),
            ("retry-period", self.retry),
        ];
        if let Some((name, _)) = times.iter().find(|(_, time)| time.is_zero()) {
            return Err(BadPace::Zero(name));
        }
        if self.lease < Duration::from_secs(1) {
            return Err(BadPace::Short);
        }
        if self.lease <= self.renew {
            return Err(BadPace::Lease);
        }
        if self.renew <= self.retry.mul_f64(JITTER) {
            return Err(BadPace::Renew);
        }
        Ok(())
    }
}

/// What a lease says; also its form in the API.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// Who holds it; empty: nobody.
    pub holder_identity: Option<String>,
    /// How long others must wait.
    pub lease_duration_seconds: Option<i64>,
    /// When it was acquired.
    pub acquire_time: Option<String>,
    /// When it was renewed last.
    pub renew_time: Option<String>,
    /// How often it changed hands.
    pub lease_transitions: Option<i64>,
}

impl Record {
    fn holder(&self) -> &str {
        self.holder_identity.as_deref().unwrap_or_default()
    }

    fn lasts(&self) -> Duration {
        let seconds = self.lease_duration_seconds.unwrap_or(0);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// There is no lease: make it.
    Create(Record),
    /// Take it, or renew it.
    Update(Record),
    /// Somebody else has it.
    Wait,
}

/// Decides. Time is an argument: what has passed since some start by our clock, and the time of day for the record.
#[derive(Debug, Clone)]
pub struct Elector {
    identity: String,
    lease: Duration,
    /// The lease as last seen, and when it was first seen so.
    observed: Option<(Record, Duration)>,
}

impl Elector {
    /// Nothing was seen yet.
    #[must_use]
    pub const fn new(identity: String, lease: Duration) -> Self {
        Self {
            identity,
            lease,
            observed: None,
        }
    }

    /// Who holds the lease, as last seen.
    #[must_use]
    pub fn leader(&self) -> Option<&str> {
        self.observed.as_ref().map(|(record, _)| record.holder())
    }

    /// Whether that is this process.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader() == Some(&self.identity)
    }

    /// What to do about the lease as it is now (`None`: there is none).
    pub fn decide(&mut self, seen: Option<&Record>, now: Duration, time: Timestamp) -> Step {
        let Some(seen) = seen else {
            return Step::Create(self.fresh(time, 0));
        };
        if self
            .observed
            .as_ref()
            .is_none_or(|(record, _)| record != seen)
        {
            self.saw(seen.clone(), now);
        }
        let since = self.observed.as_ref().map_or(now, |(_, since)| *since);
        let ours = seen.holder() == self.identity;
        let expired = now >= since + seen.lasts();
        if !ours && !seen.holder().is_empty() && !expired {
            return Step::Wait;
        }
        let transitions = seen.lease_transitions.unwrap_or(0);
        let mut record = self.fresh(time, transitions + i64::from(!ours));
        if ours {
            record.acquire_time.clone_from(&seen.acquire_time);
        }
        Step::Update(record)
    }

    /// A lease is written so: an attempt of ours went through, or somebody else's was seen.
    pub fn saw(&mut self, record: Record, now: Duration) {
        self.observed = Some((record, now));
    }

    /// What gives the lease away, if it is ours: the next one need not wait.
    #[must_use]
    pub fn release(&self, time: Timestamp) -> Option<Record> {
        let (record, _) = self.observed.as_ref()?;
        (record.holder() == self.identity).then(|| Record {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            ..self.fresh(time, record.lease_transitions.unwrap_or(0))
        })
    }

    fn fresh(&self, time: Timestamp, transitions: i64) -> Record {
        let time = micro_time(time);
        Record {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i64::try_from(self.lease.as_secs()).ok(),
            acquire_time: Some(time.clone()),
            renew_time: Some(time),
            lease_transitions: Some(transitions),
        }
    }
}

/// A MicroTime as the API writes it.
fn micro_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
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

    fn record(holder: &str, acquired: u64, renewed: u64, transitions: i64) -> Record {
        Record {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            acquire_time: Some(micro_time(time(acquired))),
            renew_time: Some(micro_time(time(renewed))),
            lease_transitions: Some(transitions),
        }
    }

    /// What happened, when, and what is to be done.
    #[test]
    fn who_leads_is_decided_by_what_changes() {
        let theirs = |renewed| Some(record("b", 0, renewed, 3));
        let ours = |renewed| Some(record("a", 0, renewed, 4));
        let update = |acquired, renewed, transitions| {
            Step::Update(record("a", acquired, renewed, transitions))
        };
        let free = Record {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            ..record("", 9, 9, 7)
        };
        let unknown = Record {
            lease_duration_seconds: None,
            ..record("b", 0, 0, 0)
        };
        type Steps = Vec<(u64, Option<Record>, Step)>;
        let cases: [(&str, Steps); 8] = [
            (
                "no lease",
                vec![(0, None, Step::Create(record("a", 0, 0, 0)))],
            ),
            (
                "one that lives is left alone, however old its times look",
                vec![(500, theirs(1), Step::Wait), (514, theirs(1), Step::Wait)],
            ),
            (
                "one that does not change for as long as it lasts is taken",
                vec![
                    (500, theirs(1), Step::Wait),
                    (515, theirs(1), update(515, 515, 4)),
                ],
            ),
            (
                "each change starts the wait anew",
                vec![
                    (0, theirs(1), Step::Wait),
                    (14, theirs(2), Step::Wait),
                    (28, theirs(2), Step::Wait),
                    (29, theirs(2), update(29, 29, 4)),
                ],
            ),
            (
                "times in the future mean nothing",
                vec![
                    (0, theirs(9_999), Step::Wait),
                    (15, theirs(9_999), update(15, 15, 4)),
                ],
            ),
            (
                "our own is renewed",
                vec![
                    (5, ours(3), update(0, 5, 4)),
                    (90, ours(5), update(0, 90, 4)),
                ],
            ),
            (
                "one that was given away is taken at once",
                vec![(10, Some(free), update(10, 10, 8))],
            ),
            (
                "one that says nothing of its length has expired",
                vec![(0, Some(unknown), update(0, 0, 1))],
            ),
        ];
        for (name, steps) in cases {
            let mut elector = Elector::new("a".to_owned(), LEASE);
            for (second, seen, expected) in steps {
                let step = elector.decide(seen.as_ref(), at(second), time(second));
                assert_eq!(step, expected, "{name}, second {second}");
            }
        }
    }

    #[test]
    fn only_our_own_lease_is_given_away() {
        let mut elector = Elector::new("a".to_owned(), LEASE);
        assert_eq!(elector.release(time(0)), None);
        elector.saw(record("b", 0, 0, 1), at(0));
        assert_eq!(elector.release(time(0)), None);
        elector.saw(record("a", 0, 0, 2), at(0));
        let released = elector.release(time(9)).unwrap();
        assert_eq!(released.holder(), "");
        assert_eq!(
            (released.lasts(), released.lease_transitions),
            (at(1), Some(2))
        );
    }

    #[test]
    fn a_pace_must_leave_room() {
        let pace = |lease, renew, retry| Pace {
            lease: Duration::from_millis(lease),
            renew: Duration::from_millis(renew),
            retry: Duration::from_millis(retry),
        };
        assert_eq!(Pace::default().check(), Ok(()));
        let cases = [
            (pace(0, 1, 1), BadPace::Zero("lease-duration")),
            (pace(2, 0, 1), BadPace::Zero("renew-deadline")),
            (pace(2, 1, 0), BadPace::Zero("retry-period")),
            (pace(900, 500, 100), BadPace::Short),
            (pace(10_000, 10_000, 2_000), BadPace::Lease),
            (pace(15_000, 2_400, 2_000), BadPace::Renew),
        ];
        for (pace, bad) in cases {
            assert_eq!(pace.check(), Err(bad), "{pace:?}");
        }
    }

    #[test]
    fn times_have_six_digits() {
        let time: Timestamp = "2030-01-02T03:04:05.000006Z".parse().unwrap();
        assert_eq!(micro_time(time), "2030-01-02T03:04:05.000006Z");
    }
}
