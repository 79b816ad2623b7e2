//! Several nodes on one machine: what `pandaemon up` creates and removes.
//!
//! A node is a network namespace joined to a bridge by a veth pair, a mount namespace whose mounts
//! are shared among its own processes only, a host name, a cgroup parent, and one `pandaemon
//! agent`. The addresses and the commands are computed by pure functions ([`plan`]); [`Fleet`] runs
//! them, supervises the agents, and removes everything again ([`cleanup`]).
//!
//! This crate knows neither the API server nor containers.

pub mod agent;
pub mod cleanup;
pub mod command;
pub mod fleet;
pub mod holder;
pub mod machine;
pub mod plan;
mod shared;

pub use fleet::{Fleet, FleetConfig};
pub use machine::MissingTools;
