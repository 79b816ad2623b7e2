//! Tests of the pure part: snapshots described in text, and the reports that are printed.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "helpers of tests fail as tests do; cases are read from files"
)]

#[path = "explain/cases.rs"]
mod cases;
#[path = "explain/large.rs"]
mod large;
#[path = "explain/manifests.rs"]
mod manifests;
#[path = "explain/rollout_tracker.rs"]
mod rollout_tracker;
#[path = "explain/sketch.rs"]
mod sketch;
#[path = "explain/takeover.rs"]
mod takeover;
