//! Tests of the whole server, in process and over TLS on loopback.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "api/admission.rs"]
mod admission;
#[path = "api/audit.rs"]
mod audit;
#[path = "api/authorization.rs"]
mod authorization;
#[path = "api/discovery.rs"]
mod discovery;
#[path = "api/disk.rs"]
mod disk;
#[path = "api/encryption.rs"]
mod encryption;
#[path = "api/faults.rs"]
mod faults;
#[path = "api/harness.rs"]
mod harness;
#[path = "api/hostile.rs"]
mod hostile;
#[path = "api/pages.rs"]
mod pages;
#[path = "api/pod_templates.rs"]
mod pod_templates;
#[path = "api/run_time_kinds.rs"]
mod run_time_kinds;
#[path = "api/verbs.rs"]
mod verbs;
#[path = "api/warnings.rs"]
mod warnings;
#[path = "api/wire.rs"]
mod wire;
