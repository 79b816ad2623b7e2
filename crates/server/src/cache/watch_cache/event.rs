//! Watch events: the line of each event type is encoded at most once and shared by all watchers.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use pandaemon_store::Revision;

use super::budget::Budget;
use crate::cache::object::Object;

/// The type of a watch event. It depends on the watcher: a modification that makes an object match
/// a selector is an addition for that watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The object is new or starts to match the selectors (`ADDED`).
    Added,
    /// The object has changed and still matches the selectors (`MODIFIED`).
    Modified,
    /// The object is deleted or stops matching the selectors (`DELETED`).
    Deleted,
}

impl ChangeKind {
    /// The `type` of the watch event.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// A change of one object. The history keeps it in this form, without encoded lines.
#[derive(Debug, Clone)]
pub struct Change {
    /// Revision of the change.
    pub revision: Revision,
    /// The object after the change; `None` for a deletion.
    pub now: Option<Arc<Object>>,
    /// The object before the change; `None` for a creation.
    pub before: Option<Arc<Object>>,
}

impl Change {
    /// The object after the change, or before it for a deletion.
    #[must_use]
    pub fn object(&self) -> Option<&Arc<Object>> {
        self.now.as_ref().or(self.before.as_ref())
    }

    /// Approximate bytes that the change retains beyond those of the current objects.
    #[must_use]
    pub fn retained_bytes(&self) -> usize {
        let before = self.before.as_ref();
        size_of::<Self>() + before.map_or(0, |object| size_of::<Object>() + object.len())
    }
}

/// A change of one object, on its way to the watchers.
pub struct Event {
    /// What has changed.
    pub change: Change,
    /// The encoded line of each [`ChangeKind`].
    lines: [OnceLock<Bytes>; 3],
    /// Approximate bytes that it retains beyond those of the current objects.
    pub(super) bytes: usize,
    /// Includes these bytes while the event is in any queue.
    queued: Budget,
}

impl Drop for Event {
    fn drop(&mut self) {
        self.queued.subtract(self.bytes);
    }
}

/// Without the lines, which have the content.
impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.change, f)
    }
}

impl Event {
    /// The event of a change. Counts in the budget until it is dropped: with its line, which the
    /// fastest watcher encodes.
    #[must_use]
    pub fn new(change: Change, queued: &Budget) -> Self {
        let line = change.object().map_or(0, |object| object.len());
        let bytes = size_of::<Self>() + change.retained_bytes() + line;
        queued.add(bytes);
        Self {
            change,
            lines: Default::default(),
            bytes,
            queued: queued.clone(),
        }
    }

    /// The object that a watch event of this type contains, with the revision of the event. DELETED
    /// contains the object before the change.
    #[must_use]
    pub fn object_for(&self, change: ChangeKind) -> Option<Object> {
        let object = match change {
            ChangeKind::Added | ChangeKind::Modified => self.change.now.as_ref(),
            ChangeKind::Deleted => self.change.before.as_ref(),
        }?;
        Some(object.with_revision(self.change.revision))
    }

    /// The line of a JSON watch. Encoded by the first watcher that asks, shared by the others.
    pub fn line(&self, change: ChangeKind) -> Bytes {
        self.lines[change as usize]
            .get_or_init(|| {
                self.object_for(change)
                    .map_or_else(Bytes::new, |object| line(change, &object))
            })
            .clone()
    }
}

/// A line of a JSON watch: `{"type":"ADDED","object":{...}}` and a line feed.
pub(super) fn line(change: ChangeKind, object: &Object) -> Bytes {
    let mut out = Vec::with_capacity(object.len() + 40);
    write_line(change, object, &mut out);
    out.into()
}

/// Writes the line of a JSON watch for an object.
pub fn write_line(change: ChangeKind, object: &Object, out: &mut Vec<u8>) {
    write_wrapped(change, out, |out| object.write(out));
}

/// Writes the line of a JSON watch; `write` writes the object.
pub fn write_wrapped(change: ChangeKind, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(change.as_str().as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    write(out);
    out.extend_from_slice(b"}\n");
}
