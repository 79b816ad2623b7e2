//! The lock of a store that is open.

use parking_lot::Mutex;

use crate::disk::LockGuard;

/// Holds the lock until it is released, or until all that may use the directory are gone: the
/// store, its writer and the thread of a checkpoint.
#[derive(Debug)]
pub(super) struct Held(Mutex<Option<LockGuard>>);

impl Held {
    pub(super) fn new(lock: LockGuard) -> Self {
        Self(Mutex::new(Some(lock)))
    }

    /// Lets another process open the directory.
    pub(super) fn release(&self) {
        self.0.lock().take();
    }
}
