//! The append side of the disk: log segments, written by one thread.
//!
//! A failed append leaves nothing behind: the file is cut back to the last good frame before anything
//! else is written, and the log goes on in a fresh segment.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
};

use super::frame::Frame;

/// Space is allocated in steps of this, so that an append rarely changes the size of the file.
const STEP: u64 = 4 << 20;

/// Name of a segment; the numbers sort as text.
pub(super) fn segment_name(number: u64) -> String {
    format!("log-{number:012}")
}

/// Name of the checkpoint that holds all that was written before segment `number`.
pub(super) fn checkpoint_name(number: u64) -> String {
    format!("checkpoint-{number:012}")
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The open end of the log.
#[derive(Debug)]
pub(super) struct Log {
    directory: PathBuf,
    file: File,
    segment: u64,
    /// Where the next frame goes; all before it is durable.
    end: u64,
    allocated: u64,
    /// Sequence number of the next frame.
    next: u64,
    /// An append has failed since: the bytes after `end` are unknown.
    broken: bool,
    /// Bytes appended since the last checkpoint began.
    grown: u64,
}

impl Log {
    /// Starts segment `segment`.
    pub(super) fn create(directory: &Path, segment: u64, next: u64) -> io::Result<Self> {
        let file = create_segment(directory, segment)?;
        let directory = directory.to_owned();
        Ok(Self {
            directory,
            file,
            segment,
            end: 0,
            allocated: 0,
            next,
            broken: false,
            grown: 0,
        })
    }

    /// Number of the segment that is written now.
    pub(super) fn segment(&self) -> u64 {
        self.segment
    }

    /// Sequence number of the next frame.
    pub(super) fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Bytes appended since [`Log::rotate`], or since the start.
    pub(super) fn grown(&self) -> u64 {
        self.grown
    }

    /// Counts bytes that recovery had to read, as they weigh like appended ones.
    pub(super) fn weigh(&mut self, bytes: u64) {
        self.grown += bytes;
    }

    /// Appends a frame; when this returns, it is on disk. Returns how long the disk took to say so.
    pub(super) fn append(&mut self, frame: &mut Frame) -> io::Result<Duration> {
        if self.broken {
            self.mend()?;
        }
        let bytes = frame.seal(self.next).ok_or(io::ErrorKind::FileTooLarge)?;
        let length = bytes.len() as u64;
        let end = self.end + length;
        self.allocate(end)?;
        let written = self.file.write_all_at(bytes, self.end).and_then(|()| {
            let start = Instant::now();
            self.file.sync_data()?;
            Ok(start.elapsed())
        });
        match &written {
            Ok(_) => {
                self.end = end;
                self.next += 1;
                self.grown += length;
            }
            Err(_) => self.broken = true,
        }
        written
    }

    /// Goes on in a new segment. Everything before it can then be replaced by a checkpoint.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        if self.broken {
            self.mend()?;
        } else {
            self.next_segment()?;
        }
        self.grown = 0;
        Ok(())
    }

    /// Gives back what was allocated ahead.
    pub(super) fn trim(&self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        self.file.sync_all()
    }

    fn mend(&mut self) -> io::Result<()> {
        self.trim()?;
        self.next_segment()?;
        self.broken = false;
        Ok(())
    }

    fn next_segment(&mut self) -> io::Result<()> {
        let file = create_segment(&self.directory, self.segment + 1)?;
        self.trim()?;
        self.segment += 1;
        (self.file, self.end, self.allocated) = (file, 0, 0);
        Ok(())
    }

    /// Full disks show here, before a byte of the frame is written.
    fn allocate(&mut self, end: u64) -> io::Result<()> {
        if end <= self.allocated {
            return Ok(());
        }
        let ahead = end.next_multiple_of(STEP);
        self.allocated = match self.extend(ahead) {
            Ok(()) => ahead,
            Err(_) => self.extend(end).map(|()| end)?,
        };
        Ok(())
    }

    fn extend(&self, end: u64) -> io::Result<()> {
        let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        let (start, end) = (i64::try_from(self.end), i64::try_from(end));
        let (start, end) = (start.map_err(too_large)?, end.map_err(too_large)?);
        match fallocate(&self.file, FallocateFlags::empty(), start, end - start) {
            // A file system that cannot allocate ahead: the write itself will tell.
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A failure after the creation may have left the file: an empty segment, which may be overwritten.
fn create_segment(directory: &Path, segment: u64) -> io::Result<File> {
    let path = directory.join(segment_name(segment));
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    file.sync_all()?;
    sync_directory(directory)?;
    Ok(file)
}
