//! What a process needs to take part in a leader election.

use std::time::Duration;

/// client-go's factor of jitter between attempts.
pub const JITTER: f64 = 1.2;

/// The lease that is the lock, and the process that wants it.
#[derive(Debug, Clone)]
pub struct LeaderElectionConfig {
    /// The lease's namespace.
    pub namespace: String,
    /// The lease's name.
    pub name: String,
    /// The identity of this process, unique among all candidates.
    pub identity: String,
    /// The times of the election.
    pub timing: Timing,
}

/// client-go's times of a leader election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long other candidates wait after the last change of the lease that they saw.
    pub lease_duration: Duration,
    /// How long the leader acts after the last renewal that succeeded.
    pub renew_deadline: Duration,
    /// The time between attempts to acquire or renew the lease.
    pub retry_period: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// Why times cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTiming {
    /// A time is zero.
    #[error("--leader-elect-{0} must be greater than zero")]
    Zero(&'static str),
    /// A lease is written in whole seconds.
    #[error("--leader-elect-lease-duration must be at least 1s")]
    Short,
    /// Two processes could lead at once.
    #[error("--leader-elect-lease-duration must be greater than --leader-elect-renew-deadline")]
    Lease,
    /// The leader would give up before it has tried twice.
    #[error("--leader-elect-renew-deadline must be greater than --leader-elect-retry-period * 1.2")]
    Renew,
}

impl Timing {
    /// Checks the times as kube-controller-manager does.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn check(&self) -> Result<(), InvalidTiming> {
        let times = [
            ("lease-duration", self.lease_duration),
            ("renew-deadline", self.renew_deadline),
            ("retry-period", self.retry_period),
        ];
        if let Some((name, _)) = times.iter().find(|(_, time)| time.is_zero()) {
            return Err(InvalidTiming::Zero(name));
        }
        if self.lease_duration < Duration::from_secs(1) {
            return Err(InvalidTiming::Short);
        }
        if self.lease_duration <= self.renew_deadline {
            return Err(InvalidTiming::Lease);
        }
        if self.renew_deadline <= self.retry_period.mul_f64(JITTER) {
            return Err(InvalidTiming::Renew);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_contradict_each_other_are_refused() {
        let timing = |lease, renew, retry| Timing {
            lease_duration: Duration::from_millis(lease),
            renew_deadline: Duration::from_millis(renew),
            retry_period: Duration::from_millis(retry),
        };
        assert_eq!(Timing::default().check(), Ok(()));
        let cases = [
            (timing(0, 1, 1), InvalidTiming::Zero("lease-duration")),
            (timing(2, 0, 1), InvalidTiming::Zero("renew-deadline")),
            (timing(2, 1, 0), InvalidTiming::Zero("retry-period")),
            (timing(900, 500, 100), InvalidTiming::Short),
            (timing(10_000, 10_000, 2_000), InvalidTiming::Lease),
            (timing(15_000, 2_400, 2_000), InvalidTiming::Renew),
        ];
        for (timing, error) in cases {
            assert_eq!(timing.check(), Err(error), "{timing:?}");
        }
    }
}
