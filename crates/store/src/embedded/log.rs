//! The write-ahead log: appends frames to segment files. Used by one thread.
//!
//! After a failed append the file is truncated to the last good frame before anything else is
//! written, and the log continues in a new segment.

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
use pandaemon_runtime::files::open_private;

use super::frame::Frame;

/// Space is allocated in steps of so many bytes, so that an append rarely changes the size of the
/// file.
const ALLOCATION_STEP: u64 = 4 << 20;

/// File name of segment `number`. The names sort by number.
pub(super) fn segment_name(number: u64) -> String {
    format!("log-{number:012}")
}

/// File name of the checkpoint that replaces all segments before `number`.
pub(super) fn checkpoint_name(number: u64) -> String {
    format!("checkpoint-{number:012}")
}

/// Syncs a directory, so that created, renamed and removed names are durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The open end of the log.
#[derive(Debug)]
pub(super) struct Log {
    directory: PathBuf,
    file: File,
    segment: u64,
    /// Offset of the next frame. Everything before it is durable.
    end: u64,
    allocated: u64,
    /// Sequence number of the next frame.
    next: u64,
    /// An append failed, so the bytes after `end` are unknown.
    broken: bool,
    /// Bytes appended since the last checkpoint began.
    grown: u64,
}

impl Log {
    /// Creates segment `segment`; its first frame gets sequence number `next`.
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

    /// Number of the current segment.
    pub(super) fn segment(&self) -> u64 {
        self.segment
    }

    /// Sequence number of the next frame.
    pub(super) fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Bytes appended since [`Log::rotate`] or since the start, those of [`Log::count_recovered`]
    /// included.
    pub(super) fn grown(&self) -> u64 {
        self.grown
    }

    /// Adds the bytes of log that recovery had to read, so that they count towards the next
    /// checkpoint.
    pub(super) fn count_recovered(&mut self, bytes: u64) {
        self.grown += bytes;
    }

    /// Appends a frame and syncs it. Returns how long fdatasync took.
    pub(super) fn append(&mut self, frame: &mut Frame) -> io::Result<Duration> {
        if self.broken {
            self.repair()?;
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

    /// Continues in a new segment. A checkpoint can then replace everything before it.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        if self.broken {
            self.repair()?;
        } else {
            self.next_segment()?;
        }
        self.grown = 0;
        Ok(())
    }

    /// Frees the space that was allocated ahead.
    pub(super) fn trim(&self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        self.file.sync_all()
    }

    /// Truncates the file to the last good frame and continues in a new segment.
    fn repair(&mut self) -> io::Result<()> {
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

    /// Allocates space up to `end`. A full disk fails here, before any byte of the frame is
    /// written.
    fn allocate(&mut self, end: u64) -> io::Result<()> {
        if end <= self.allocated {
            return Ok(());
        }
        let ahead = end.next_multiple_of(ALLOCATION_STEP);
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
            // The file system cannot allocate ahead. A full disk then fails the write instead.
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Creates a segment file. An empty file that an earlier failure left behind is overwritten.
fn create_segment(directory: &Path, segment: u64) -> io::Result<File> {
    let path = directory.join(segment_name(segment));
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(true);
    let file = open_private(options, &path)?;
    file.sync_all()?;
    sync_directory(directory)?;
    Ok(file)
}
