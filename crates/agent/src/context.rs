//! The state that all parts of a running agent share.

use std::{net::IpAddr, sync::Arc};

use pandaemon_client::events::EventRecorder;
use pandaemon_cri::{Runtime, TaskService};

use crate::{
    api::{node_registration::NodeRegistration, object_cache::ObjectCache},
    clock::Clock,
    config::{Config, Paths},
    host::{Machine, api_server_rules::ApiServerRules, cgroups::PodCgroups, tmpfs::Tmpfs},
    images::Images,
    sealed::SealedFiles,
};

/// The state that all parts of a running agent share.
pub(crate) struct Context {
    pub config: Config,
    /// The paths of the agent's files.
    pub paths: Paths,
    /// The wall clock.
    pub clock: Clock,
    /// The machine's properties.
    pub machine: Machine,
    /// The way of containers to the API server.
    pub api_server: Arc<ApiServerRules>,
    /// The node's address.
    pub address: IpAddr,
    /// The container runtime.
    pub runtime: Arc<dyn Runtime>,
    /// containerd's task service, which `exec` uses; `None` with another runtime.
    pub tasks: Option<TaskService>,
    /// The node's images.
    pub images: Images,
    /// Where the content of volumes is held that must not be on disk.
    pub tmpfs: Tmpfs,
    /// Copies of Secrets and tokens.
    pub sealed: Arc<SealedFiles>,
    /// The cgroups of pods.
    pub cgroups: PodCgroups,
    /// The client of the API server.
    pub client: kube::Client,
    /// The Node object of this node, and whether it was deleted.
    pub registration: Arc<NodeRegistration>,
    /// The ConfigMaps and Secrets that pods here use.
    pub object_cache: ObjectCache,
    pub events: EventRecorder,
}
