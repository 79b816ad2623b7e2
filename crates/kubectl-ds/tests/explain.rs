//! Tests of the pure part: worlds as text, and the answers that people see.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

#[path = "explain/cases.rs"]
mod cases;
#[path = "explain/large.rs"]
mod large;
#[path = "explain/manifests.rs"]
mod manifests;
#[path = "explain/takeover.rs"]
mod takeover;
#[path = "explain/world.rs"]
mod world;
