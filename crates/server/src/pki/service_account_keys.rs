//! The keys that sign the tokens of service accounts, in `DATA/pki/service-account-keys.json`.
//!
//! They rotate by age, with overlap: a new key is published for [`PUBLISHED_BEFORE`] before it
//! signs, and an old one is kept until the last token that it has signed has expired.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{DecodingKey, EncodingKey};
use parking_lot::RwLock;
use rcgen::{KeyPair, PublicKeyData as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Result, SERVICE_ACCOUNT_KEYS, files, unusable};

/// The age at which the newest key gets a successor.
const ROTATED_AFTER: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How long a key is published before it signs. Verifiers cache the published keys for an hour.
const PUBLISHED_BEFORE: SignedDuration = SignedDuration::from_hours(24);
/// A key is kept longer than its last token by up to so much, so that not every token is noted.
const KEPT_AFTER: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A key as it is stored.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredKey {
    created: Timestamp,
    /// All tokens that it has signed expire before.
    tokens_expire: Timestamp,
    /// PKCS #8, in PEM.
    private_key: String,
}

/// A key of the curve P-256, which signs with ES256.
pub(crate) struct SigningKey {
    /// The hash of the public key, as upstream computes key IDs.
    pub id: String,
    /// The private key.
    pub private: EncodingKey,
    /// The public key.
    pub public: DecodingKey,
    /// The point of the public key: a byte 4, and 32 bytes each of x and y.
    pub point: Vec<u8>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

impl SigningKey {
    /// # Errors
    /// For a text that is no P-256 key.
    fn read(stored: &StoredKey) -> Result<Arc<Self>> {
        let pair = KeyPair::from_pem(&stored.private_key).map_err(unusable)?;
        let point = pair.der_bytes().to_vec();
        if pair.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(unusable("the key is of another curve than P-256"));
        }
        let hash = Sha256::digest(pair.subject_public_key_info());
        Ok(Arc::new(Self {
            id: URL_SAFE_NO_PAD.encode(hash),
            private: EncodingKey::from_ec_der(pair.serialized_der()),
            public: DecodingKey::from_ec_der(&point),
            point,
        }))
    }
}

/// A stored key with its parsed form.
#[derive(Clone)]
struct Key {
    stored: StoredKey,
    parsed: Arc<SigningKey>,
}

impl Key {
    fn generate(now: Timestamp) -> Result<Self> {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(unusable)?;
        let stored = StoredKey {
            created: now,
            tokens_expire: now,
            private_key: pair.serialize_pem(),
        };
        let parsed = SigningKey::read(&stored)?;
        Ok(Self { stored, parsed })
    }
}

/// The keys that sign the tokens of service accounts.
pub(crate) struct ServiceAccountKeys {
    path: PathBuf,
    /// The oldest first. Never empty.
    keys: RwLock<Vec<Key>>,
}

impl fmt::Debug for ServiceAccountKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceAccountKeys")
    }
}

impl ServiceAccountKeys {
    /// Reads the keys, and creates the first one. The directory `DATA/pki` exists.
    ///
    /// # Errors
    /// When the file cannot be read, written or parsed.
    pub(crate) fn open(data: &Path, now: Timestamp) -> Result<Self> {
        let path = data.join(SERVICE_ACCOUNT_KEYS);
        let keys = match files::read(&path)? {
            Some(text) => parse(&text).map_err(|error| {
                unusable(format!(
                    "the signing keys in `{}` cannot be used: {error}; restore the file, or remove it to \
                     start with a new key, which voids all tokens of service accounts",
                    path.display()
                ))
            })?,
            None => Vec::new(),
        };
        let all = Self {
            path,
            keys: RwLock::new(keys),
        };
        all.rotate(now)?;
        Ok(all)
    }

    /// Does what is due: adds a key, removes those whose tokens have expired.
    ///
    /// # Errors
    /// When the file cannot be written. The keys are as before.
    pub(crate) fn rotate(&self, now: Timestamp) -> Result<()> {
        let mut keys = self.keys.write();
        match rotated(&keys, now)? {
            Some(next) => self.replace(&mut keys, next),
            None => Ok(()),
        }
    }

    /// The key that signs now a token that expires then.
    ///
    /// # Errors
    /// When that has to be noted and the file cannot be written.
    pub(crate) fn signer(&self, expires: Timestamp, now: Timestamp) -> Result<Arc<SigningKey>> {
        let keys = self.keys.read();
        let at = signer_at(&keys, now);
        if let Some(key) = keys.get(at)
            && key.stored.tokens_expire >= expires
        {
            return Ok(Arc::clone(&key.parsed));
        }
        drop(keys);
        // Once in a month, unless longer lifetimes are asked for.
        let mut keys = self.keys.write();
        let at = signer_at(&keys, now);
        let mut next = keys.clone();
        let key = next.get_mut(at).ok_or_else(|| unusable("no signing key"))?;
        let kept_until = expires.checked_add(KEPT_AFTER);
        key.stored.tokens_expire = kept_until.unwrap_or(Timestamp::MAX);
        let signer = Arc::clone(&key.parsed);
        self.replace(&mut keys, next)?;
        Ok(signer)
    }

    /// The key with this ID.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<SigningKey>> {
        let keys = self.keys.read();
        let found = keys.iter().find(|key| key.parsed.id == id);
        found.map(|key| Arc::clone(&key.parsed))
    }

    /// All keys: they verify tokens, and are published.
    pub(crate) fn all(&self) -> Vec<Arc<SigningKey>> {
        let keys = self.keys.read();
        keys.iter().map(|key| Arc::clone(&key.parsed)).collect()
    }

    fn replace(&self, keys: &mut Vec<Key>, next: Vec<Key>) -> Result<()> {
        let stored: Vec<&StoredKey> = next.iter().map(|key| &key.stored).collect();
        let text = serde_json::to_string_pretty(&stored).map_err(unusable)?;
        files::write(&self.path, &text)?;
        *keys = next;
        Ok(())
    }
}

/// The ids of the keys in this file; none if it does not exist.
///
/// # Errors
/// When it cannot be read or parsed.
pub(crate) fn signing_key_ids(path: &Path) -> Result<Vec<String>> {
    let keys = files::read(path)?.map(|text| parse(&text)).transpose()?;
    let keys = keys.unwrap_or_default().into_iter();
    Ok(keys.map(|key| key.parsed.id.clone()).collect())
}

fn parse(text: &str) -> Result<Vec<Key>> {
    let stored: Vec<StoredKey> = serde_json::from_str(text).map_err(unusable)?;
    let key = |stored| {
        let parsed = SigningKey::read(&stored)?;
        Ok(Key { stored, parsed })
    };
    stored.into_iter().map(key).collect()
}

/// The position of the key that signs: the newest that has been published long enough, else the
/// oldest.
fn signer_at(keys: &[Key], now: Timestamp) -> usize {
    let is_due = |key: &Key| now.duration_since(key.stored.created) >= PUBLISHED_BEFORE;
    keys.iter().rposition(is_due).unwrap_or(0)
}

/// The keys after what is due has been done; `None` if nothing is.
fn rotated(keys: &[Key], now: Timestamp) -> Result<Option<Vec<Key>>> {
    let signer = signer_at(keys, now);
    let numbered = keys.iter().enumerate();
    let kept = numbered.filter(|(at, key)| *at >= signer || key.stored.tokens_expire > now);
    let mut next: Vec<Key> = kept.map(|(_, key)| key.clone()).collect();
    let is_old = |key: &Key| now.duration_since(key.stored.created) >= ROTATED_AFTER;
    let is_due = next.last().is_none_or(is_old);
    if is_due {
        next.push(Key::generate(now)?);
    }
    Ok((is_due || next.len() < keys.len()).then_some(next))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    #[test]
    fn a_new_key_is_published_before_it_signs_and_an_old_one_outlives_its_tokens() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join("pki")).unwrap();
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let after = |days: i32| start + DAY * days;
        let mut keys = ServiceAccountKeys::open(data.path(), start).unwrap();
        let mut names: Vec<String> = Vec::new();
        // Day, lifetime of the token that is signed in days, keys that exist, key that signs.
        for (day, lifetime, exist, signs) in [
            (0, 1, "0", 0),
            (1, 365, "0", 0),
            (89, 1, "0", 0),
            (90, 1, "0 1", 0),
            (91, 10, "0 1", 1),
            (180, 1, "0 1 2", 1),
            (181, 1, "0 1 2", 2),
            // The tokens of the second have expired on day 181; it is kept for a month more.
            (210, 1, "0 1 2", 2),
            (211, 1, "0 2", 2),
            // Those of the first have on day 366. The third has no successor before the next start.
            (395, 1, "0 2 3", 2),
            (396, 1, "2 3", 3),
        ] {
            let now = after(day);
            keys.rotate(now).unwrap();
            keys = ServiceAccountKeys::open(data.path(), now).unwrap();
            for key in keys.all() {
                if !names.contains(&key.id) {
                    names.push(key.id.clone());
                }
            }
            let number = |id: &str| names.iter().position(|known| known == id).unwrap();
            let found: Vec<_> = keys.all().iter().map(|k| number(&k.id)).collect();
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), exist, "day {day}");
            let signer = keys.signer(now + DAY * lifetime, now).unwrap();
            assert_eq!(number(&signer.id), signs, "day {day}");
            assert!(keys.find(&signer.id).is_some());
        }
        assert!(keys.find(&names[0]).is_none());
        let path = data.path().join("pki/service-account-keys.json");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let shown = format!("{keys:?} {:?}", keys.all());
        assert!(!shown.contains("PRIVATE"), "{shown}");
        fs::write(&path, "[{}]").unwrap();
        let error = ServiceAccountKeys::open(data.path(), start).unwrap_err();
        assert!(error.to_string().contains("restore the file"), "{error}");
    }
}
