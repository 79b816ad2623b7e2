//! Lets requests that change something pass only while this process leads.
//!
//! Leading is a matter of time: the lease was renewed, and until the renew deadline after that nobody else can have
//! it. So the fence holds a moment, not a flag, and a process that was stopped for a minute finds it closed before its
//! own tasks have noticed anything.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A fence; clones share it.
#[derive(Debug, Clone)]
pub struct Fence(Arc<Mutex<State>>);

#[derive(Debug, Clone, Copy)]
enum State {
    Open,
    Until(Instant),
    Shut,
}

/// Refused: this process does not lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this process is not the leader (any more)")]
pub struct Fenced;

impl Fence {
    /// A fence that is always open: there is no election.
    #[must_use]
    pub fn open() -> Self {
        Self(Arc::new(Mutex::new(State::Open)))
    }

    /// A fence that opens when leadership is won.
    #[must_use]
    pub fn shut() -> Self {
        Self(Arc::new(Mutex::new(State::Shut)))
    }

    /// Leadership is certain until then.
    pub fn extend(&self, until: Instant) {
        *self.0.lock() = State::Until(until);
    }

    /// Nothing passes any more.
    pub fn close(&self) {
        *self.0.lock() = State::Shut;
    }

    /// Whether a request may be sent now.
    ///
    /// # Errors
    /// [`Fenced`].
    pub fn check(&self) -> Result<(), Fenced> {
        self.check_at(Instant::now())
    }

    fn check_at(&self, now: Instant) -> Result<(), Fenced> {
        match *self.0.lock() {
            State::Open => Ok(()),
            State::Until(until) if now < until => Ok(()),
            State::Until(_) | State::Shut => Err(Fenced),
        }
    }

    /// Until when requests may take: what is under way then must be given up.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match *self.0.lock() {
            State::Until(until) => Some(until),
            State::Open | State::Shut => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_closes_by_itself() {
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
