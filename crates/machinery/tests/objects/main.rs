//! Objects from request body to validated result: decoded, defaulted, prepared for storage and
//! validated.
#![expect(clippy::disallowed_methods, reason = "cases are read from files")]
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod compare;
mod defaulting;
mod manifests;
mod pipeline;
mod pod_security;
mod recorded;
mod text_cases;
mod validation;
