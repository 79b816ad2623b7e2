//! CertificateSigningRequests: approves those of nodes, has approved ones signed, and deletes old
//! ones. Upstream: `pkg/controller/certificates`.

mod approver;
mod cleaner;
mod request;
mod request_loop;
mod signer;

pub use approver::run as run_approver;
pub use cleaner::run as run_cleaner;
pub use signer::run as run_signer;
