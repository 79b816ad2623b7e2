//! Checkpoints: a file with the durable state, which replaces all log segments before it.

use std::io;

use imbl::{OrdMap, OrdSet};

use super::{
    file_header::{FILE_HEADER, FileHeader, Kind},
    files::{Files, TEMPORARY_NAME, checkpoint_name},
    frame::{Frame, Record},
};
use crate::{
    Entry, Key, Revision,
    disk::{Directory, Disk, DiskFile, Step, write_all_at},
};

/// Size at which a frame of a checkpoint is written, in bytes. Bounds the memory of a checkpoint.
const FRAME_BYTES: usize = if cfg!(test) { 600 } else { 256 << 10 };

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
    pub(super) fn write(&self, disk: &dyn Disk) -> io::Result<Written> {
        let written = self.write_file(disk).and_then(|size| {
            let name = checkpoint_name(self.segment);
            disk.rename(TEMPORARY_NAME, &name, Step::RenameCheckpoint)?;
            disk.sync_directory(Directory::Own, Step::SyncDirectoryAfterRename)?;
            Ok(size)
        });
        if written.is_err() {
            // Frees the space. A file that cannot be removed is overwritten by the next attempt.
            drop(disk.remove(TEMPORARY_NAME, Step::FreeSpace));
        }
        let size = written?;
        let files = Files::list(disk);
        let removed = files.and_then(|files| files.remove_replaced(disk, self.segment));
        Ok(Written { size, removed })
    }

    fn write_file(&self, disk: &dyn Disk) -> io::Result<u64> {
        let header = FileHeader {
            kind: Kind::Checkpoint,
            file: disk.random()?,
            place: self.segment,
            first: self.next,
        };
        let mut out = FrameWriter {
            file: disk.create(TEMPORARY_NAME)?,
            id: header.file,
            frame: Frame::new(),
            size: FILE_HEADER as u64,
            frames: 0,
        };
        write_all_at(&*out.file, &header.encode(), 0, Step::WriteCheckpoint)?;
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
        out.file.sync_all(Step::SyncCheckpoint)?;
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
    file: Box<dyn DiskFile>,
    /// The number of the file.
    id: u64,
    frame: Frame,
    size: u64,
    frames: u64,
}

impl FrameWriter {
    fn flush(&mut self) -> io::Result<()> {
        let bytes = self
            .frame
            .seal(self.id, self.frames)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        write_all_at(&*self.file, bytes, self.size, Step::WriteCheckpoint)?;
        self.size += bytes.len() as u64;
        self.frames += 1;
        self.frame.clear();
        Ok(())
    }
}
