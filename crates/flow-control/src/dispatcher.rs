//! Gives out the seats of the server.
//!
//! A level has seats that are its own, and lends the rest of its share: what all levels lend is a
//! pool. A level takes its own seats first, then those of the pool; levels that use less than their
//! share come before those that borrow. Requests that find no seat wait in queues of their level,
//! or are refused.
//!
//! The queues of a level are served by start-time fair queuing (Goyal, Vin, Cheng 1996): each queue
//! has a tag, which grows by the work that it got, seats times time; the queue with the lowest tag
//! is next. So each queue gets the same work, however many requests wait in it.

mod queue;

use std::time::Duration;

use self::queue::{QueueId, Queues, Waiting};
use crate::level::{Level, Limits};

/// The number of a request that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(u64);

/// A request that has begun: it holds seats until [`Dispatcher::finish`].
#[derive(Debug)]
#[must_use = "its seats are held until it is finished"]
pub struct Begun {
    level: usize,
    /// The queue whose share it uses.
    queue: Option<QueueId>,
    seats: u64,
    at: Duration,
}

/// A request that waits, until it begins or [`Dispatcher::give_up`].
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// By which it is named when it begins.
    pub id: RequestId,
    level: usize,
}

/// What becomes of a request that arrives.
#[derive(Debug)]
pub enum Arrival {
    /// It begins now.
    Begins(Begun),
    /// It waits for its turn.
    Waits(Waits),
    /// It is refused.
    Refused(Refusal),
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// No seat is free, and the level has no queues.
    ConcurrencyLimit,
    /// Too many requests wait in its queues.
    QueueFull,
    /// It has waited too long.
    TimeOut,
}

impl Refusal {
    /// Its name in metrics, as upstream's.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConcurrencyLimit => "concurrency-limit",
            Self::QueueFull => "queue-full",
            Self::TimeOut => "time-out",
        }
    }
}

/// What a level uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many seats it may use.
    pub limits: Limits,
    /// The seats in use.
    pub seats: u64,
    /// The requests that hold them.
    pub executing: usize,
    /// The requests that wait.
    pub waiting: usize,
}

/// A priority level.
#[derive(Debug)]
struct State {
    name: String,
    is_exempt: bool,
    limits: Limits,
    seats: u64,
    executing: usize,
    queues: Queues,
}

impl State {
    /// Seats of the pool that it uses when it uses so many.
    fn borrowed(&self, seats: u64) -> u64 {
        match self.is_exempt {
            true => 0,
            false => seats.saturating_sub(self.limits.lower),
        }
    }

    /// Whether requests wait although it uses less than its share.
    fn has_claim(&self) -> bool {
        self.queues.waiting() > 0 && self.seats < self.limits.nominal
    }

    fn is_idle(&self) -> bool {
        self.executing == 0 && self.queues.waiting() == 0
    }
}

/// Gives out the seats of the server to requests.
#[derive(Debug)]
pub struct Dispatcher {
    /// How many seats the server has.
    seats: u64,
    /// How many seats levels lend.
    pool: u64,
    levels: Vec<State>,
    last_id: u64,
}

impl Dispatcher {
    /// A dispatcher of so many seats, without levels.
    #[must_use]
    pub fn new(seats: u64) -> Self {
        Self {
            seats,
            pool: 0,
            levels: Vec::new(),
            last_id: 0,
        }
    }

    /// Sets the priority levels. Requests of a level that no longer exists stay where they are: it
    /// has no share, and ends with them. Returns the waiting requests that begin now.
    pub fn configure(&mut self, levels: &[Level], now: Duration) -> Vec<(RequestId, Begun)> {
        let shares: u64 = levels.iter().map(Level::shares).sum();
        self.levels.iter_mut().for_each(|state| {
            if !levels.iter().any(|level| level.name() == state.name) {
                // Its name is free for another level.
                state.name.clear();
                state.limits = Limits {
                    upper: self.seats,
                    ..Limits::default()
                };
            }
        });
        for level in levels {
            let slot = self.slot_for(level.name());
            let state = &mut self.levels[slot];
            level.name().clone_into(&mut state.name);
            state.is_exempt = level.is_exempt();
            state.limits = level.limits(self.seats, shares);
            state.queues.configure(level.queuing());
        }
        let lends = |state: &State| state.limits.nominal - state.limits.lower;
        self.pool = self.levels.iter().map(lends).sum();
        self.begin_waiting(now)
    }

    /// The place of a level: its own, that of one that has ended, or a new one.
    fn slot_for(&mut self, name: &str) -> usize {
        let mut levels = self.levels.iter();
        let known = levels.position(|state| state.name == name);
        let ended = |state: &State| state.name.is_empty() && state.is_idle();
        known
            .or_else(|| self.levels.iter().position(ended))
            .unwrap_or_else(|| {
                self.levels.push(State {
                    name: String::new(),
                    is_exempt: false,
                    limits: Limits::default(),
                    seats: 0,
                    executing: 0,
                    queues: Queues::default(),
                });
                self.levels.len() - 1
            })
    }

    /// The most seats that a request of a level should take: 15 % of its share (upstream's
    /// `priorityLevelMaxSeatsPercent`), at least one.
    #[must_use]
    pub fn max_seats(&self, level: &str) -> u64 {
        let mut levels = self.levels.iter();
        let state = levels.find(|state| state.name == level);
        let nominal = state.map_or(0, |state| state.limits.nominal);
        (nominal * 15).div_ceil(100).max(1)
    }

    /// What a level uses.
    #[must_use]
    pub fn usage(&self, level: &str) -> Option<Usage> {
        let mut levels = self.levels.iter();
        let state = levels.find(|state| state.name == level)?;
        Some(Usage {
            limits: state.limits,
            seats: state.seats,
            executing: state.executing,
            waiting: state.queues.waiting(),
        })
    }

    /// A request of a flow arrives and needs so many seats. It is refused if there is no such
    /// level. Call [`Dispatcher::begin_waiting`] if it waits: its turn may be now, as it needs
    /// fewer seats than the one that is next.
    pub fn arrive(&mut self, level: &str, flow: u64, seats: u64, now: Duration) -> Arrival {
        let mut levels = self.levels.iter();
        let Some(slot) = levels.position(|state| state.name == level) else {
            return Arrival::Refused(Refusal::ConcurrencyLimit);
        };
        let begins = self.begins_at_once(slot, seats);
        let state = &mut self.levels[slot];
        if state.is_exempt {
            return Arrival::Begins(state.begin(slot, None, seats, now));
        }
        let queue = state.queues.choose(flow);
        if begins {
            return Arrival::Begins(state.begin(slot, queue, seats, now));
        }
        let Some(queue) = queue else {
            return Arrival::Refused(Refusal::ConcurrencyLimit);
        };
        let id = RequestId(self.last_id + 1);
        if !state.queues.push(queue, Waiting { id, flow, seats }) {
            return Arrival::Refused(Refusal::QueueFull);
        }
        self.last_id += 1;
        Arrival::Waits(Waits { id, level: slot })
    }

    /// A request has ended. Returns the waiting requests that begin now.
    pub fn finish(&mut self, begun: &Begun, now: Duration) -> Vec<(RequestId, Begun)> {
        let state = &mut self.levels[begun.level];
        state.seats -= begun.seats;
        state.executing -= 1;
        if let Some(queue) = begun.queue {
            let took = now.saturating_sub(begun.at);
            state.queues.finish(queue, begun.seats, took);
        }
        self.begin_waiting(now)
    }

    /// A request no longer waits. Returns whether it did, and the requests that begin now in its
    /// place.
    pub fn give_up(&mut self, waits: Waits, now: Duration) -> (bool, Vec<(RequestId, Begun)>) {
        let has_waited = self.levels[waits.level].queues.remove(waits.id);
        (has_waited, self.begin_waiting(now))
    }

    /// Whether a request that arrives need not wait: it takes no seat that another should have.
    fn begins_at_once(&self, slot: usize, seats: u64) -> bool {
        let state = &self.levels[slot];
        let is_within_share = state.seats + seats <= state.limits.nominal;
        state.queues.waiting() == 0
            && self.fits(slot, seats)
            && (is_within_share || !self.levels.iter().any(State::has_claim))
    }

    /// Whether there are seats for a request of a level.
    fn fits(&self, slot: usize, seats: u64) -> bool {
        let state = &self.levels[slot];
        let then = state.seats + seats;
        // One request of a level goes on, however wide it is and small the share.
        if state.is_exempt || then <= state.limits.lower || state.seats == 0 {
            return true;
        }
        let borrowed: u64 = self.levels.iter().map(|one| one.borrowed(one.seats)).sum();
        let more = state.borrowed(then) - state.borrowed(state.seats);
        then <= state.limits.upper && borrowed + more <= self.pool
    }

    /// Begins the waiting requests that there are seats for.
    pub fn begin_waiting(&mut self, now: Duration) -> Vec<(RequestId, Begun)> {
        let mut begun = Vec::new();
        while let Some(slot) = self.next_level() {
            let state = &mut self.levels[slot];
            let Some((queue, waiting)) = state.queues.pop() else {
                break;
            };
            let one = state.begin(slot, Some(queue), waiting.seats, now);
            begun.push((waiting.id, one));
        }
        begun
    }

    /// The level whose next request begins: of those within their share, or else of those that
    /// borrow, the one that uses the smallest part of its share. No level borrows what another one
    /// has a claim to.
    fn next_level(&self) -> Option<usize> {
        if self.levels.iter().all(|state| state.queues.waiting() == 0) {
            return None;
        }
        let mut best: Option<(bool, u64, usize)> = None;
        let mut is_claimed = false;
        for (slot, state) in self.levels.iter().enumerate() {
            let Some(seats) = state.queues.next_seats() else {
                continue;
            };
            let borrows = state.seats + seats > state.limits.nominal && state.seats > 0;
            if !self.fits(slot, seats) {
                is_claimed |= state.has_claim();
                continue;
            }
            // In thousandths.
            let used = state.seats * 1000 / state.limits.nominal.max(1);
            let rank = (borrows, used, slot);
            if best.is_none_or(|best| rank < best) {
                best = Some(rank);
            }
        }
        let (borrows, _, slot) = best?;
        (!borrows || !is_claimed).then_some(slot)
    }
}

impl State {
    fn begin(&mut self, slot: usize, queue: Option<QueueId>, seats: u64, now: Duration) -> Begun {
        self.seats += seats;
        self.executing += 1;
        if let Some(queue) = queue {
            self.queues.begin(queue, seats);
        }
        Begun {
            level: slot,
            queue,
            seats,
            at: now,
        }
    }
}

#[cfg(test)]
mod tests;
