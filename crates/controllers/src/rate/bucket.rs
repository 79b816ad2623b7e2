//! A token bucket: `--kube-api-qps` and `--kube-api-burst` as a cap.

use std::time::Duration;

/// Lets `burst` pass at once and `qps` per second after that. Time is an argument.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// What one token takes to come.
    every: Duration,
    burst: u32,
    /// When the bucket would be full, if nobody took any more.
    full_at: Duration,
}

impl Bucket {
    /// A full bucket; none if there is no cap.
    #[must_use]
    pub fn new(qps: f64, burst: u32) -> Option<Self> {
        (qps > 0.0 && qps.is_finite()).then(|| Self {
            every: Duration::from_secs_f64((1.0 / qps).min(3600.0)),
            burst: burst.max(1),
            full_at: Duration::ZERO,
        })
    }

    /// Takes a token, and says how long to wait for it. Tokens are given in the order of asking.
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
        let mut bucket = Bucket::new(10.0, 3).unwrap();
        let at = Duration::from_millis;
        let cases = [
            (at(0), at(0)),
            (at(0), at(0)),
            (at(0), at(0)),
            (at(0), at(100)),
            (at(0), at(200)),
            // Time gives tokens back, never more than the burst.
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
    fn no_rate_is_no_cap() {
        assert!(Bucket::new(0.0, 5).is_none());
        assert!(Bucket::new(-1.0, 5).is_none());
        assert!(Bucket::new(f64::INFINITY, 5).is_none());
    }
}
