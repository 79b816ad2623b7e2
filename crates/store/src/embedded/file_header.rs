//! What every file of the store begins with.
//!
//! ```text
//! pandalog  version  kind  number of the file  its place  first sequence  CRC-32
//! 8 bytes   4        4     8, random           8          8               4, of the 40 before
//! ```
//!
//! All numbers are little-endian. Format 1 has no such header: its files begin with the length of a
//! frame, which is at most 2^30, and the first four letters are more. Later versions keep these 44
//! bytes as they are, so that an earlier program can name the version that it does not know.

/// Size of the header, in bytes.
pub(super) const FILE_HEADER: usize = 44;
/// The version that this program writes.
pub(super) const VERSION: u32 = 2;

const MAGIC: [u8; 8] = *b"pandalog";
const SUMMED: usize = FILE_HEADER - 4;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Frames, each of which is a batch.
    Segment,
    /// The state before a segment.
    Checkpoint,
    /// The state at one revision, and files that belong to it. It is in no directory of a store.
    Backup,
}

impl Kind {
    fn code(self) -> u32 {
        match self {
            Self::Segment => 1,
            Self::Checkpoint => 2,
            Self::Backup => 3,
        }
    }
}

/// The header of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) kind: Kind,
    /// The random number of the file, which every frame of it repeats.
    pub(super) file: u64,
    /// The number in the name of the file. A backup has none: 0.
    pub(super) place: u64,
    /// A segment: the sequence number of its first frame, so that its predecessor is known to end
    /// before it. A checkpoint: that of the first frame after it. A backup: 0.
    pub(super) first: u64,
}

/// What a file begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parsed {
    Header(FileHeader),
    /// The header of another version.
    Version(u32),
    /// Bytes that are no header of any version.
    None,
}

impl FileHeader {
    pub(super) fn encode(&self) -> [u8; FILE_HEADER] {
        let mut bytes = [0; FILE_HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.kind.code().to_le_bytes());
        for (at, number) in [(16, self.file), (24, self.place), (32, self.first)] {
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        let sum = crc32fast::hash(&bytes[..SUMMED]);
        bytes[SUMMED..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads the first bytes of a file of this kind.
    pub(super) fn parse(bytes: &[u8], kind: Kind) -> Parsed {
        let Some((header, _)) = bytes.split_first_chunk::<FILE_HEADER>() else {
            return Parsed::None;
        };
        let short = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| header[at + byte]));
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| header[at + byte]));
        if header[..8] != MAGIC || short(SUMMED) != crc32fast::hash(&header[..SUMMED]) {
            return Parsed::None;
        }
        match short(8) {
            VERSION if short(12) == kind.code() => Parsed::Header(Self {
                kind,
                file: number(16),
                place: number(24),
                first: number(32),
            }),
            VERSION => Parsed::None,
            other => Parsed::Version(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::frame::MAX_PAYLOAD;

    const HEADER: FileHeader = FileHeader {
        kind: Kind::Segment,
        file: 0x0123_4567_89ab_cdef,
        place: 3,
        first: 41,
    };

    #[test]
    fn headers_are_read_as_they_are_written_and_no_flipped_bit_is_overlooked() {
        let bytes = HEADER.encode();
        let parse = |bytes: &[u8]| FileHeader::parse(bytes, Kind::Segment);
        assert_eq!(parse(&bytes), Parsed::Header(HEADER));
        assert_eq!(FileHeader::parse(&bytes, Kind::Checkpoint), Parsed::None);
        assert_eq!(parse(&bytes[..FILE_HEADER - 1]), Parsed::None);
        for bit in 0..8 * FILE_HEADER {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&flipped), Parsed::None, "bit {bit}");
        }
    }

    #[test]
    fn another_version_is_named_and_no_file_of_format_1_begins_like_this() {
        let mut bytes = HEADER.encode();
        bytes[8] = 3;
        let sum = crc32fast::hash(&bytes[..SUMMED]);
        bytes[SUMMED..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(FileHeader::parse(&bytes, Kind::Segment), Parsed::Version(3));
        let length = u32::from_le_bytes(*bytes.first_chunk().unwrap());
        assert!(usize::try_from(length).unwrap() > MAX_PAYLOAD);
    }
}
