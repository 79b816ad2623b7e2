//! The node agent, the counterpart of the kubelet: runs the pods bound to this node as containers.
//!
//! It observes (container runtime, API, probes), computes what is due (`podsync`, pure) and acts.
//! Containers go on without the agent, and the agent goes on without the control plane: see
//! `docs/design/agent.md`.

mod api;
mod clock;
mod config;
mod context;
mod files;
mod host;
mod images;
mod logs;
mod orphans;
mod pleg;
mod pod;
mod pod_workers;
mod pods;
mod sealed;
mod server;
mod start;
mod stop;
mod supervise;
mod tls;
mod volumes;

#[cfg(test)]
mod tests;

pub use api::{
    identity::{Identity, identity_scope},
    join::JoinRefused,
};
pub use config::{Config, DataDirInUse, InvalidConfig, MissingRequirement, NodeDeleted};
pub use start::run;

/// Writes an image of one layer as an OCI archive; tests build their images with it.
pub use images::archive::{Tar, oci_image};
