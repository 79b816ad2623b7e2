//! One change, encoded at most once for each way it can look, and shared by all who follow.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use pandaemon_store::Revision;

use crate::object::Object;

/// What a change is to one who follows (a selector can turn a change into an arrival or a leaving).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// `ADDED`
    Added,
    /// `MODIFIED`
    Modified,
    /// `DELETED`
    Deleted,
}

impl ChangeKind {
    /// As it is on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One change of one object.
#[derive(Debug)]
pub struct Event {
    /// When.
    pub revision: Revision,
    /// The object now; `None` when it has been deleted.
    pub now: Option<Arc<Object>>,
    /// The object before; `None` when it is new.
    pub before: Option<Arc<Object>>,
    lines: [OnceLock<Bytes>; 3],
}

impl Event {
    /// A change at `revision`.
    #[must_use]
    pub fn new(revision: Revision, now: Option<Arc<Object>>, before: Option<Arc<Object>>) -> Self {
        Self {
            revision,
            now,
            before,
            lines: Default::default(),
        }
    }

    /// The same change, not encoded yet.
    #[must_use]
    pub fn unread(&self) -> Self {
        Self::new(self.revision, self.now.clone(), self.before.clone())
    }

    /// Whichever of the two objects there is.
    #[must_use]
    pub fn any(&self) -> Option<&Arc<Object>> {
        self.now.as_ref().or(self.before.as_ref())
    }

    /// The object that is shown for a change of this kind: what was there before for a deletion (or
    /// for leaving a selector), under the revision of this event.
    #[must_use]
    pub fn shown(&self, change: ChangeKind) -> Option<Object> {
        let object = match change {
            ChangeKind::Added | ChangeKind::Modified => self.now.as_ref(),
            ChangeKind::Deleted => self.before.as_ref(),
        }?;
        Some(object.at(self.revision))
    }

    /// The line of a JSON watch. Encoded by the first reader, shared by the others.
    pub fn line(&self, change: ChangeKind) -> Bytes {
        self.lines[change as usize]
            .get_or_init(|| {
                self.shown(change)
                    .map_or_else(Bytes::new, |object| line(change, &object))
            })
            .clone()
    }

    /// About how much memory the event holds beyond what the cache holds anyway.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.before.as_ref().map_or(0, |object| object.len()) + 128
    }
}

/// `{"type":"ADDED","object":{...}}` and a line end.
pub(super) fn line(change: ChangeKind, object: &Object) -> Bytes {
    let mut out = Vec::with_capacity(object.len() + 40);
    write_line(change, object, &mut out);
    out.into()
}

/// As [`line`], into a buffer.
pub fn write_line(change: ChangeKind, object: &Object, out: &mut Vec<u8>) {
    write_wrapped(change, out, |out| object.write(out));
}

/// The line of a change around whatever `write` writes.
pub fn write_wrapped(change: ChangeKind, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(change.as_str().as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    write(out);
    out.extend_from_slice(b"}\n");
}
