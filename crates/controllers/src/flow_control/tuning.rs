//! The constants of the concurrency limiter.

use std::time::Duration;

/// The fewest answers that make a window, and the shortest and longest time that it lasts.
pub(super) const WINDOW_ANSWERS: usize = 32;
pub(super) const WINDOW_MIN: Duration = Duration::from_millis(10);
pub(super) const WINDOW_MAX: Duration = Duration::from_millis(500);
/// The fewest answers for a window that has lasted its longest time.
pub(super) const WINDOW_STALE_ANSWERS: usize = 8;
/// The first and the longest wait between probes.
pub(super) const HOLD: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(16));
/// Doubling is kept if the rate grows by this factor.
pub(super) const CLIMB_GAIN: f64 = 1.05;
/// A probe up: the factor of the limit, and the factor of the rate that keeps it.
pub(super) const UP: (f64, f64) = (1.25, 1.05);
/// A probe down: the factor of the limit, and the factor of the rate that keeps it.
pub(super) const DOWN: (f64, f64) = (0.8, 0.97);
/// Factors of the limit after a 429 or failure, and after slow answers or a collapse of the rate.
pub(super) const CUT_THROTTLED: f64 = 0.6;
pub(super) const CUT_SLOW: f64 = 0.75;
/// Two windows in a row below this part of the known rate are a collapse.
pub(super) const COLLAPSE: f64 = 0.6;
/// Variation of the rate below the first is always there; above the second it is not noise.
pub(super) const NOISE_USUAL: f64 = 0.05;
/// The variation that is assumed before it was measured.
pub(super) const NOISE_FIRST: f64 = 0.15;
pub(super) const NOISE_MAX: f64 = 0.3;
/// A rate so many times the known one starts a climb, unless there was a cut within `CALM`.
pub(super) const RECOVERY: f64 = 1.5;
pub(super) const CALM: Duration = Duration::from_secs(3);
/// No growth where answers take longer than this many times the best, and at least this long.
pub(super) const GROW_BELOW: (f64, Duration) = (16.0, Duration::from_millis(150));
/// A cut where answers take longer than this many times the best, and at least this long.
pub(super) const YIELD_ABOVE: (f64, Duration) = (32.0, Duration::from_millis(600));
/// How fast the best latency is forgotten, per window: a server may become slower for good.
pub(super) const FORGET: f64 = 1.01;
