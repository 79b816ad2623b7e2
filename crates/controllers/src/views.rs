//! The projections that several loops share: nodes, pods and services, each parsed once.

pub mod node;
pub mod pod;

pub use node::{Condition, Node, NodeTaint};
pub use pod::{NamedPort, Pod};

use kube::Client;
use pandaemon_client::{informer::Informer, list_watch::ListWatch};
use pandaemon_runtime::Shutdown;

/// The shared informers of the loops that look at pods and nodes.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The pods of all namespaces.
    pub pods: Informer<Pod>,
    /// The nodes of the cluster.
    pub nodes: Informer<Node>,
}

impl Shared {
    /// Starts both watches.
    #[must_use]
    pub fn start(client: &Client, stop: &Shutdown) -> Self {
        let source = ListWatch::all;
        Self {
            pods: Informer::start(client.clone(), source("/api/v1/pods"), stop.clone()),
            nodes: Informer::start(client.clone(), source("/api/v1/nodes"), stop.clone()),
        }
    }
}
