//! `pandaemon controller` against an API server whose own DaemonSet controller is off.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test must fail loudly")]

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
