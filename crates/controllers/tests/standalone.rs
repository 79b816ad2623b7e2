//! `pandaemon controller` against an API server whose own DaemonSet controller is disabled.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test must fail loudly")]

#[path = "standalone/cluster.rs"]
mod cluster;
#[path = "standalone/handback.rs"]
mod handback;
#[path = "standalone/leader_election.rs"]
mod leader_election;
#[path = "standalone/manifests.rs"]
mod manifests;
#[path = "standalone/priority.rs"]
mod priority;
#[path = "standalone/rbac.rs"]
mod rbac;
#[path = "standalone/takeover.rs"]
mod takeover;
