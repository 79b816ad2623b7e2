//! Keeps the nodes ready: a node that the control plane gave up (its leases came late, or the fleet was
//! stopped for a while) reports itself ready again, as a kubelet does.

use futures::{StreamExt as _, stream};
use http::Method;
use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::{
    api::{self, Body},
    follow::{self, Change, Source, contains, follow},
    node::Fleet,
};

const NODES: &str = "/api/v1/nodes?";

#[derive(Debug, Clone, Deserialize)]
struct Node {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Box<str>,
    #[serde(default)]
    resource_version: Box<str>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: Box<str>,
    status: Box<str>,
}

impl follow::Object for Node {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }

    /// Most of what nodes do is none of our business, and there are many.
    fn concerns(line: &[u8]) -> bool {
        contains(line, b"\"Unknown\"") || !contains(line, b"\"KubeletReady\"")
    }
}

impl Node {
    /// A condition that only the control plane can have set: nodes of this fleet never report it.
    fn is_given_up(&self) -> bool {
        self.status
            .conditions
            .iter()
            .any(|condition| &*condition.status == "Unknown")
            || !self
                .status
                .conditions
                .iter()
                .any(|condition| &*condition.kind == "Ready")
    }
}

/// Watches for ever.
pub(crate) async fn run(client: Client, fleet: &Fleet, parallel: usize) {
    let (send, mut changes) = mpsc::channel(follow::QUEUE);
    // What registers is ready, so that what is there already needs no look.
    let source = Source {
        path: NODES.to_owned(),
        from_now: true,
    };
    let following = follow::<Node>(client.clone(), source, send);
    let healing = async {
        let mut batches = Vec::new();
        // What has arrived is taken together, so that many nodes are healed at the same time.
        while changes.recv_many(&mut batches, follow::QUEUE).await > 0 {
            let nodes = batches.drain(..).flatten().flat_map(|change| match change {
                Change::All(nodes) => nodes,
                Change::Put(node) => vec![node],
                Change::Gone(_) => Vec::new(),
            });
            heal(&client, fleet, parallel, nodes.collect()).await;
        }
    };
    futures::join!(following, healing);
}

async fn heal(client: &Client, fleet: &Fleet, parallel: usize, nodes: Vec<Node>) {
    let given_up = nodes.into_iter().filter(Node::is_given_up);
    let indexes = given_up.filter_map(|node| fleet.index(&node.metadata.name));
    stream::iter(indexes)
        .for_each_concurrent(parallel, |index| async move {
            let (_, status) = fleet.adoption(index, Timestamp::now());
            let path = format!("/api/v1/nodes/{}/status", fleet.name(index));
            let body = Body::StrategicPatch;
            if let Err(error) = api::tell(client, Method::PATCH, &path, body, status).await {
                tracing::warn!(node = fleet.name(index), %error, "cannot report the node ready");
            }
        })
        .await;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_control_plane_gives_a_node_up() {
        let node = |conditions: serde_json::Value| -> Node {
            let object = json!({"metadata": {"name": "n"}, "status": {"conditions": conditions}});
            serde_json::from_value(object).unwrap()
        };
        assert!(!node(json!([{"type": "Ready", "status": "True"}])).is_given_up());
        assert!(node(json!([{"type": "Ready", "status": "Unknown"}])).is_given_up());
        // Somebody plays with it: that is left alone.
        assert!(!node(json!([{"type": "Ready", "status": "False"}])).is_given_up());
        assert!(node(json!([])).is_given_up());
    }
}
