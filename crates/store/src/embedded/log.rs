//! The write-ahead log: appends frames to segment files. Used by one thread.
//!
//! After a failed append the file is cut off after the last good frame before anything else is
//! written, and the log continues in a new segment.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    file_header::{FILE_HEADER, FileHeader, Kind},
    files::segment_name,
    frame::Frame,
};
use crate::disk::{Directory, Disk, DiskFile, Step, write_all_at};

/// Space is allocated in steps of so many bytes, so that an append rarely changes the size of the
/// file.
const ALLOCATION_STEP: u64 = if cfg!(test) { 4 << 10 } else { 4 << 20 };

/// Why a frame was not appended.
#[derive(Debug)]
pub(super) struct AppendError {
    pub(super) error: io::Error,
    /// The frame may be on disk, and a start after a crash may read it: it could not be cut off.
    pub(super) is_undecided: bool,
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        Self {
            error,
            is_undecided: false,
        }
    }
}

/// An open segment file.
#[derive(Debug)]
struct Segment {
    file: Box<dyn DiskFile>,
    /// Its random number.
    id: u64,
    /// Offset of the next frame. Everything before it is durable.
    end: u64,
    allocated: u64,
}

/// The open end of the log.
#[derive(Debug)]
pub(super) struct Log {
    disk: Arc<dyn Disk>,
    /// The current segment; `None` after a failure: the next append makes one.
    open: Option<Segment>,
    /// A segment whose last append failed: the bytes after its end are unknown.
    uncut: Option<Segment>,
    /// Number of the newest segment that was in use.
    number: u64,
    /// Sequence number of the next frame.
    next: u64,
    /// Bytes appended since the last checkpoint began.
    grown: u64,
}

impl Log {
    /// Continues the log after segment `number`; the first frame gets sequence number `next`.
    ///
    /// # Errors
    /// If no segment can be made. A full disk is no error: the first append tries again.
    pub(super) fn open(disk: Arc<dyn Disk>, number: u64, next: u64) -> io::Result<Self> {
        let mut log = Self {
            disk,
            open: None,
            uncut: None,
            number,
            next,
            grown: 0,
        };
        match log.continue_in_new_segment() {
            Err(error) if is_full(&error) => {
                tracing::warn!(%error, "cannot create a log segment; the store opens without writes");
            }
            made => made?,
        }
        Ok(log)
    }

    /// Number of the current segment.
    pub(super) fn segment(&self) -> u64 {
        self.number
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
    pub(super) fn append(&mut self, frame: &mut Frame) -> Result<Duration, AppendError> {
        self.cut()?;
        if self.open.is_none() {
            self.continue_in_new_segment()?;
        }
        let Some(segment) = &mut self.open else {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        };
        let bytes = frame.seal(segment.id, self.next);
        let bytes = bytes.ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let length = bytes.len() as u64;
        segment.allocate(length)?;
        match segment.append(bytes) {
            Ok(took) => {
                segment.end += length;
                self.next += 1;
                self.grown += length;
                Ok(took)
            }
            Err(error) => {
                // A sync that is repeated succeeds without having written anything: the system has
                // dropped the bytes.
                self.uncut = self.open.take();
                let is_undecided = self.cut().is_err();
                Err(AppendError {
                    error,
                    is_undecided,
                })
            }
        }
    }

    /// Continues in a new segment. A checkpoint can then replace everything before it.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        self.cut()?;
        self.continue_in_new_segment()?;
        self.grown = 0;
        Ok(())
    }

    /// Gives back the space that was allocated ahead.
    pub(super) fn close(&mut self) {
        if let Some(segment) = self.open.take() {
            segment.free_space();
        }
    }

    /// Cuts off what a failed append may have left, for good.
    fn cut(&mut self) -> io::Result<()> {
        if let Some(segment) = &self.uncut {
            let file = &segment.file;
            file.set_size(segment.end, Step::CutAfterFailure)?;
            file.sync_all(Step::SyncCut)?;
            self.uncut = None;
        }
        Ok(())
    }

    /// Makes a segment and continues in it. On an error the log stays where it is: a start does not
    /// mind a segment without frames.
    fn continue_in_new_segment(&mut self) -> io::Result<()> {
        let segment = self.create(self.number + 1)?;
        self.number += 1;
        if let Some(before) = self.open.replace(segment) {
            before.free_space();
        }
        Ok(())
    }

    /// Creates a segment file. One that an earlier failure left behind is overwritten.
    fn create(&self, number: u64) -> io::Result<Segment> {
        let header = FileHeader {
            kind: Kind::Segment,
            file: self.disk.random()?,
            place: number,
            first: self.next,
        };
        let file = self.disk.create(&segment_name(number))?;
        write_all_at(&*file, &header.encode(), 0, Step::WriteSegmentHeader)?;
        file.sync_all(Step::SyncSegmentHeader)?;
        let step = Step::SyncDirectoryAfterSegment;
        self.disk.sync_directory(Directory::Own, step)?;
        Ok(Segment {
            file,
            id: header.file,
            end: FILE_HEADER as u64,
            allocated: FILE_HEADER as u64,
        })
    }
}

/// Whether the disk has no space.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

impl Segment {
    fn append(&self, bytes: &[u8]) -> io::Result<Duration> {
        write_all_at(&*self.file, bytes, self.end, Step::WriteFrame)?;
        let start = Instant::now();
        self.file.sync_data(Step::SyncFrame)?;
        Ok(start.elapsed())
    }

    /// Allocates space for so many bytes. A full disk fails here, before any byte of the frame is
    /// written.
    fn allocate(&mut self, length: u64) -> io::Result<()> {
        let end = self.end + length;
        if end <= self.allocated {
            return Ok(());
        }
        let ahead = end.next_multiple_of(ALLOCATION_STEP);
        self.allocated = match self.file.allocate(self.end, ahead) {
            Ok(()) => ahead,
            Err(_) => self.file.allocate(self.end, end).map(|()| end)?,
        };
        Ok(())
    }

    /// Gives back the space that was allocated ahead.
    fn free_space(&self) {
        // Zeros after the last frame do no harm.
        drop(self.file.set_size(self.end, Step::FreeSpace));
    }
}
