//! The controllers against an API server in the same process.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test must fail loudly"
)]

#[path = "loops/certificates.rs"]
mod certificates;
#[path = "loops/control_plane.rs"]
mod control_plane;
#[path = "loops/daemonset.rs"]
mod daemonset;
#[path = "loops/default_roles.rs"]
mod default_roles;
#[path = "loops/endpoints.rs"]
mod endpoints;
#[path = "loops/garbage_collector.rs"]
mod garbage_collector;
#[path = "loops/namespaces.rs"]
mod namespaces;
#[path = "loops/node_lifecycle.rs"]
mod node_lifecycle;
#[path = "loops/panics.rs"]
mod panics;
#[path = "loops/scheduler.rs"]
mod scheduler;
#[path = "loops/whole.rs"]
mod whole;
