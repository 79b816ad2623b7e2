//! What every part of a running agent shares.

use std::{net::IpAddr, sync::Arc};

use pandaemon_cri::{Runtime, TaskService};

use crate::{
    api::{events::Events, sources::Sources},
    config::{Config, Paths},
    host::{Machine, cgroups::Tree},
    images::Images,
};

/// A running agent's surroundings.
pub(crate) struct Context {
    /// What it was told.
    pub config: Config,
    /// Where it keeps its files.
    pub paths: Paths,
    /// What it runs on.
    pub machine: Machine,
    /// The node's address.
    pub address: IpAddr,
    /// The container runtime.
    pub runtime: Arc<dyn Runtime>,
    /// containerd's task service, for `exec`; another runtime has none.
    pub tasks: Option<TaskService>,
    /// The node's images.
    pub images: Images,
    /// Control groups of pods.
    pub cgroups: Tree,
    /// The API.
    pub client: kube::Client,
    /// Config maps and secrets.
    pub sources: Sources,
    /// Where events go.
    pub events: Events,
}

/// Milliseconds since 1970, now.
#[must_use]
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
