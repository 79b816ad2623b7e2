//! Bytes that the parts of a watch cache may retain together, beyond those of the current objects.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes that the histories of all kinds may retain: some 2,600 changes of pods.
const HISTORY_BYTES: usize = 8 << 20;
/// Bytes that the queues of all watchers may retain. An event counts once, however many watchers
/// have it in their queues: some 40,000 changes of pods, as many as a roll-out to 10,000 nodes
/// makes while its slowest watcher reads none.
const QUEUED_BYTES: usize = 256 << 20;

/// A number of bytes, and what it may be. Clones share the number.
#[derive(Debug, Clone)]
pub struct Budget {
    total: Arc<AtomicUsize>,
    most: usize,
}

impl Budget {
    /// A budget of which nothing is in use.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            total: Arc::default(),
            most,
        }
    }

    /// The bytes in use.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// How many bytes are too many.
    pub(super) fn excess(&self) -> usize {
        self.total().saturating_sub(self.most)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn subtract(&self, bytes: usize) {
        self.total.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The budgets of a watch cache.
#[derive(Debug, Clone)]
pub(super) struct Budgets {
    /// Of the histories of all kinds.
    pub history: Budget,
    /// Of the queues of all watchers.
    pub queued: Budget,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            history: Budget::new(HISTORY_BYTES),
            queued: Budget::new(QUEUED_BYTES),
        }
    }
}
