//! Suffixes of names. Upstream: `k8s.io/apimachinery/pkg/util/rand`.

/// The characters: no vowels, so that they form no words.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// The length of a suffix.
pub(crate) const LENGTH: usize = 5;

/// The suffix that these bytes stand for.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    let letter = |byte: &u8| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]);
    bytes.iter().take(LENGTH).map(letter).collect()
}

/// A random suffix.
pub(crate) fn random() -> String {
    of_bytes(uuid::Uuid::new_v4().as_bytes())
}
