//! Encrypted files: the copies of Secrets and tokens that let a node start its pods after a reboot
//! without the control plane.
//!
//! AES-256-GCM with a key in a file of the agent. Who reads the whole disk as root has the key
//! too. The encryption is for copies of single files: in backups, images and logs.

use std::{fs, io, path::Path};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    error::Unspecified,
    rand::{SecureRandom as _, SystemRandom},
};

use crate::files;

/// The first byte of each file.
const FORMAT: u8 = 1;
/// The length of the key in bytes.
const KEY_LEN: usize = 32;

/// Reads and writes encrypted files. What is in a file is bound to a name, so that one file cannot
/// be put in the place of another.
pub(crate) struct SealedFiles {
    key: LessSafeKey,
    random: SystemRandom,
}

impl SealedFiles {
    /// Reads the key from this file; creates it if there is none, or none that can be used: what
    /// was sealed with it then counts as absent.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(crate) fn open(key_file: &Path) -> io::Result<Self> {
        let random = SystemRandom::new();
        let known = match fs::read(key_file) {
            Ok(bytes) => usable(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let key = match known {
            Some(key) => key,
            None => {
                let mut bytes = [0; KEY_LEN];
                random.fill(&mut bytes).map_err(failed)?;
                files::replace(key_file, &bytes)?;
                usable(&bytes).ok_or(io::ErrorKind::InvalidData)?
            }
        };
        Ok(Self { key, random })
    }

    /// The content of a file; `None` if it does not exist or was not sealed with this key and name.
    pub(crate) fn read(&self, path: &Path, name: &str) -> Option<Vec<u8>> {
        let content = self.unseal(&fs::read(path).ok()?, name);
        if content.is_none() {
            tracing::warn!(path = %path.display(), "ignored a saved copy that cannot be decrypted");
        }
        content
    }

    fn unseal(&self, bytes: &[u8], name: &str) -> Option<Vec<u8>> {
        let (nonce, sealed) = bytes.strip_prefix(&[FORMAT])?.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::from(name), &mut sealed);
        opened.ok().map(|content| content.to_vec())
    }

    /// Replaces a file atomically.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(crate) fn replace(&self, path: &Path, name: &str, content: &[u8]) -> io::Result<()> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(failed)?;
        let mut sealed = content.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(unique, Aad::from(name), &mut sealed)
            .map_err(failed)?;
        files::replace(path, &[&[FORMAT], &nonce[..], &sealed].concat())
    }
}

fn usable(key: &[u8]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key)
        .ok()
        .map(LessSafeKey::new)
}

fn failed(_: Unspecified) -> io::Error {
    io::Error::other("encryption failed")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::SealedFiles;

    #[test]
    fn sealed_files_are_read_with_their_key_and_name_only() {
        let dir = tempfile::tempdir().unwrap();
        let (key, path) = (dir.path().join("agent/key"), dir.path().join("s/one"));
        let sealed = SealedFiles::open(&key).unwrap();
        sealed.replace(&path, "secret/a", b"plain").unwrap();
        for (file, of) in [(&key, "the key"), (&path, "a copy")] {
            let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode();
            assert_eq!(mode(file) & 0o777, 0o600, "{of}");
            assert_eq!(mode(file.parent().unwrap()) & 0o777, 0o700, "{of}");
        }
        let stored = fs::read(&path).unwrap();
        assert!(!stored.windows(5).any(|part| part == b"plain"));
        sealed.replace(&path, "secret/a", b"plain").unwrap();
        assert_ne!(fs::read(&path).unwrap(), stored, "a nonce is used once");

        let later = SealedFiles::open(&key).unwrap();
        let read = |name| later.read(&path, name);
        assert_eq!(read("secret/a").as_deref(), Some(&b"plain"[..]));
        assert_eq!(read("secret/b"), None, "another name");
        let mut changed = fs::read(&path).unwrap();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(&path, &changed).unwrap();
        assert_eq!(read("secret/a"), None, "changed content");
        fs::write(&path, "x").unwrap();
        assert_eq!(read("secret/a"), None, "no sealed file");

        sealed.replace(&path, "secret/a", b"plain").unwrap();
        fs::write(&key, "damaged").unwrap();
        let other = SealedFiles::open(&key).unwrap();
        assert_eq!(other.read(&path, "secret/a"), None, "another key");
        other.replace(&path, "secret/a", b"again").unwrap();
        let found = SealedFiles::open(&key).unwrap().read(&path, "secret/a");
        assert_eq!(found.as_deref(), Some(&b"again"[..]));
    }
}
