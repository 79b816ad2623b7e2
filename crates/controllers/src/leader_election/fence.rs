//! Refuses changes unless this process leads.
//!
//! Until the renew deadline after a renewal, no other process can acquire the lease. So the fence
//! holds a point in time, not a flag: a process that was frozen for a minute finds it closed before
//! its timers have fired.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A fence; clones share it.
#[derive(Debug, Clone)]
pub struct Fence(Arc<Mutex<Position>>);

#[derive(Debug, Clone, Copy)]
enum Position {
    Open,
    Until(Instant),
    Shut,
}

/// A change was refused because this process does not lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this process is not the leader (any more)")]
pub struct Fenced;

impl Fence {
    /// A fence that is always open, for a process without leader election.
    #[must_use]
    pub fn open() -> Self {
        Self(Arc::new(Mutex::new(Position::Open)))
    }

    /// A fence that is closed until leadership is acquired.
    #[must_use]
    pub fn shut() -> Self {
        Self(Arc::new(Mutex::new(Position::Shut)))
    }

    /// Opens the fence until a point in time up to which this process is the leader.
    pub fn extend(&self, until: Instant) {
        *self.0.lock() = Position::Until(until);
    }

    /// Closes the fence.
    pub fn close(&self) {
        *self.0.lock() = Position::Shut;
    }

    /// Checks that a change may be sent now.
    ///
    /// # Errors
    /// When this process does not lead.
    pub fn check(&self) -> Result<(), Fenced> {
        self.check_at(Instant::now())
    }

    fn check_at(&self, now: Instant) -> Result<(), Fenced> {
        match *self.0.lock() {
            Position::Open => Ok(()),
            Position::Until(until) if now < until => Ok(()),
            Position::Until(_) | Position::Shut => Err(Fenced),
        }
    }

    /// When changes under way must be given up; `None` without an election, or while closed.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match *self.0.lock() {
            Position::Until(until) => Some(until),
            Position::Open | Position::Shut => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_fence_closes_when_its_time_is_over() {
        assert_eq!(Fence::open().check(), Ok(()));
        let (fence, now) = (Fence::shut(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(fence.check(), Err(Fenced));
        fence.extend(after(10));
        assert_eq!(fence.check_at(after(9)), Ok(()));
        assert_eq!(fence.check_at(after(10)), Err(Fenced));
        fence.extend(after(20));
        assert_eq!(fence.check_at(after(10)), Ok(()));
        fence.close();
        assert_eq!(fence.check_at(after(10)), Err(Fenced));
    }
}
