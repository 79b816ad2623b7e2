//! The node agent: runs the pods that the API binds to this node as real containers.
//!
//! Observe (the runtime, the API, probes), plan (`podsync`, pure), act (this crate). Containers
//! outlive the agent, and the agent outlives the control plane: see `docs/design/agent.md`.

mod api;
mod config;
mod context;
mod files;
mod host;
mod images;
mod logs;
mod manager;
mod orphans;
mod pod;
mod serve;
mod start;
mod tls;
mod volumes;

pub use api::{
    identity::{Identity, subject},
    join::Refused,
};
pub use config::{Config, InUse, Lacking};
pub use start::run;

/// An image of one layer as an OCI archive, for those who need one without a builder.
pub use images::archive::{Tar, oci_image};
