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

    /// When the next token is there: `now` or later.
    #[must_use]
    pub fn ready_at(&self, now: Duration) -> Duration {
        let full_then = self.full_at.max(now).saturating_add(self.every);
        full_then.saturating_sub(self.every * self.burst).max(now)
    }

    /// Takes a token, which must be there.
    pub fn take(&mut self, now: Duration) {
        self.full_at = self.full_at.max(now).saturating_add(self.every);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_rest_comes_at_the_rate() {
        let mut bucket = TokenBucket::new(10.0, 3).unwrap();
        let at = Duration::from_millis;
        // When a token is wanted, and how long it takes to come; it is taken then.
        let cases = [
            (at(0), at(0)),
            (at(0), at(0)),
            (at(0), at(0)),
            (at(0), at(100)),
            (at(100), at(100)),
            // Tokens come back with time, never more than the burst.
            (at(250), at(50)),
            (at(10_000), at(0)),
            (at(10_000), at(0)),
            (at(10_000), at(0)),
            (at(10_000), at(100)),
        ];
        for (index, (now, wait)) in cases.into_iter().enumerate() {
            let ready = bucket.ready_at(now);
            assert_eq!(ready, now + wait, "request {index}");
            bucket.take(ready);
        }
    }

    #[test]
    fn without_a_rate_there_is_no_bucket() {
        assert!(TokenBucket::new(0.0, 5).is_none());
        assert!(TokenBucket::new(-1.0, 5).is_none());
        assert!(TokenBucket::new(f64::INFINITY, 5).is_none());
    }
}
