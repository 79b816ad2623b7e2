//! Certificate requests, and what upstream's signers demand of them, as pure functions.
//!
//! The API server validates requests and signs certificates, controllers approve them: both read
//! them here.

mod client;
pub mod encode;
pub mod request;
mod signer;
pub mod signers;

pub use client::ClientSubject;
pub use request::CertificateRequest;
pub use signer::{CertificateSigner, Signature, SigningError, SigningRequest};
