//! Faults that only the real program shows: what it says, its exit status, and what it loses.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "faults/crash.rs"]
mod crash;
#[path = "faults/program.rs"]
mod program;
#[path = "faults/starts.rs"]
mod starts;
#[path = "faults/watches.rs"]
mod watches;
