//! The nodes and pods that several controllers read, each decoded once and kept once.

pub mod node;
pub mod pod;

pub use node::{Condition, Node, NodeTaint};
pub use pod::{NamedPort, Pod};

use kube::Client;
use pandaemon_client::{informer::Informer, list_watch::ListWatch};
use pandaemon_runtime::Shutdown;

/// The informers of pods and nodes, which the controllers share.
#[derive(Debug, Clone)]
pub struct SharedInformers {
    /// The pods of all namespaces.
    pub pods: Informer<Pod>,
    /// The nodes of the cluster.
    pub nodes: Informer<Node>,
}

impl SharedInformers {
    /// Starts both watches.
    #[must_use]
    pub fn start(client: &Client, stop: &Shutdown) -> Self {
        let (pods, nodes) = (
            ListWatch::all("/api/v1/pods"),
            ListWatch::all("/api/v1/nodes"),
        );
        Self {
            pods: Informer::start(client.clone(), pods, stop.clone()),
            nodes: Informer::start(client.clone(), nodes, stop.clone()),
        }
    }
}
