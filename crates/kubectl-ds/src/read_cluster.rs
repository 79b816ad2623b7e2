//! Reads a snapshot from a cluster. Pods of other owners are read only for nodes whose verdict
//! needs them.

use std::collections::BTreeMap;

use pandaemon_explain::{DaemonPod, Node, Revision, Snapshot};
use pandaemon_types::{Name, PodView, Timestamp};
use serde_json::Value;

use crate::{cluster::Cluster, error::CommandError};

/// With more nodes than this, the pods of the whole cluster are read instead of those of each node.
const NODES_ONE_BY_ONE: usize = 20;

/// The current time.
pub(crate) fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_millisecond())
}

/// The path of a namespace's DaemonSets.
pub(crate) fn sets_path(namespace: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/daemonsets")
}

/// The path of a namespace's ControllerRevisions.
pub(crate) fn revisions_path(namespace: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/controllerrevisions")
}

/// The path of a namespace's pods.
pub(crate) fn pods_path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

impl Cluster {
    /// Reads a DaemonSet.
    pub(crate) async fn set(&self, namespace: &str, name: &str) -> Result<Value, CommandError> {
        let found = self.find_set(namespace, name).await?;
        found.ok_or_else(|| CommandError::not_found("daemonsets.apps", name))
    }

    /// Reads a DaemonSet that need not exist.
    pub(crate) async fn find_set(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, CommandError> {
        self.get(&format!("{}/{name}", sets_path(namespace))).await
    }

    /// Reads nodes, revisions, pods and events for a DaemonSet; `node` must exist.
    pub(crate) async fn snapshot(
        &self,
        set: Value,
        node: Option<&str>,
    ) -> Result<Snapshot, CommandError> {
        // All nodes, as the budget of an update depends on them.
        let nodes = self.list::<Node>("/api/v1/nodes", "", "").await?;
        if let Some(name) = node
            && !nodes.iter().any(|node| *node.view.name == *name)
        {
            return Err(CommandError::not_found("nodes", name));
        }
        let mut snapshot = self.daemons(set).await?;
        snapshot.nodes = nodes;
        snapshot.events = self.events(&snapshot.set).await;
        Ok(snapshot)
    }

    /// Reads revisions and pods of a DaemonSet.
    pub(crate) async fn daemons(&self, set: Value) -> Result<Snapshot, CommandError> {
        let namespace = set["metadata"]["namespace"].as_str().unwrap_or_default();
        let labels = labels(&set);
        let (revisions, pods) = (revisions_path(namespace), pods_path(namespace));
        let (revisions, pods) = futures::try_join!(
            self.list::<Revision>(&revisions, &labels, ""),
            self.list::<DaemonPod>(&pods, &labels, ""),
        )?;
        Ok(Snapshot {
            set,
            revisions,
            nodes: Vec::new(),
            pods,
            node_pods: Some(BTreeMap::new()),
            events: Vec::new(),
            now: now(),
        })
    }

    /// Events about the DaemonSet; none if they cannot be read.
    async fn events(&self, set: &Value) -> Vec<Value> {
        let metadata = &set["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        let path = format!("/api/v1/namespaces/{}/events", text("namespace"));
        let fields = format!(
            "involvedObject.kind=DaemonSet,involvedObject.name={}",
            text("name")
        );
        self.list(&path, "", &fields).await.unwrap_or_default()
    }

    /// All pods of some nodes; `None` if reading them is forbidden or fails.
    pub(crate) async fn node_pods(
        &self,
        nodes: &[Name],
        all: bool,
    ) -> Option<BTreeMap<Name, Vec<PodView>>> {
        let mut found: BTreeMap<Name, Vec<PodView>> = BTreeMap::new();
        let selectors: Vec<String> = if nodes.len() <= NODES_ONE_BY_ONE || !all {
            let fields = nodes.iter().map(|node| format!("spec.nodeName={node}"));
            fields.collect()
        } else {
            vec!["spec.nodeName!=".to_owned()]
        };
        for fields in selectors {
            let pods = self.list::<PodView>("/api/v1/pods", "", &fields).await;
            for pod in pods.ok()? {
                if let Some(node) = &pod.node {
                    found.entry(Name::clone(node)).or_default().push(pod);
                }
            }
        }
        Some(found)
    }
}

/// The DaemonSet's selector as a label selector of the API's query syntax.
pub(crate) fn labels(set: &Value) -> String {
    let selector = &set["spec"]["selector"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut parts = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        parts.push(format!("{key}={}", text(value)));
    }
    for test in selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let (key, values) = (text(&test["key"]), test["values"].as_array());
        let values: Vec<String> = values.into_iter().flatten().map(text).collect();
        let values = values.join(",");
        parts.push(match test["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key,
        });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_are_written_in_query_syntax() {
        let set = json!({"spec": {"selector": {
        "matchLabels": {"app": "a"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["x", "y"]},
            {"key": "old", "operator": "DoesNotExist"},
            {"key": "new", "operator": "Exists"},
        ]}}});
        assert_eq!(labels(&set), "app=a,tier in (x,y),!old,new");
    }
}
