//! Exponential back-off with jitter.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

/// Exponential back-off: how long to wait after failures in a row.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The wait after the first failure; it doubles with each further one.
    pub min: Duration,
    /// The longest wait, however many failures there were.
    pub max: Duration,
}

impl Default for Backoff {
    /// 20 ms to 30 s. Upstream's controllers use 5 ms to 1000 s, which is too long for a person who
    /// waits.
    fn default() -> Self {
        Self {
            min: Duration::from_millis(20),
            max: Duration::from_secs(30),
        }
    }
}

impl Backoff {
    /// The wait after `failures` failures in a row (1 is the first).
    #[must_use]
    pub fn delay(&self, failures: u32) -> Duration {
        let factor = 1_u32
            .checked_shl(failures.saturating_sub(1))
            .unwrap_or(u32::MAX);
        self.min.saturating_mul(factor.max(1)).min(self.max)
    }
}

/// `wait` plus up to a quarter, so that many clients do not come back at the same moment.
#[must_use]
pub fn jittered(wait: Duration) -> Duration {
    // A fresh RandomState is seeded at random; this spares a dependency for a number that need not
    // be good.
    let random = RandomState::new().build_hasher().finish() % 256;
    wait + wait.mul_f64(f64::from(u32::try_from(random).unwrap_or(0)) / 1024.0)
}
