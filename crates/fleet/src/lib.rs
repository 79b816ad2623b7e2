//! Several nodes on one machine: what `pandaemon up` makes and removes.
//!
//! A node is a network namespace joined to a bridge, a mount namespace whose mounts are shared among
//! its own processes only, a host name, a cgroup parent, and one `pandaemon agent` inside. The
//! addresses and the commands are planned by pure functions ([`plan`]); [`Fleet`] runs them, keeps the
//! agents running, and takes everything away again ([`sweep`]).
//!
//! This crate knows nothing of the API server or of containers.

pub mod agent;
pub mod command;
pub mod fleet;
pub mod holder;
pub mod machine;
pub mod plan;
pub mod sweep;

pub use fleet::{Fleet, FleetConfig};
pub use machine::MissingTools;
