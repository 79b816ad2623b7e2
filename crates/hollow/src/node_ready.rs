//! Keeps the nodes ready: a node that the control plane gave up (its leases came late, or this
//! process was stopped for a while) reports itself ready again, as a kubelet does.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use http::Method;
use jiff::Timestamp;
use pandaemon_client::{
    list_watch::{self, Handler, ListWatch, ListWatchEvent},
    object_meta::ObjectMeta,
    rest::{Patch, Rest},
    supervise::restart_on_panic,
};
use pandaemon_runtime::Shutdown;
use pandaemon_types::Uid;
use serde::Deserialize;

use crate::{condition::Condition, node::HollowNodes};

#[derive(Debug, Clone, Deserialize)]
struct Node {
    metadata: ObjectMeta,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
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

/// Runs until a stop.
pub(crate) async fn run(
    rest: Rest,
    hollow: Arc<HollowNodes>,
    parallel: usize,
    stop: Shutdown,
) -> anyhow::Result<()> {
    // Nodes are created ready, so existing ones need not be listed.
    let source = ListWatch::all("/api/v1/nodes").without_list();
    let start = || {
        let reporter = Reporter {
            rest: &rest,
            hollow: &hollow,
            parallel,
        };
        list_watch::run(rest.client(), &source, reporter)
    };
    stop.guard(restart_on_panic("hollow-ready", start)).await;
    Ok(())
}

/// Reports nodes ready that the watch shows as unreachable.
struct Reporter<'a> {
    rest: &'a Rest,
    hollow: &'a HollowNodes,
    /// Most requests under way at the same time.
    parallel: usize,
}

impl Handler for Reporter<'_> {
    type Object = Node;

    fn uid(node: &Node) -> Uid {
        node.metadata.uid.as_str().into()
    }

    fn version(node: &Node) -> u64 {
        node.metadata.version()
    }

    /// Skips the lines of nodes that report themselves ready, which are most.
    fn wants(line: &[u8]) -> bool {
        contains(line, b"\"Unknown\"") || !contains(line, b"\"KubeletReady\"")
    }

    async fn handle(&mut self, events: Vec<ListWatchEvent<Node>>) -> bool {
        let nodes = events.into_iter().flat_map(|event| match event {
            ListWatchEvent::Page(nodes) => nodes,
            ListWatchEvent::Applied(node) => vec![node],
            ListWatchEvent::Deleted(_)
            | ListWatchEvent::Undecodable(_)
            | ListWatchEvent::DeletedUndecodable(_)
            | ListWatchEvent::ListStarted { .. }
            | ListWatchEvent::Listed { .. } => Vec::new(),
        });
        let unreachable = nodes.filter(Node::is_marked_unreachable);
        let numbers = unreachable.filter_map(|node| self.hollow.index(&node.metadata.name));
        let numbers: Vec<u32> = numbers.collect();
        stream::iter(numbers)
            .for_each_concurrent(self.parallel, |number| self.report_ready(number))
            .await;
        true
    }
}

impl Reporter<'_> {
    async fn report_ready(&self, number: u32) {
        let (_, status) = self.hollow.adoption_patches(number, Timestamp::now());
        let path = format!("/api/v1/nodes/{}/status", self.hollow.name(number));
        let form = Patch::Strategic.media_type();
        let sent = self.rest.send_only(Method::PATCH, &path, form, status);
        if let Err(error) = sent.await {
            tracing::warn!(node = self.hollow.name(number), %error, "cannot report the node ready");
        }
    }
}

/// Whether some bytes occur in others.
fn contains(text: &[u8], part: &[u8]) -> bool {
    let Some((first, rest)) = part.split_first() else {
        return true;
    };
    let mut text = text;
    while let Some(at) = text.iter().position(|byte| byte == first) {
        text = text.get(at + 1..).unwrap_or_default();
        if text.starts_with(rest) {
            return true;
        }
    }
    false
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

    #[test]
    fn parts_are_found() {
        assert!(contains(b"abcabd", b"abd") && contains(b"x", b"") && contains(b"aab", b"ab"));
        assert!(!contains(b"abcab", b"abd") && !contains(b"", b"a"));
    }
}
