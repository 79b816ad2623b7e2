//! The form of a batch on disk, as pure functions: a frame is a header and records.
//!
//! ```text
//! number of the file  sequence  length of payload  CRC-32 of payload  CRC-32           payload
//! 8 bytes             8         4                  4                  4, of 24 before
//! ```
//!
//! All numbers are little-endian. A frame is applied as a whole or not at all. The number of the
//! file is random, so no value of a client contains it: what looks like a header of this file is
//! one.

use crate::Revision;

/// Size of the header before the payload, in bytes.
pub(super) const HEADER: usize = 28;
/// How much of the header its checksum is about, in bytes.
const SUMMED: usize = HEADER - 4;
/// Maximum size of a payload, in bytes. A larger length in a header is damage; nothing is allocated
/// for it.
pub(super) const MAX_PAYLOAD: usize = 1 << 30;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const RESERVE: u8 = 3;
const END: u8 = 4;
const FILE: u8 = 5;

/// One record of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// The key has this value from now on.
    Put {
        key: &'a str,
        created: Revision,
        modified: Revision,
        value: &'a [u8],
    },
    /// The key is deleted.
    Delete { key: &'a str },
    /// Revisions up to this one may have been assigned.
    Reserve(Revision),
    /// End of a checkpoint: its number of entries, and the sequence number of the next log frame.
    End { entries: u64, next: u64 },
    /// A file beside the store, in a backup only.
    File { name: &'a str, content: &'a [u8] },
}

/// A frame under construction. The buffer is reused for the next frame.
#[derive(Debug)]
pub(super) struct Frame {
    bytes: Vec<u8>,
}

impl Frame {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; HEADER],
        }
    }

    /// Removes the records. Keeps at most 1 MiB of buffer, so that one large batch does not hold
    /// memory.
    pub(super) fn clear(&mut self) {
        self.bytes.truncate(HEADER);
        self.bytes.shrink_to(1 << 20);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn push(&mut self, record: Record<'_>) {
        match record {
            Record::Put {
                key,
                created,
                modified,
                value,
            } => {
                self.bytes.push(PUT);
                self.number(created);
                self.number(modified);
                self.text(key.as_bytes());
                self.text(value);
            }
            Record::Delete { key } => {
                self.bytes.push(DELETE);
                self.text(key.as_bytes());
            }
            Record::Reserve(revision) => {
                self.bytes.push(RESERVE);
                self.number(revision);
            }
            Record::End { entries, next } => {
                self.bytes.push(END);
                self.number(entries);
                self.number(next);
            }
            Record::File { name, content } => {
                self.bytes.push(FILE);
                self.text(name.as_bytes());
                self.text(content);
            }
        }
    }

    /// Fills in the header and returns the bytes to write; `None` if the payload is too long.
    pub(super) fn seal(&mut self, file: u64, sequence: u64) -> Option<&[u8]> {
        let (header, payload) = self.bytes.split_first_chunk_mut::<HEADER>()?;
        if payload.len() > MAX_PAYLOAD {
            return None;
        }
        let length = u32::try_from(payload.len()).ok()?;
        header[..8].copy_from_slice(&file.to_le_bytes());
        header[8..16].copy_from_slice(&sequence.to_le_bytes());
        header[16..20].copy_from_slice(&length.to_le_bytes());
        header[20..SUMMED].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
        let sum = crc32fast::hash(&header[..SUMMED]);
        header[SUMMED..].copy_from_slice(&sum.to_le_bytes());
        Some(&self.bytes)
    }

    fn number(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        // A longer text makes the frame longer than `MAX_PAYLOAD`, which `seal` refuses.
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(text);
    }
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The number of the file.
    pub(super) file: u64,
    pub(super) sequence: u64,
    /// Length of the payload, in bytes.
    pub(super) length: usize,
    /// CRC-32 of the payload.
    sum: u32,
}

impl Header {
    /// Reads a header; `None` if it is none.
    pub(super) fn parse(bytes: &[u8; HEADER]) -> Option<Self> {
        let mut rest = bytes.as_slice();
        let (file, sequence) = (number(&mut rest)?, number(&mut rest)?);
        let (length, sum) = (short(&mut rest)?, short(&mut rest)?);
        if short(&mut rest)? != crc32fast::hash(&bytes[..SUMMED]) {
            return None;
        }
        let length = usize::try_from(length).ok()?;
        (0 < length && length <= MAX_PAYLOAD).then_some(Self {
            file,
            sequence,
            length,
            sum,
        })
    }

    /// Whether this is the payload.
    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.length && crc32fast::hash(payload) == self.sum
    }
}

/// The records of a payload. Ends with `Err(())` at the first bytes that are no record.
pub(super) fn records(payload: &[u8]) -> impl Iterator<Item = Result<Record<'_>, ()>> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = record(&mut rest).ok_or(());
        if record.is_err() {
            rest = &[];
        }
        Some(record)
    })
}

fn record<'a>(rest: &mut &'a [u8]) -> Option<Record<'a>> {
    let (tag, tail) = rest.split_first()?;
    *rest = tail;
    match *tag {
        PUT => {
            let (created, modified) = (number(rest)?, number(rest)?);
            let key = std::str::from_utf8(text(rest)?).ok()?;
            Some(Record::Put {
                key,
                created,
                modified,
                value: text(rest)?,
            })
        }
        DELETE => Some(Record::Delete {
            key: std::str::from_utf8(text(rest)?).ok()?,
        }),
        RESERVE => Some(Record::Reserve(number(rest)?)),
        END => Some(Record::End {
            entries: number(rest)?,
            next: number(rest)?,
        }),
        FILE => Some(Record::File {
            name: std::str::from_utf8(text(rest)?).ok()?,
            content: text(rest)?,
        }),
        _ => None,
    }
}

fn short(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_le_bytes(*bytes))
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, tail) = rest.split_first_chunk::<8>()?;
    *rest = tail;
    Some(u64::from_le_bytes(*bytes))
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(short(rest)?).ok()?;
    let (text, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records_survive_encoding_and_decoding() {
        let written = [
            Record::Put {
                key: "/pods/a/b",
                created: 1,
                modified: 7,
                value: b"{}",
            },
            Record::Delete { key: "" },
            Record::Reserve(u64::MAX),
            Record::End {
                entries: 3,
                next: 4,
            },
            Record::File {
                name: "pki/ca.crt",
                content: b"PEM",
            },
        ];
        let mut frame = Frame::new();
        written.iter().for_each(|record| frame.push(*record));
        let bytes = frame.seal(7, 42).unwrap();
        let header = Header::parse(bytes.first_chunk().unwrap()).unwrap();
        assert_eq!((header.file, header.sequence), (7, 42));
        assert!(header.fits(&bytes[HEADER..]));
        let read: Result<Vec<_>, ()> = records(&bytes[HEADER..]).collect();
        assert_eq!(read.unwrap(), written);
    }

    #[test]
    fn zeroed_and_impossible_headers_are_rejected() {
        assert_eq!(Header::parse(&[0; HEADER]), None);
        assert_eq!(Header::parse(&[0xff; HEADER]), None);
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_detected(at in 0_usize..60, bit in 0_u8..8) {
            let mut frame = Frame::new();
            frame.push(Record::Put { key: "/nodes//n", created: 1, modified: 2, value: b"value" });
            let mut bytes = frame.seal(7, 1).unwrap().to_vec();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let whole = Header::parse(bytes.first_chunk().unwrap())
                .is_some_and(|header| header.fits(&bytes[HEADER..]));
            prop_assert!(!whole);
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>) {
            let _count = records(&bytes).count();
        }
    }
}
