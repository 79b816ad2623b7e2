//! Replaces the log by the state: written beside the log from a snapshot, renamed when it is complete.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use imbl::{OrdMap, OrdSet};

use super::{
    frame::{Frame, Record},
    log::{checkpoint_name, sync_directory},
    recover::remove_before,
};
use crate::{Entry, Key, Revision};

/// Frames of about this size keep the memory of a checkpoint small.
const FRAME: usize = 256 << 10;
const UNFINISHED: &str = "checkpoint.tmp";

/// All that a checkpoint holds.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// It stands for everything before this segment.
    pub(super) segment: u64,
    /// Sequence number of the first frame of that segment.
    pub(super) next: u64,
    pub(super) entries: OrdMap<Key, Entry>,
    /// Keys that are not on disk.
    pub(super) volatile: OrdSet<Key>,
    pub(super) reserved: Revision,
}

impl Checkpoint {
    /// Writes the checkpoint, then removes what it replaces. Returns its size.
    pub(super) fn write(&self, directory: &Path) -> io::Result<u64> {
        let unfinished = directory.join(UNFINISHED);
        let written = self.write_file(&unfinished).and_then(|size| {
            fs::rename(&unfinished, directory.join(checkpoint_name(self.segment)))?;
            sync_directory(directory)?;
            Ok(size)
        });
        if written.is_err() {
            // The space is needed, and a leftover is overwritten by the next attempt anyway.
            drop(fs::remove_file(&unfinished));
        }
        let size = written?;
        remove_before(directory, self.segment)?;
        Ok(size)
    }

    fn write_file(&self, path: &Path) -> io::Result<u64> {
        let mut out = Out {
            file: File::create(path)?,
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
            out.frame.push(put(key, entry));
            entries += 1;
            if out.frame.len() >= FRAME {
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

/// The record of an entry.
pub(super) fn put<'a>(key: &'a Key, entry: &'a Entry) -> Record<'a> {
    let (created, modified) = (entry.create_revision, entry.mod_revision);
    Record::Put {
        key,
        created,
        modified,
        value: &entry.value,
    }
}

struct Out {
    file: File,
    frame: Frame,
    size: u64,
    frames: u64,
}

impl Out {
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
