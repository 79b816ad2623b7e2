//! A key, and the form of a value that was encrypted with it.
//!
//! AES-256-GCM, each value with a key of its own: HKDF-SHA-256 of the key and of 24 random bytes
//! that are stored with the value. So no nonce is used twice with a key, however many values are
//! written. Upstream does the same for KMS v2 ("extended nonce").
//!
//! ```text
//! pandaemon:aead:1:  ID OF THE KEY   :  SALT      CIPHERTEXT  TAG
//! 17 bytes           16 hex digits   1  24 bytes  as long     16 bytes
//!                                                 as the value
//! ```
//!
//! The key of the entry is authenticated with the value: a value cannot be moved to another name.

use std::fmt;

use bytes::Bytes;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Prk},
};

use crate::random::random;

/// What every encrypted value begins with. No value of a reader begins like this: JSON does not.
const PREFIX: &[u8] = b"pandaemon:aead:1:";
/// Length of the text of a [`KeyId`], in bytes.
const ID: usize = 16;
/// Length of the random part, in bytes.
const SALT: usize = 24;
/// Length of everything before the ciphertext, in bytes.
const HEADER: usize = PREFIX.len() + ID + 1 + SALT;
/// Length of a key, in bytes.
pub(super) const SECRET: usize = 32;

/// The name of a key, which derives from it: 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId([u8; ID]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a value cannot be encrypted or decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CipherError {
    /// The value or its name was changed.
    #[error("it was damaged or moved to this name, or its key was changed")]
    Damaged,
    /// The system has no random bytes.
    #[error("the system gives no random bytes")]
    NoRandom,
}

/// Whether a stored value is encrypted.
pub(super) fn is_encrypted(stored: &[u8]) -> bool {
    stored.starts_with(PREFIX)
}

/// The key with which a stored value is encrypted; `None` if it is not.
pub(crate) fn key_id(stored: &[u8]) -> Option<KeyId> {
    let rest = stored.strip_prefix(PREFIX)?;
    // A value that was cut off has no key that anybody knows.
    Some(KeyId(rest.first_chunk().copied().unwrap_or([b'?'; ID])))
}

/// The length of what HKDF derives for a [`KeyId`].
#[derive(Debug, Clone, Copy)]
struct IdLength;

impl KeyType for IdLength {
    fn len(&self) -> usize {
        ID / 2
    }
}

/// A key of the key file, prepared for derivation.
pub(super) struct Key {
    id: KeyId,
    secret: [u8; SECRET],
    derive: Prk,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.id).finish()
    }
}

impl Key {
    /// A new key.
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub(super) fn generate() -> Result<Self, CipherError> {
        Self::new(random().map_err(|_| CipherError::NoRandom)?)
    }

    /// The key of these bytes.
    ///
    /// # Errors
    /// None that occurs: HKDF refuses results that are longer than ours.
    pub(super) fn new(secret: [u8; SECRET]) -> Result<Self, CipherError> {
        let derive = Prk::new_less_safe(HKDF_SHA256, &secret);
        let mut digest = [0; ID / 2];
        let derived = derive.expand(&[b"pandaemon key id"], IdLength);
        derived
            .and_then(|derived| derived.fill(&mut digest))
            .map_err(|_| CipherError::NoRandom)?;
        let mut id = [0; ID];
        for (pair, byte) in id.chunks_exact_mut(2).zip(digest) {
            for (digit, four) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
                *digit = b"0123456789abcdef"[usize::from(four)];
            }
        }
        let id = KeyId(id);
        Ok(Self { id, secret, derive })
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    /// The bytes of the key, for the key file.
    pub(super) fn secret(&self) -> &[u8; SECRET] {
        &self.secret
    }

    /// The key of one value.
    fn of_value(&self, salt: &[u8]) -> Result<LessSafeKey, CipherError> {
        let info = [b"pandaemon value".as_slice(), salt];
        let derived = self.derive.expand(&info, &AES_256_GCM);
        let derived = derived.map_err(|_| CipherError::Damaged)?;
        Ok(LessSafeKey::new(UnboundKey::from(derived)))
    }

    /// The encrypted form of the value of an entry.
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub(super) fn seal(&self, entry: &str, value: &[u8]) -> Result<Bytes, CipherError> {
        let salt: [u8; SALT] = random().map_err(|_| CipherError::NoRandom)?;
        let mut out = Vec::with_capacity(HEADER + value.len() + AES_256_GCM.tag_len());
        out.extend_from_slice(PREFIX);
        out.extend_from_slice(&self.id.0);
        out.push(b':');
        out.extend_from_slice(&salt);
        out.extend_from_slice(value);
        let key = self.of_value(&salt)?;
        let plain = &mut out[HEADER..];
        let tag = key.seal_in_place_separate_tag(nonce(), Aad::from(entry.as_bytes()), plain);
        // Fails beyond 64 GiB, which is longer than any value.
        let tag = tag.map_err(|_| CipherError::Damaged)?;
        out.extend_from_slice(tag.as_ref());
        Ok(out.into())
    }

    /// The value of an entry whose encrypted form is this.
    ///
    /// # Errors
    /// If it was changed, or encrypted with another key or for another entry.
    pub(super) fn open(&self, entry: &str, stored: &[u8]) -> Result<Bytes, CipherError> {
        let (header, sealed) = stored
            .split_at_checked(HEADER)
            .ok_or(CipherError::Damaged)?;
        let key = self.of_value(&header[HEADER - SALT..])?;
        let mut sealed = sealed.to_vec();
        let opened = key.open_in_place(nonce(), Aad::from(entry.as_bytes()), &mut sealed);
        let length = opened.map_err(|_| CipherError::Damaged)?.len();
        sealed.truncate(length);
        Ok(sealed.into())
    }
}

/// The nonce of the only value of a derived key.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_with_its_key_under_its_name_only() {
        let key = Key::generate().unwrap();
        let other = Key::generate().unwrap();
        for value in ["", "{}", &"long".repeat(10_000)] {
            let stored = key.seal("/secrets/d/a", value.as_bytes()).unwrap();
            assert_eq!(stored.len(), value.len() + HEADER + 16);
            assert_eq!(key_id(&stored), Some(key.id()));
            assert_eq!(key.open("/secrets/d/a", &stored).unwrap(), value);
            let wrong = [
                other.open("/secrets/d/a", &stored),
                key.open("/secrets/d/b", &stored),
                key.open("/secrets/d/a", &stored[..stored.len() - 1]),
                key.open("/secrets/d/a", &stored[..20]),
            ];
            assert_eq!(wrong, [const { Err(CipherError::Damaged) }; 4]);
            for at in HEADER - SALT..stored.len() {
                if value.len() > 100 && at % 997 != 0 {
                    continue;
                }
                let mut damaged = stored.to_vec();
                damaged[at] ^= 1;
                assert!(key.open("/secrets/d/a", &damaged).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn the_same_value_is_never_encrypted_alike() {
        let key = Key::generate().unwrap();
        let seal = || key.seal("/secrets/d/a", b"value").unwrap();
        let (one, two) = (seal(), seal());
        assert_ne!(one[HEADER - SALT..HEADER], two[HEADER - SALT..HEADER]);
        assert_ne!(one[HEADER..], two[HEADER..]);
    }

    #[test]
    fn ids_derive_from_keys_and_plain_values_have_none() {
        let key = Key::new([7; SECRET]).unwrap();
        assert_eq!(key.id(), Key::new([7; SECRET]).unwrap().id());
        assert_ne!(key.id(), Key::new([8; SECRET]).unwrap().id());
        assert_eq!(format!("{key:?}"), format!("Key({})", key.id()));
        assert_eq!(key_id(b"{\"kind\":\"Secret\"}"), None);
        assert_eq!(key_id(b""), None);
        assert_eq!(
            key_id(PREFIX).map(|id| id.to_string()),
            Some("?".repeat(16))
        );
    }
}
