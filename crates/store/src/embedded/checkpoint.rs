//! Checkpoints: a file with the durable state, which replaces all log segments before it.

use std::io;

use super::{
    file_header::{FILE_HEADER, FileHeader, Kind},
    files::{Files, TEMPORARY_NAME, checkpoint_name},
    frame::Frame,
    state_frames::{Durable, StateFrames},
};
use crate::disk::{Directory, Disk, Step, write_all_at};

/// The contents of a checkpoint.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// The checkpoint replaces all segments before this one.
    pub(super) segment: u64,
    /// Sequence number of the first frame of that segment.
    pub(super) next: u64,
    pub(super) state: Durable,
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
        let file = disk.create(TEMPORARY_NAME)?;
        write_all_at(&*file, &header.encode(), 0, Step::WriteCheckpoint)?;
        let mut size = FILE_HEADER as u64;
        let mut frames = StateFrames::new(header, self.state.clone(), Frame::new());
        while let Some(frame) = frames.next()? {
            write_all_at(&*file, frame, size, Step::WriteCheckpoint)?;
            size += frame.len() as u64;
        }
        file.sync_all(Step::SyncCheckpoint)?;
        Ok(size)
    }
}
