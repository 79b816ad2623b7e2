//! The interface between controllers, which decide when something is signed, and those who have the
//! keys.

use std::{collections::BTreeMap, fmt::Debug, future::Future, pin::Pin};

/// An approved request for a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SigningRequest {
    /// The name of the signer, such as `kubernetes.io/kubelet-serving`.
    pub signer_name: String,
    /// The request, in PEM.
    pub request: Vec<u8>,
    /// What the certificate is for, in the words of the API.
    pub usages: Vec<String>,
    /// How long it is to be valid; the signer may grant less.
    pub expiration_seconds: Option<u64>,
    /// The user who asks.
    pub username: String,
    /// What else the server knows about the user.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Why nothing is signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The request is never signed. The text is for a person.
    #[error("{0}")]
    Refused(String),
    /// It may be signed later.
    #[error("{0}")]
    Unavailable(String),
}

/// The certificate, in PEM; `None` if the signer is not one of these.
pub type Signature = Result<Option<String>, SigningError>;

/// Has the keys of certificate authorities.
pub trait CertificateSigner: Debug + Send + Sync {
    /// Signs an approved request, if the signer that it names is one of these.
    fn sign<'a>(
        &'a self,
        request: &'a SigningRequest,
    ) -> Pin<Box<dyn Future<Output = Signature> + Send + 'a>>;
}
