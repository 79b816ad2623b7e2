//! How many requests may be under way at once: found by measuring, cut when the server is in
//! trouble. Pure.
//!
//! All requests are answered sooner or later, so rate times latency is what is under way (Little's
//! law): once the server is saturated, more requests at once only increase latency. So the limiter
//! compares the rate of answers from window to window:
//!
//! - *climb*: double the limit while that brings at least a twentieth more answers per second;
//! - *hold*, then *probe*: a quarter more, kept if it brings a twentieth; a fifth less, kept if it
//!   costs next to nothing. A probe that is not kept doubles the wait before the next. So the limit
//!   settles where the server's rate stops growing.
//! - *cut*: 429 and 5xx cut the limit at once (and `Retry-After` stops all requests until then); so
//!   do answers that take far longer than before, and a rate that collapses under an unchanged
//!   limit.
//!
//! Windows in which the limit was rarely reached change nothing. Where the rate varies by itself (a
//! busy machine), the limiter prefers too many requests: too low a limit costs rate, too high a one
//! only latency, which is bounded.

use std::time::Duration;

use super::tuning::{
    CALM, CLIMB_GAIN, COLLAPSE, CUT_SLOW, CUT_THROTTLED, DOWN, FORGET, GROW_BELOW, HOLD,
    NOISE_FIRST, NOISE_MAX, NOISE_USUAL, RECOVERY, UP, WINDOW_ANSWERS, WINDOW_MAX, WINDOW_MIN,
    WINDOW_STALE_ANSWERS, YIELD_ABOVE,
};

/// Bounds of the number of requests under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The limit is never lower.
    pub min: usize,
    /// The limit at the start.
    pub start: usize,
    /// The limit is never higher. Each request under way is a connection, as HTTP/1.1 is used.
    pub max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            min: 4,
            start: 32,
            max: 256,
        }
    }
}

/// How a request ended, as a sign of the server's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered, with success or a refusal of this request.
    Answered,
    /// 429, with the wait that the server asked for.
    Throttled(Option<Duration>),
    /// 5xx, or no answer in time.
    Failed,
    /// Given up by this process: no sign of load.
    Abandoned,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Climb,
    Hold { until: Duration },
    Up,
    Down,
}

/// The best limit so far, and the rate of answers with it.
#[derive(Debug, Clone, Copy)]
struct Mark {
    limit: f64,
    rate: f64,
}

/// What was counted since the window began.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    since: Option<Duration>,
    begun: usize,
    /// How many began with the limit reached: only then does the limit bound the rate.
    full: usize,
    answers: usize,
    waited: Duration,
    /// Answers to requests that began under another limit.
    settling: usize,
}

/// Decides how many requests may be under way. Time is an argument: the time since some start.
#[derive(Debug, Clone)]
pub struct ConcurrencyLimiter {
    bounds: Bounds,
    limit: f64,
    phase: Phase,
    mark: Mark,
    /// The best mean latency of a window, in seconds.
    best: Option<f64>,
    window: Window,
    under_way: usize,
    hold: Duration,
    /// Whether the next probe goes up.
    upward: bool,
    collapsed: bool,
    /// Relative variation of the rate from window to window.
    noise: f64,
    paused_until: Duration,
    cut_at: Option<Duration>,
}

impl ConcurrencyLimiter {
    /// A limiter that has measured nothing yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let limit = count(bounds.start);
        Self {
            bounds,
            limit,
            phase: Phase::Climb,
            mark: Mark { limit, rate: 0.0 },
            best: None,
            window: Window::default(),
            under_way: 0,
            hold: HOLD.0,
            upward: true,
            collapsed: false,
            noise: NOISE_FIRST,
            paused_until: Duration::ZERO,
            cut_at: None,
        }
    }

    /// How many requests may be under way.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the limit lies between the bounds"
    )]
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// How many requests are under way.
    #[must_use]
    pub const fn under_way(&self) -> usize {
        self.under_way
    }

    /// Whether one more request may begin.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.under_way < self.limit()
    }

    /// The end of the wait that the server asked for, if it lies ahead.
    #[must_use]
    pub fn paused_until(&self, now: Duration) -> Option<Duration> {
        (self.paused_until > now).then_some(self.paused_until)
    }

    /// Counts a request that begins.
    pub fn begin(&mut self, now: Duration) {
        if self.under_way == 0 {
            self.window = Window::default();
        }
        self.under_way += 1;
        self.window.since.get_or_insert(now);
        self.window.begun += 1;
        if self.under_way >= self.limit() {
            self.window.full += 1;
        }
    }

    /// Counts a request that ends after `took`.
    pub fn end(&mut self, now: Duration, took: Duration, outcome: Outcome) {
        self.under_way = self.under_way.saturating_sub(1);
        match outcome {
            Outcome::Abandoned => return,
            Outcome::Throttled(wait) => {
                let wait = wait.unwrap_or(Duration::ZERO);
                self.paused_until = self.paused_until.max(now.saturating_add(wait));
                return self.cut_once(now, took, CUT_THROTTLED);
            }
            Outcome::Failed => return self.cut_once(now, took, CUT_THROTTLED),
            Outcome::Answered => {}
        }
        if self.window.settling > 0 {
            self.window.settling -= 1;
            if self.window.settling == 0 {
                self.window = Window {
                    since: Some(now),
                    ..Window::default()
                };
            }
            return;
        }
        self.window.answers += 1;
        self.window.waited += took;
        self.close_window(now);
    }

    /// Evaluates the window if it has enough answers.
    fn close_window(&mut self, now: Duration) {
        let Some(since) = self.window.since else {
            return;
        };
        let (lasted, answers) = (now.saturating_sub(since), self.window.answers);
        // A climb must be quick; a probe needs an exact rate.
        let (rounds, shortest) = match self.phase {
            Phase::Climb => (2, WINDOW_MIN),
            _ => (6, WINDOW_MIN * 10),
        };
        let enough = answers >= WINDOW_ANSWERS.max(rounds * self.limit()) && lasted >= shortest;
        let stale = answers >= WINDOW_STALE_ANSWERS && lasted >= WINDOW_MAX;
        if !enough && !stale {
            return;
        }
        let at_limit = self.window.full * 2 >= self.window.begun;
        let rate = count(answers) / lasted.as_secs_f64();
        let latency = self.window.waited.as_secs_f64() / count(answers);
        self.window = Window {
            since: Some(now),
            ..Window::default()
        };
        let best = self
            .best
            .map_or(latency, |best| (best * FORGET).min(latency));
        self.best = Some(best);
        if exceeds(latency, best, YIELD_ABOVE) {
            self.cut(now, CUT_SLOW);
        } else if at_limit {
            self.evaluate(now, rate, !exceeds(latency, best, GROW_BELOW));
        }
    }

    fn evaluate(&mut self, now: Duration, rate: f64, may_grow: bool) {
        match self.phase {
            Phase::Climb if rate >= self.mark.rate * (CLIMB_GAIN - self.noise_margin()) => {
                self.set_mark(rate);
                if may_grow && self.limit() < self.bounds.max {
                    self.set(self.limit * 2.0);
                } else {
                    self.rest(now);
                }
            }
            Phase::Climb => {
                self.restore_mark();
                self.rest(now);
            }
            Phase::Up | Phase::Down => self.evaluate_probe(now, rate),
            Phase::Hold { until } => self.hold(now, until, rate, may_grow),
        }
    }

    fn evaluate_probe(&mut self, now: Duration, rate: f64) {
        let needed = if self.phase == Phase::Up {
            UP.1
        } else {
            DOWN.1
        };
        if rate >= self.mark.rate * needed {
            self.set_mark(rate);
            // After a success the next probe comes soon.
            self.hold = HOLD.0;
        } else {
            self.restore_mark();
            self.upward = !self.upward;
            self.hold = (self.hold * 2).min(HOLD.1);
        }
        self.rest(now);
    }

    fn hold(&mut self, now: Duration, until: Duration, rate: f64, may_grow: bool) {
        if self.mark.rate > 0.0 {
            let variation = (rate / self.mark.rate - 1.0).abs().min(NOISE_MAX);
            self.noise = self.noise.mul_add(0.8, variation * 0.2);
        }
        if rate < self.mark.rate * (COLLAPSE - self.noise_margin()) {
            if self.collapsed {
                self.cut(now, CUT_SLOW);
            } else {
                self.collapsed = true;
            }
            return;
        }
        self.collapsed = false;
        let calm = self.cut_at.is_none_or(|at| now > at + CALM);
        if self.mark.rate > 0.0 && rate > self.mark.rate * RECOVERY && may_grow && calm {
            // The server has become much faster: climb again.
            self.set_mark(rate);
            self.phase = Phase::Climb;
            self.set(self.limit * 2.0);
            return;
        }
        self.mark.rate = if self.mark.rate > 0.0 {
            self.mark.rate.mul_add(0.7, rate * 0.3)
        } else {
            rate
        };
        if now < until {
            return;
        }
        if self.upward && may_grow && self.limit() < self.bounds.max {
            self.phase = Phase::Up;
            self.set(self.limit * UP.0 + 1.0);
        } else if self.limit() > self.bounds.min {
            self.upward = false;
            self.phase = Phase::Down;
            self.set(self.limit * DOWN.0);
        } else {
            self.upward = true;
            self.rest(now);
        }
    }

    /// The relative difference of rates that may be noise.
    fn noise_margin(&self) -> f64 {
        (2.0 * (self.noise - NOISE_USUAL)).max(0.0)
    }

    /// Cuts once for requests that failed together.
    fn cut_once(&mut self, now: Duration, took: Duration, to: f64) {
        let began = now.saturating_sub(took);
        if self.cut_at.is_none_or(|at| began >= at) {
            self.cut(now, to);
        }
    }

    fn cut(&mut self, now: Duration, to: f64) {
        self.cut_at = Some(now);
        self.collapsed = false;
        self.set(self.limit * to);
        self.window = Window {
            settling: self.under_way,
            ..Window::default()
        };
        // The rate with this limit is not known before the next window.
        self.set_mark(0.0);
        self.upward = true;
        self.hold = HOLD.0 * 4;
        self.rest(now);
    }

    const fn set_mark(&mut self, rate: f64) {
        self.mark = Mark {
            limit: self.limit,
            rate,
        };
    }

    fn restore_mark(&mut self) {
        self.set(self.mark.limit);
    }

    fn rest(&mut self, now: Duration) {
        self.collapsed = false;
        self.phase = Phase::Hold {
            until: now.saturating_add(self.hold),
        };
    }

    fn set(&mut self, limit: f64) {
        let bounded = limit.clamp(count(self.bounds.min), count(self.bounds.max));
        if (bounded - self.limit).abs() > f64::EPSILON {
            // With a higher limit, connections are opened first; their requests are not measured.
            let fresh = if bounded > self.limit {
                self.limit()
            } else {
                0
            };
            self.limit = bounded;
            self.window = Window {
                settling: self.under_way + fresh,
                ..Window::default()
            };
        }
    }
}

fn exceeds(latency: f64, best: f64, (factor, minimum): (f64, Duration)) -> bool {
    latency > (best * factor).max(minimum.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests are small")]
const fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
