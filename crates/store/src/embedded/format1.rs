//! Frames of format 1, which earlier versions wrote and this one only reads.
//!
//! Frame: length of the payload (u32), CRC-32 of the rest (u32), sequence number (u64), payload.
//! A length of zero marks the end of the data.

use super::frame::MAX_PAYLOAD;

/// Size of the header before the payload, in bytes.
pub(super) const HEADER: usize = 16;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) length: usize,
    sum: u32,
    pub(super) sequence: u64,
}

impl Header {
    /// Reads a header; `None` if its length cannot be one.
    pub(super) fn parse(bytes: &[u8; HEADER]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, sequence @ ..] = *bytes;
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
        (0 < length && length <= MAX_PAYLOAD).then_some(Self {
            length,
            sum: u32::from_le_bytes([e, f, g, h]),
            sequence: u64::from_le_bytes(sequence),
        })
    }

    /// Whether this is the payload.
    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.sequence.to_le_bytes());
        hasher.update(payload);
        payload.len() == self.length && hasher.finalize() == self.sum
    }
}

/// Turns a frame of the form of today into one of format 1, for tests.
#[cfg(test)]
pub(super) fn seal(payload: &[u8], sequence: u64) -> Vec<u8> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&sequence.to_le_bytes());
    hasher.update(payload);
    let length = u32::try_from(payload.len()).unwrap();
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend(hasher.finalize().to_le_bytes());
    bytes.extend(sequence.to_le_bytes());
    bytes.extend(payload);
    bytes
}
