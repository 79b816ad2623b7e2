//! Checkpoints: a file with the durable state, which replaces all log segments before it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use imbl::{OrdMap, OrdSet};
use pandaemon_runtime::files::open_private;

use super::{
    TEMPORARY_NAME,
    frame::{Frame, Record},
    log::{checkpoint_name, sync_directory},
    recover::remove_before,
};
use crate::{Entry, Key, Revision};

/// Size at which a frame of a checkpoint is written, in bytes. Bounds the memory of a checkpoint.
const FRAME_BYTES: usize = 256 << 10;

/// The contents of a checkpoint.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// The checkpoint replaces all segments before this one.
    pub(super) segment: u64,
    /// Sequence number of the first frame of that segment.
    pub(super) next: u64,
    pub(super) entries: OrdMap<Key, Entry>,
    /// Keys that exist in memory only; they are left out.
    pub(super) volatile: OrdSet<Key>,
    pub(super) reserved: Revision,
}

/// What became of a checkpoint that was written.
#[derive(Debug)]
pub(super) struct Written {
    /// Its size, in bytes.
    pub(super) size: u64,
    /// Whether the files that it replaces are gone.
    pub(super) removed: io::Result<()>,
}

impl Checkpoint {
    /// Writes the checkpoint, then removes the files that it replaces.
    pub(super) fn write(&self, directory: &Path) -> io::Result<Written> {
        let temporary = directory.join(TEMPORARY_NAME);
        let written = self.write_file(&temporary).and_then(|size| {
            fs::rename(&temporary, directory.join(checkpoint_name(self.segment)))?;
            sync_directory(directory)?;
            Ok(size)
        });
        if written.is_err() {
            // Frees the space. A file that cannot be removed is overwritten by the next attempt.
            drop(fs::remove_file(&temporary));
        }
        Ok(Written {
            size: written?,
            removed: remove_before(directory, self.segment),
        })
    }

    fn write_file(&self, path: &Path) -> io::Result<u64> {
        let mut out = FrameWriter {
            file: open_private(
                File::options().write(true).create(true).truncate(true),
                path,
            )?,
            frame: Frame::new(),
            size: 0,
            frames: 0,
        };
        out.frame.push(Record::Reserve(self.reserved));
        let mut entries = 0;
        for (key, entry) in self
            .entries
            .iter()
            .filter(|(key, _)| !self.volatile.contains(*key))
        {
            out.frame.push(put_record(key, entry));
            entries += 1;
            if out.frame.len() >= FRAME_BYTES {
                out.flush()?;
            }
        }
        out.frame.push(Record::End {
            entries,
            next: self.next,
        });
        out.flush()?;
        out.file.sync_all()?;
        Ok(out.size)
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

/// Writes frames to a checkpoint file.
struct FrameWriter {
    file: File,
    frame: Frame,
    size: u64,
    frames: u64,
}

impl FrameWriter {
    fn flush(&mut self) -> io::Result<()> {
        let bytes = self
            .frame
            .seal(self.frames)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        self.frames += 1;
        self.frame.clear();
        Ok(())
    }
}
