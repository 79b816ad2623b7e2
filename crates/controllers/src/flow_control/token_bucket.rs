//! A token bucket for `--kube-api-qps` and `--kube-api-burst`. Pure.

use std::time::Duration;

/// Lets `burst` requests pass at once and then `qps` per second. Time is an argument: the time
/// since some start.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    /// The time between two tokens.
    every: Duration,
    burst: u32,
    /// When the bucket would be full if no further token were taken.
    full_at: Duration,
}

impl TokenBucket {
    /// A full bucket; `None` if `qps` is not a positive number.
    #[must_use]
    pub fn new(qps: f64, burst: u32) -> Option<Self> {
        (qps > 0.0 && qps.is_finite()).then(|| Self {
            every: Duration::from_secs_f64((1.0 / qps).min(3600.0)),
            burst: burst.max(1),
            full_at: Duration::ZERO,
        })
    }

    /// Takes a token and returns how long to wait for it. Tokens are given in the order of calls.
    pub fn take(&mut self, now: Duration) -> Duration {
        self.full_at = self.full_at.max(now).saturating_add(self.every);
        let ready = self.full_at.saturating_sub(self.every * self.burst);
        ready.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_rest_comes_at_the_rate() {
        let mut bucket = TokenBucket::new(10.0, 3).unwrap();
        let at = Duration::from_millis;
        let cases = [
            (at(0), at(0)),
            (at(0), at(0)),
            (at(0), at(0)),
            (at(0), at(100)),
            (at(0), at(200)),
            // Tokens come back with time, never more than the burst.
            (at(250), at(50)),
            (at(10_000), at(0)),
            (at(10_000), at(0)),
            (at(10_000), at(0)),
            (at(10_000), at(100)),
        ];
        for (index, (now, wait)) in cases.into_iter().enumerate() {
            assert_eq!(bucket.take(now), wait, "request {index}");
        }
    }

    #[test]
    fn without_a_rate_there_is_no_bucket() {
        assert!(TokenBucket::new(0.0, 5).is_none());
        assert!(TokenBucket::new(-1.0, 5).is_none());
        assert!(TokenBucket::new(f64::INFINITY, 5).is_none());
    }
}
