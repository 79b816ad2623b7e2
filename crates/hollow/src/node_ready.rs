//! Keeps the nodes ready: a node that the control plane gave up (its leases came late, or this process was
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
    node::HollowNodes,
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

    /// Skips the lines of nodes that report themselves ready, which are most.
    fn concerns(line: &[u8]) -> bool {
        contains(line, b"\"Unknown\"") || !contains(line, b"\"KubeletReady\"")
    }
}

impl Node {
    /// Whether the node life cycle controller set a condition to `Unknown`, or Ready is missing.
    /// Hollow nodes report neither.
    fn is_marked_unreachable(&self) -> bool {
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

/// Runs until it is dropped.
pub(crate) async fn run(client: Client, hollow: &HollowNodes, parallel: usize) {
    let (send, mut changes) = mpsc::channel(follow::QUEUE);
    // Nodes are created ready, so existing ones need not be listed.
    let source = Source {
        path: NODES.to_owned(),
        from_now: true,
    };
    let following = follow::<Node>(client.clone(), source, send);
    let reporting = async {
        let mut batches = Vec::new();
        // Takes all batches that wait, so that many nodes are reported at the same time.
        while changes.recv_many(&mut batches, follow::QUEUE).await > 0 {
            let nodes = batches.drain(..).flatten().flat_map(|change| match change {
                Change::All(nodes) => nodes,
                Change::Put(node) => vec![node],
                Change::Gone(_) => Vec::new(),
            });
            report_ready(&client, hollow, parallel, nodes.collect()).await;
        }
    };
    futures::join!(following, reporting);
}

async fn report_ready(client: &Client, hollow: &HollowNodes, parallel: usize, nodes: Vec<Node>) {
    let unreachable = nodes.into_iter().filter(Node::is_marked_unreachable);
    let numbers = unreachable.filter_map(|node| hollow.index(&node.metadata.name));
    stream::iter(numbers)
        .for_each_concurrent(parallel, |number| async move {
            let (_, status) = hollow.adoption_patches(number, Timestamp::now());
            let path = format!("/api/v1/nodes/{}/status", hollow.name(number));
            let body = Body::StrategicPatch;
            if let Err(error) = api::tell(client, Method::PATCH, &path, body, status).await {
                tracing::warn!(node = hollow.name(number), %error, "cannot report the node ready");
            }
        })
        .await;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_with_an_unknown_condition_or_none_is_unreachable() {
        let node = |conditions: serde_json::Value| -> Node {
            let object = json!({"metadata": {"name": "n"}, "status": {"conditions": conditions}});
            serde_json::from_value(object).unwrap()
        };
        assert!(!node(json!([{"type": "Ready", "status": "True"}])).is_marked_unreachable());
        assert!(node(json!([{"type": "Ready", "status": "Unknown"}])).is_marked_unreachable());
        // Another client set it to False: it stays.
        assert!(!node(json!([{"type": "Ready", "status": "False"}])).is_marked_unreachable());
        assert!(node(json!([])).is_marked_unreachable());
    }
}
