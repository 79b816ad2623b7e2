//! The whole server in one process.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "api/disk.rs"]
mod disk;
#[path = "api/faults.rs"]
mod faults;
#[path = "api/harness.rs"]
mod harness;
#[path = "api/hostile.rs"]
mod hostile;
#[path = "api/pages.rs"]
mod pages;
#[path = "api/stencils.rs"]
mod stencils;
#[path = "api/verbs.rs"]
mod verbs;
#[path = "api/wire.rs"]
mod wire;
