//! How many requests may be under way at once: found by measuring, given up when the server is in trouble.
//!
//! A [`Limiter`] is pure; [`gate::Gate`] is the shell that holds requests back. As all requests are answered sooner or
//! later, rate times latency is what is under way (Little's law): once the server is saturated, more requests at once
//! buy latency and no rate. So the limiter looks at the rate of answers, window by window:
//!
//! - *climb*: double the limit while that brings at least a twentieth more answers per second;
//! - *hold*, then *probe*: a quarter more, kept if it brings a twentieth; a fifth less, kept if it costs next to
//!   nothing. What is not kept makes the next probe wait longer. So the limit comes to rest where the server's rate
//!   stops growing, which is its ceiling without a queue.
//! - *yield*: 429 and 5xx cut the limit at once (and `Retry-After` stops everything until then); so do answers that
//!   take far longer than they used to, and a rate that collapses although the limit is the same.
//!
//! Windows in which there was not enough to do are no evidence and change nothing. Where the rate varies by itself (a busy
//! machine), the doubt is in favour of more: too low a limit costs rate, one that is too high only latency, which has
//! bounds of its own.

pub mod bucket;
pub mod gate;
#[cfg(test)]
mod model_tests;

use std::time::Duration;

/// The bounds of what may be under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// However bad it gets.
    pub min: usize,
    /// At first: "starts fast".
    pub start: usize,
    /// However good it gets. Each is a connection, as HTTP/1.1 is spoken.
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

/// How a request ended, as far as the server's load is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer, friendly or not.
    Answered,
    /// Too many requests; the server may say how long to wait.
    Throttled(Option<Duration>),
    /// The server failed, or did not answer in time.
    Failed,
    /// Given up by us: says nothing.
    Abandoned,
}

/// The fewest answers that make a window, and the shortest and longest time that it lasts.
const WINDOW_ANSWERS: usize = 32;
const WINDOW_MIN: Duration = Duration::from_millis(10);
const WINDOW_MAX: Duration = Duration::from_millis(500);
/// The fewest answers for a window that has lasted its longest time.
const WINDOW_POOR: usize = 8;
/// The first and the longest wait between probes.
const HOLD: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(16));
/// What doubling must bring.
const CLIMB_GAIN: f64 = 1.05;
/// A probe up, and what it must bring.
const UP: (f64, f64) = (1.25, 1.05);
/// A probe down, and what must be left.
const DOWN: (f64, f64) = (0.8, 0.97);
/// Cuts: the server said no; it is slow; it collapsed.
const CUT_THROTTLED: f64 = 0.6;
const CUT_SLOW: f64 = 0.75;
/// Of two windows in a row with less than this part of the known rate, the second one cuts.
const COLLAPSE: f64 = 0.6;
/// Less than this is always there, and more than that is not noise.
const NOISE_USUAL: f64 = 0.05;
/// What is assumed of a server that is not known yet.
const NOISE_FIRST: f64 = 0.15;
const NOISE_MAX: f64 = 0.3;
/// A rate so many times the known one is looked into at once, unless something was cut so recently.
const RECOVERY: f64 = 1.5;
const CALM: Duration = Duration::from_secs(3);
/// No growth where answers take longer than this many times the best, and at least this long.
const GROW_BELOW: (f64, Duration) = (16.0, Duration::from_millis(150));
/// A cut where answers take longer than this many times the best, and at least this long.
const YIELD_ABOVE: (f64, Duration) = (32.0, Duration::from_millis(600));
/// How fast the best latency is forgotten, per window: a server may become slower for good.
const FORGET: f64 = 1.01;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Climb,
    Hold { until: Duration },
    Up,
    Down,
}

/// The limit that was best so far, and its rate.
#[derive(Debug, Clone, Copy)]
struct Mark {
    limit: f64,
    rate: f64,
}

/// What has happened since the window began.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    since: Option<Duration>,
    begun: usize,
    /// How many began with the limit reached: only then is the limit what bounds the rate.
    full: usize,
    answers: usize,
    waited: Duration,
    /// Answers to requests that began under another limit.
    settling: usize,
}

/// Decides how many requests may be under way. Time is an argument: what has passed since some start.
#[derive(Debug, Clone)]
pub struct Limiter {
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
    /// How far the rate strays from one window to the next, as a part of it.
    noise: f64,
    paused_until: Duration,
    cut_at: Option<Duration>,
}

impl Limiter {
    /// Nothing is known yet.
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

    /// How many may be under way.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the limit lies between the bounds"
    )]
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// How many are under way.
    #[must_use]
    pub const fn under_way(&self) -> usize {
        self.under_way
    }

    /// Whether one more may begin.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.under_way < self.limit()
    }

    /// Until when the server asked to be left alone, if that lies ahead.
    #[must_use]
    pub fn paused_until(&self, now: Duration) -> Option<Duration> {
        (self.paused_until > now).then_some(self.paused_until)
    }

    /// A request begins.
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

    /// A request ends, after `took`.
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
        self.close(now);
    }

    /// Judges the window if it holds enough.
    fn close(&mut self, now: Duration) {
        let Some(since) = self.window.since else {
            return;
        };
        let (lasted, answers) = (now.saturating_sub(since), self.window.answers);
        // Climbing must be quick, weighing must be exact.
        let (rounds, least) = match self.phase {
            Phase::Climb => (2, WINDOW_MIN),
            _ => (6, WINDOW_MIN * 10),
        };
        let rich = answers >= WINDOW_ANSWERS.max(rounds * self.limit()) && lasted >= least;
        let poor = answers >= WINDOW_POOR && lasted >= WINDOW_MAX;
        if !rich && !poor {
            return;
        }
        let evidence = self.window.full * 2 >= self.window.begun;
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
        } else if evidence {
            self.judge(now, rate, !exceeds(latency, best, GROW_BELOW));
        }
    }

    fn judge(&mut self, now: Duration, rate: f64, may_grow: bool) {
        match self.phase {
            Phase::Climb if rate >= self.mark.rate * (CLIMB_GAIN - self.doubt()) => {
                self.keep(rate);
                if may_grow && self.limit() < self.bounds.max {
                    self.set(self.limit * 2.0);
                } else {
                    self.rest(now);
                }
            }
            Phase::Climb => {
                self.go_back();
                self.rest(now);
            }
            Phase::Up | Phase::Down => self.judge_probe(now, rate),
            Phase::Hold { until } => self.hold(now, until, rate, may_grow),
        }
    }

    fn judge_probe(&mut self, now: Duration, rate: f64) {
        let needed = if self.phase == Phase::Up {
            UP.1
        } else {
            DOWN.1
        };
        if rate >= self.mark.rate * needed {
            self.keep(rate);
            // What worked is tried again soon.
            self.hold = HOLD.0;
        } else {
            self.go_back();
            self.upward = !self.upward;
            self.hold = (self.hold * 2).min(HOLD.1);
        }
        self.rest(now);
    }

    fn hold(&mut self, now: Duration, until: Duration, rate: f64, may_grow: bool) {
        if self.mark.rate > 0.0 {
            let strays = (rate / self.mark.rate - 1.0).abs().min(NOISE_MAX);
            self.noise = self.noise.mul_add(0.8, strays * 0.2);
        }
        if rate < self.mark.rate * (COLLAPSE - self.doubt()) {
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
            // The server has become much faster: look again how much it can do.
            self.keep(rate);
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

    /// How much of a difference may be noise; windows are never quite equal.
    fn doubt(&self) -> f64 {
        (2.0 * (self.noise - NOISE_USUAL)).max(0.0)
    }

    /// Many requests fail together: they are one sign, not many.
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
        // The rate of this limit is not known; the next window tells.
        self.keep(0.0);
        self.upward = true;
        self.hold = HOLD.0 * 4;
        self.rest(now);
    }

    const fn keep(&mut self, rate: f64) {
        self.mark = Mark {
            limit: self.limit,
            rate,
        };
    }

    fn go_back(&mut self) {
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
            // With a higher limit, connections are made first, and that is not what is to be measured.
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

fn exceeds(latency: f64, best: f64, (factor, least): (f64, Duration)) -> bool {
    latency > (best * factor).max(least.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests are small")]
const fn count(number: usize) -> f64 {
    number as f64
}
