//! The frames of a whole state: what a checkpoint and a backup consist of.

use std::{io, ops::Bound};

use imbl::{OrdMap, OrdSet};

use super::{
    file_header::FileHeader,
    frame::{Frame, Record},
};
use crate::{Entry, Key, Revision};

/// Size at which a frame of a state is written, in bytes. Bounds the memory of a checkpoint.
const FRAME_BYTES: usize = if cfg!(test) { 600 } else { 256 << 10 };

/// The durable entries of a state. A clone costs constant time and shares the values.
#[derive(Debug, Clone)]
pub(super) struct Durable {
    pub(super) entries: OrdMap<Key, Entry>,
    /// Keys that exist in memory only; they are left out.
    pub(super) volatile: OrdSet<Key>,
    /// Revisions up to this one may have been assigned.
    pub(super) reserved: Revision,
}

/// Encodes a state as the frames of a file, one after the other.
#[derive(Debug)]
pub(super) struct StateFrames {
    header: FileHeader,
    state: Durable,
    frame: Frame,
    /// Number of frames so far.
    frames: u64,
    /// Number of entries so far.
    entries: u64,
    /// The last key that was looked at.
    after: Option<Key>,
    has_ended: bool,
}

impl StateFrames {
    /// The frames of the file with this header. `first` has the records that come before the
    /// state.
    pub(super) fn new(header: FileHeader, state: Durable, mut first: Frame) -> Self {
        first.push(Record::Reserve(state.reserved));
        Self {
            header,
            state,
            frame: first,
            frames: 0,
            entries: 0,
            after: None,
            has_ended: false,
        }
    }

    /// The next frame; `None` after the last one.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if self.has_ended {
            return Ok(None);
        }
        if self.frames > 0 {
            self.frame.clear();
        }
        self.has_ended = !self.fill();
        if self.has_ended {
            self.frame.push(Record::End {
                entries: self.entries,
                next: self.header.first,
            });
        }
        let sealed = self.frame.seal(self.header.file, self.frames);
        self.frames += 1;
        sealed.ok_or(io::ErrorKind::FileTooLarge.into()).map(Some)
    }

    /// Adds entries to the frame. Returns whether there may be more.
    fn fill(&mut self) -> bool {
        let from = match &self.after {
            Some(after) => Bound::Excluded(&**after),
            None => Bound::Unbounded,
        };
        let mut last = None;
        let left = self.state.entries.range::<_, str>((from, Bound::Unbounded));
        for (key, entry) in left {
            if !self.state.volatile.contains(key) {
                self.frame.push(put_record(key, entry));
                self.entries += 1;
            }
            if self.frame.len() >= FRAME_BYTES {
                last = Some(Key::clone(key));
                break;
            }
        }
        self.after = last;
        self.after.is_some()
    }
}

/// The log record that stores an entry.
pub(super) fn put_record<'a>(key: &'a Key, entry: &'a Entry) -> Record<'a> {
    let (created, modified) = (entry.create_revision, entry.mod_revision);
    Record::Put {
        key,
        created,
        modified,
        value: &entry.value,
    }
}
