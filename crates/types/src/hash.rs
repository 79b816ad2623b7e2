//! FNV-1a (`hash/fnv` in Go), with which upstream names revisions and pods, and hashes as text.

use std::fmt::Write as _;

/// Bytes in hexadecimal, in lower case.
#[must_use]
pub fn hex<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> String {
    let mut text = String::new();
    for byte in bytes {
        // Writing to a string cannot fail.
        let _written = write!(text, "{byte:02x}");
    }
    text
}

/// The 32-bit FNV-1a hash of the concatenated parts (Go's `fnv.New32a`).
pub fn fnv1a_32<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let bytes = parts.into_iter().flatten();
    bytes.fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// The 64-bit FNV-1a hash of the concatenated parts (Go's `fnv.New64a`).
pub fn fnv1a_64<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    fnv1a_64_seeded(0, parts)
}

/// The 64-bit FNV-1a hash with `seed` mixed into its start value: one hash function for each seed.
pub fn fnv1a_64_seeded<'a>(seed: u64, parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let bytes = parts.into_iter().flatten();
    bytes.fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_two_digits_each() {
        assert_eq!(hex(&[0, 0xab, 7]), "00ab07");
        assert_eq!(hex(&[]), "");
    }

    #[test]
    fn hashes_are_those_of_the_reference_implementation() {
        let parts: [&[u8]; 2] = [b"foo", b"bar"];
        assert_eq!(fnv1a_32([]), 0x811c_9dc5);
        assert_eq!(fnv1a_32(parts), 0xbf9c_f968);
        assert_eq!(fnv1a_64([]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a_64(parts), 0x8594_4171_f739_67e8);
        assert_ne!(fnv1a_64_seeded(1, parts), fnv1a_64(parts));
    }
}
