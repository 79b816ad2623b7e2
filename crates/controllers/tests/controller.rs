//! `pandaemon controller` against an API server whose own DaemonSet controller is off.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test must fail loudly, and say what it did not do"
)]

#[path = "controller/cluster.rs"]
mod cluster;
#[path = "controller/failover.rs"]
mod failover;
#[path = "controller/handback.rs"]
mod handback;
#[path = "controller/manifests.rs"]
mod manifests;
#[path = "controller/rights.rs"]
mod rights;
#[path = "controller/takeover.rs"]
mod takeover;
