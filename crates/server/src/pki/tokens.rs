//! Secrets that clients show instead of a certificate.

use std::path::Path;

use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256};

use super::{Pair, Result, files, unusable};
use crate::auth::{User, same_secret};

/// Secrets that clients show.
#[derive(Clone)]
pub struct Tokens {
    /// Lets agents join.
    pub agent: String,
    /// Lets in as administrator.
    pub admin: String,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    /// Whose token it is. The agents' token is nobody: it only lets them join.
    #[must_use]
    pub fn user(&self, token: &str) -> Option<User> {
        same_secret(token, &self.admin).then(User::admin)
    }

    /// Whether it is the agents' token.
    #[must_use]
    pub fn may_join(&self, token: &str) -> bool {
        same_secret(token, &self.agent)
    }
}

fn random_secret() -> String {
    format!(
        "{}{}",
        uuid::Uuid::new_v4().simple(),
        uuid::Uuid::new_v4().simple()
    )
}

pub(super) fn open(data: &Path, ca: &Pair) -> Result<Tokens> {
    let der = CertificateDer::from_pem_slice(ca.certificate.as_bytes()).map_err(unusable)?;
    let hash: String = Sha256::digest(&der)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
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
    })
}
