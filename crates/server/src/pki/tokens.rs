//! Bearer tokens: that of the administrator and that with which agents join.

use std::path::Path;

use pandaemon_types::hash::hex;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256};

use super::{Result, files, unusable};

/// The bearer tokens that the server accepts.
#[derive(Clone)]
pub(crate) struct Tokens {
    /// The token with which agents join: `SHA256-OF-THE-CA.SECRET`.
    pub agent: String,
    /// The token of the administrator.
    pub admin: String,
    /// The hash of the server's CA, which precedes the secret in tokens to join with.
    pub ca_hash: String,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

/// Compares secrets in a time that does not depend on the position of the first difference.
#[must_use]
pub(crate) fn constant_time_eq(a: &str, b: &str) -> bool {
    let differing = a
        .bytes()
        .zip(b.bytes())
        .fold(0, |acc, (x, y)| acc | (x ^ y));
    a.len() == b.len() && differing == 0
}

/// The SHA-256 hash of some bytes, in hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn random_secret() -> String {
    format!(
        "{}{}",
        uuid::Uuid::new_v4().simple(),
        uuid::Uuid::new_v4().simple()
    )
}

/// The SHA-256 hash of a certificate in PEM.
///
/// # Errors
/// When it is none.
pub(super) fn digest(pem: &str) -> Result<String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(unusable)?;
    Ok(sha256_hex(&der))
}

/// The tokens of a data directory. `ca` is the certificate of the server's CA, in PEM.
///
/// # Errors
/// When a file cannot be read or written.
pub(super) fn open(data: &Path, ca: &str) -> Result<Tokens> {
    let hash = digest(ca)?;
    let open = |file: &str, prefix: &str| {
        let path = data.join(file);
        if let Some(text) = files::read(&path)?.filter(|text| !text.trim().is_empty()) {
            return Ok(text.trim().to_owned());
        }
        let token = format!("{prefix}{}", random_secret());
        files::write(&path, &format!("{token}\n"))?;
        Ok(token)
    };
    Ok(Tokens {
        agent: open("token", &format!("{hash}."))?,
        admin: open("admin-token", "")?,
        ca_hash: hash,
    })
}

#[cfg(test)]
mod tests {
    use super::constant_time_eq;

    #[test]
    fn secrets_are_equal_only_if_all_bytes_are() {
        assert!(constant_time_eq("abc", "abc"));
        assert!(!constant_time_eq("abc", "abd"));
        assert!(!constant_time_eq("abc", "ab"));
    }
}
