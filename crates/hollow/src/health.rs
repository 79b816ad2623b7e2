//! Keeps the nodes ready: a node that the control plane gave up (its leases came late, or the fleet was
//! stopped for a while) reports itself ready again, as a kubelet does.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use http::Method;
use jiff::Timestamp;
use kube::{Client, core::WatchEvent};
use serde::Deserialize;
use tokio::time::sleep;

use crate::{
    api::{self, Body},
    follow::{self, Events},
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
    loop {
        if let Err(error) = list_and_watch(&client, fleet, parallel).await {
            tracing::warn!(%error, "lost sight of the nodes; listing them again");
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn list_and_watch(client: &Client, fleet: &Fleet, parallel: usize) -> kube::Result<()> {
    let (nodes, mut version) = follow::list(client, NODES).await?;
    heal(client, fleet, parallel, nodes).await;
    loop {
        let events = follow::watch(client, NODES, &version).await?;
        if !serve(client, fleet, parallel, events, &mut version).await? {
            return Ok(());
        }
    }
}

/// Serves one watch request. Returns whether another one may follow where it ended.
async fn serve(
    client: &Client,
    fleet: &Fleet,
    parallel: usize,
    events: Events<Node>,
    version: &mut String,
) -> kube::Result<bool> {
    // What has arrived is taken together, so that many nodes are healed at the same time.
    let mut events = events.ready_chunks(1000);
    while let Some(chunk) = events.next().await {
        let mut nodes = Vec::new();
        for event in chunk {
            match event? {
                WatchEvent::Added(node) | WatchEvent::Modified(node) => {
                    version.replace_range(.., &node.metadata.resource_version);
                    nodes.push(node);
                }
                WatchEvent::Deleted(node) => {
                    version.replace_range(.., &node.metadata.resource_version);
                }
                WatchEvent::Bookmark(bookmark) => *version = bookmark.metadata.resource_version,
                WatchEvent::Error(_) => return Ok(false),
            }
        }
        heal(client, fleet, parallel, nodes).await;
    }
    Ok(true)
}

async fn heal(client: &Client, fleet: &Fleet, parallel: usize, nodes: Vec<Node>) {
    let given_up = nodes.into_iter().filter(Node::is_given_up);
    let indexes = given_up.filter_map(|node| fleet.index(&node.metadata.name));
    stream::iter(indexes)
        .for_each_concurrent(parallel, |index| async move {
            let (_, status) = fleet.adoption(index, Timestamp::now());
            let path = format!("/api/v1/nodes/{}/status", fleet.name(index));
            let body = Body::StrategicPatch;
            if let Err(error) = api::tell(client, Method::PATCH, &path, body, &status).await {
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
