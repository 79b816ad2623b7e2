//! The recent changes of a kind, from which watches resume and older lists are made.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use pandaemon_store::Revision;

use super::event::Change;

/// Maximum number of changes that are kept of a kind.
const MAX_CHANGES: usize = 16_384;
/// Bytes that the histories of all kinds may retain together.
const BUDGET: usize = 8 << 20;

/// The bytes that the histories of all kinds retain. Clones share the number.
#[derive(Debug, Clone, Default)]
pub(super) struct HistoryBytes(Arc<AtomicUsize>);

impl HistoryBytes {
    /// The bytes of all histories.
    pub(super) fn total(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// How many bytes are too many.
    pub(super) fn excess(&self) -> usize {
        self.total().saturating_sub(BUDGET)
    }
}

/// The recent changes of a kind.
#[derive(Debug)]
pub(super) struct History {
    changes: VecDeque<Change>,
    bytes: usize,
    /// All changes after this revision are kept.
    floor: Revision,
    /// Includes the bytes of this history.
    total: HistoryBytes,
}

impl Drop for History {
    fn drop(&mut self) {
        self.total.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl History {
    /// An empty history that begins at a revision, and counts in the total.
    pub(super) const fn new(floor: Revision, total: HistoryBytes) -> Self {
        Self {
            changes: VecDeque::new(),
            bytes: 0,
            floor,
            total,
        }
    }

    /// An empty history that begins at a revision, instead of this one.
    pub(super) fn restarted(&self, floor: Revision) -> Self {
        Self::new(floor, self.total.clone())
    }

    /// All changes after this revision are kept.
    pub(super) const fn floor(&self) -> Revision {
        self.floor
    }

    /// Bytes that the changes retain.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, change: Change) {
        let bytes = change.retained_bytes();
        self.bytes += bytes;
        self.total.0.fetch_add(bytes, Ordering::Relaxed);
        self.changes.push_back(change);
        if self.changes.len() > MAX_CHANGES {
            self.pop();
        }
    }

    fn pop(&mut self) -> bool {
        let Some(old) = self.changes.pop_front() else {
            return false;
        };
        let bytes = old.retained_bytes();
        self.bytes -= bytes;
        self.total.0.fetch_sub(bytes, Ordering::Relaxed);
        self.floor = old.revision;
        true
    }

    /// Drops the oldest changes until so many bytes are left.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        while self.bytes > bytes && self.pop() {}
    }

    /// The changes after a revision.
    pub(super) fn after(&self, revision: Revision) -> impl Iterator<Item = &Change> {
        let changes = &self.changes;
        let start = changes.partition_point(|change| change.revision <= revision);
        changes.range(start..)
    }
}
