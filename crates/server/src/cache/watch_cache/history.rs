//! The recent changes of a kind, from which watches resume and older lists are made.

use std::collections::VecDeque;

use pandaemon_store::Revision;

use super::{budget::Budget, event::Change};

/// Maximum number of changes that are kept of a kind.
const MAX_CHANGES: usize = 16_384;
/// The recent changes of a kind.
#[derive(Debug)]
pub(super) struct History {
    changes: VecDeque<Change>,
    bytes: usize,
    /// All changes after this revision are kept.
    floor: Revision,
    /// Includes the bytes of this history.
    total: Budget,
}

impl Drop for History {
    fn drop(&mut self) {
        self.total.subtract(self.bytes);
    }
}

impl History {
    /// An empty history that begins at a revision, and counts in the total.
    pub(super) const fn new(floor: Revision, total: Budget) -> Self {
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
        self.total.add(bytes);
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
        self.total.subtract(bytes);
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
