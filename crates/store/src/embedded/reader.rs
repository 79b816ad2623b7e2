//! Reads the frames of one file, and tells an end that a crash cut off from damage.
//!
//! A frame is written after the one before it is durable. So a bad frame that a later one follows
//! was good once, and its writes were acknowledged: that is damage. A bad frame that nothing
//! follows is the rest of a write that a crash cut off, or the last frame of all, damaged: these
//! two cannot be told apart.

use std::{io, ops::Range};

use memchr::memmem::Finder;

use super::{
    file_header::{FILE_HEADER, FileHeader, Kind, Parsed},
    format1,
    frame::{HEADER, Header},
};
use crate::disk::{Disk, DiskFile, read_exact_at};

/// How many bytes are read at once, at least.
const WINDOW: usize = 256 << 10;

/// Where the number of a file stands, also where two places overlap: bytes of a value before a
/// header may look like the beginning of its number.
fn overlapping(finder: &Finder<'_>, bytes: &[u8]) -> Vec<u64> {
    let mut places = Vec::new();
    let mut from = 0;
    while let Some(at) = finder.find(&bytes[from..]) {
        places.push((from + at) as u64);
        from += at + 1;
    }
    places
}

/// How a file begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing was written into it, or a part of its header.
    Empty,
    /// Frames of format 1.
    One,
    /// A header and frames of format 2.
    Two(FileHeader),
    /// Format 2, but the header is damaged. What the header of the first frame names is the number
    /// of the file.
    Headless(Option<u64>),
    /// A format that this program does not know.
    Version(u32),
}

/// A whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) sequence: u64,
    pub(super) at: u64,
    pub(super) end: u64,
    header: usize,
}

/// What comes next in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Frame(Found),
    /// The end, and nothing after it.
    End,
    /// Bytes that are no whole frame, and no later frame after them.
    Torn,
    /// No whole frame of the expected sequence number, but a later one.
    Damaged {
        /// Where the header of the later one is.
        resumes: u64,
        /// Its sequence number.
        sequence: u64,
    },
}

/// Reads one file from its begin to its end.
#[derive(Debug)]
pub(super) struct Reader {
    file: Box<dyn DiskFile>,
    pub(super) size: u64,
    /// End of the last good frame, as an offset.
    pub(super) at: u64,
    /// The number of the file; `None` for format 1.
    number: Option<u64>,
    /// Bytes of the file, and where they are.
    window: Vec<u8>,
    window_at: u64,
}

impl Reader {
    pub(super) fn open(disk: &dyn Disk, name: &str) -> io::Result<Self> {
        Self::over(disk.open(name)?)
    }

    /// Reads an open file.
    pub(super) fn over(file: Box<dyn DiskFile>) -> io::Result<Self> {
        let size = file.size()?;
        Ok(Self {
            file,
            size,
            at: 0,
            number: None,
            window: Vec::new(),
            window_at: 0,
        })
    }

    /// Bytes of the file; fewer if it ends.
    fn bytes(&mut self, at: u64, length: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.size.saturating_sub(at)).unwrap_or(usize::MAX);
        let length = length.min(left);
        let skip = at.checked_sub(self.window_at);
        let skip = skip.and_then(|skip| usize::try_from(skip).ok());
        let skip = skip.filter(|skip| skip + length <= self.window.len());
        let skip = match skip {
            Some(skip) => skip,
            None => {
                self.window_at = at;
                self.window.resize(length.max(WINDOW).min(left), 0);
                self.window.shrink_to(1 << 20);
                let read = read_exact_at(&*self.file, &mut self.window, at);
                if read.is_err() {
                    self.window.clear();
                }
                read?;
                0
            }
        };
        Ok(self.window.get(skip..skip + length).unwrap_or_default())
    }

    /// Whether there are only zeros from here on: space that was allocated ahead.
    fn is_zero_from(&mut self, mut at: u64) -> io::Result<bool> {
        while at < self.size {
            let bytes = self.bytes(at, WINDOW)?;
            // All are like the first one: a comparison of memory, which is fast in any build.
            let is_zero =
                bytes.first() == Some(&0) && bytes.get(1..) == bytes.get(..bytes.len() - 1);
            if !is_zero {
                return Ok(false);
            }
            at += bytes.len() as u64;
        }
        Ok(true)
    }

    /// Reads how the file begins. `expected` is the sequence number of its first frame, and
    /// `may_be_old` says that it may be of format 1.
    pub(super) fn start(
        &mut self,
        kind: Kind,
        expected: u64,
        may_be_old: bool,
    ) -> io::Result<Start> {
        match FileHeader::parse(self.bytes(0, FILE_HEADER)?, kind) {
            Parsed::Header(header) => {
                (self.at, self.number) = (FILE_HEADER as u64, Some(header.file));
                return Ok(Start::Two(header));
            }
            Parsed::Version(version) => return Ok(Start::Version(version)),
            Parsed::None => {}
        }
        let old = self.bytes(0, format1::HEADER)?.first_chunk();
        let old = old.and_then(format1::Header::parse);
        if may_be_old && old.is_some_and(|old| old.sequence == expected) {
            return Ok(Start::One);
        }
        // The header is durable before the first frame is written.
        if self.is_zero_from(FILE_HEADER as u64)? {
            return Ok(Start::Empty);
        }
        let first = self.bytes(FILE_HEADER as u64, HEADER)?.first_chunk();
        let number = first.and_then(Header::parse).map(|first| first.file);
        (self.at, self.number) = (FILE_HEADER as u64, number);
        Ok(Start::Headless(number))
    }

    /// What comes after the last good frame. Stays there, but for a frame.
    pub(super) fn next(&mut self, expected: u64) -> io::Result<Next> {
        let found = match self.number {
            Some(number) => self.frame(number)?,
            None => self.old_frame()?,
        };
        match found {
            Some(found) if found.sequence == expected => {
                self.at = found.end;
                Ok(Next::Frame(found))
            }
            Some(found) if found.sequence > expected => Ok(Next::Damaged {
                resumes: found.at,
                sequence: found.sequence,
            }),
            _ => self.tail(expected),
        }
    }

    /// Continues at a later frame.
    pub(super) fn resume(&mut self, at: u64) {
        self.at = at;
    }

    /// The payload of a frame.
    pub(super) fn payload(&mut self, frame: &Found) -> io::Result<&[u8]> {
        let length = usize::try_from(frame.end - frame.at).unwrap_or(usize::MAX);
        let bytes = self.bytes(frame.at, length)?;
        Ok(bytes.get(frame.header..).unwrap_or_default())
    }

    /// The frame at the current place, if it is whole.
    fn frame(&mut self, number: u64) -> io::Result<Option<Found>> {
        let at = self.at;
        let header = self.bytes(at, HEADER)?.first_chunk();
        let header = header.and_then(Header::parse);
        let Some(header) = header.filter(|header| header.file == number) else {
            return Ok(None);
        };
        let frame = self.bytes(at, HEADER + header.length)?;
        let payload = frame.get(HEADER..).unwrap_or_default();
        Ok(header.fits(payload).then_some(Found {
            sequence: header.sequence,
            at,
            end: at + (HEADER + header.length) as u64,
            header: HEADER,
        }))
    }

    /// The frame of format 1 at the current place, if it is whole.
    fn old_frame(&mut self) -> io::Result<Option<Found>> {
        let at = self.at;
        let header = self.bytes(at, format1::HEADER)?.first_chunk();
        let Some(header) = header.and_then(format1::Header::parse) else {
            return Ok(None);
        };
        let frame = self.bytes(at, format1::HEADER + header.length)?;
        let payload = frame.get(format1::HEADER..).unwrap_or_default();
        Ok(header.fits(payload).then_some(Found {
            sequence: header.sequence,
            at,
            end: at + (format1::HEADER + header.length) as u64,
            header: format1::HEADER,
        }))
    }

    /// What the bytes after the last good frame are, which do not begin with a good one.
    fn tail(&mut self, expected: u64) -> io::Result<Next> {
        if self.is_zero_from(self.at)? {
            return Ok(Next::End);
        }
        let later = match self.number {
            Some(number) => self.later_frame(number, expected)?,
            None => self.later_old_frame()?,
        };
        Ok(
            later.map_or(Next::Torn, |(resumes, sequence)| Next::Damaged {
                resumes,
                sequence,
            }),
        )
    }

    /// The next header with the number of this file and a higher sequence number: that it was
    /// written shows that all frames before it were durable.
    fn later_frame(&mut self, number: u64, expected: u64) -> io::Result<Option<(u64, u64)>> {
        let number = number.to_le_bytes();
        let finder = Finder::new(&number);
        let mut from = self.at;
        while from < self.size {
            let bytes = self.bytes(from, WINDOW)?;
            let all = bytes.len();
            let places = overlapping(&finder, bytes);
            for place in places {
                let header = self.bytes(from + place, HEADER)?.first_chunk();
                let header = header.and_then(Header::parse);
                if let Some(header) = header.filter(|header| header.sequence > expected) {
                    return Ok(Some((from + place, header.sequence)));
                }
            }
            // The last bytes may be the first part of the number.
            from += all.saturating_sub(number.len() - 1).max(1) as u64;
        }
        Ok(None)
    }

    /// A whole frame of format 1 behind the bad one, if the length of that is to be trusted.
    fn later_old_frame(&mut self) -> io::Result<Option<(u64, u64)>> {
        let at = self.at;
        let header = self.bytes(at, format1::HEADER)?.first_chunk();
        let Some(header) = header.and_then(format1::Header::parse) else {
            return Ok(None);
        };
        self.at = at + (format1::HEADER + header.length) as u64;
        let found = self.old_frame();
        self.at = at;
        Ok(found?.map(|found| (found.at, found.sequence)))
    }

    /// The offsets of all bytes that were not read as frames.
    pub(super) fn rest(&self) -> Range<u64> {
        self.at..self.size
    }
}
