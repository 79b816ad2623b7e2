//! Reads a world from a cluster: little at first, the pods of other owners only where they matter.

use std::collections::BTreeMap;

use pandaemon_types::{Name, PodView, Timestamp};
use serde_json::Value;

use crate::{
    cluster::Cluster,
    failed::Failed,
    world::{Daemon, Node, Revision, World},
};

/// With more nodes than this, the pods of the whole cluster are read instead of those of each node.
const NODES_ONE_BY_ONE: usize = 20;

/// The time.
pub(crate) fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_millisecond())
}

/// Where a namespace's DaemonSets are.
pub(crate) fn sets_path(namespace: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/daemonsets")
}

/// Where a namespace's pods are.
pub(crate) fn pods_path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

impl Cluster {
    /// Reads a DaemonSet.
    pub(crate) async fn set(&self, namespace: &str, name: &str) -> Result<Value, Failed> {
        let found = self.find_set(namespace, name).await?;
        found.ok_or_else(|| Failed::not_found("daemonsets.apps", name))
    }

    /// Reads a DaemonSet that need not exist.
    pub(crate) async fn find_set(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, Failed> {
        self.get(&format!("{}/{name}", sets_path(namespace))).await
    }

    /// Reads what surrounds a DaemonSet; `node` must exist.
    pub(crate) async fn world(&self, set: Value, node: Option<&str>) -> Result<World, Failed> {
        // All nodes, as the budget of an update depends on them.
        let nodes = self.list::<Node>("/api/v1/nodes", "", "").await?.0;
        if let Some(name) = node
            && !nodes.iter().any(|node| *node.view.name == *name)
        {
            return Err(Failed::not_found("nodes", name));
        }
        let (mut world, _) = self.daemons(set).await?;
        world.nodes = nodes;
        world.events = self.events(&world.set).await;
        Ok(world)
    }

    /// Reads revisions and pods of a DaemonSet; the version of the pods.
    pub(crate) async fn daemons(&self, set: Value) -> Result<(World, String), Failed> {
        let namespace = set["metadata"]["namespace"].as_str().unwrap_or_default();
        let labels = labels(&set);
        let revisions = format!("/apis/apps/v1/namespaces/{namespace}/controllerrevisions");
        let pods = pods_path(namespace);
        let (revisions, pods) = futures::try_join!(
            self.list::<Revision>(&revisions, &labels, ""),
            self.list::<Daemon>(&pods, &labels, ""),
        )?;
        let world = World {
            set,
            revisions: revisions.0,
            nodes: Vec::new(),
            pods: pods.0,
            neighbours: Some(BTreeMap::new()),
            events: Vec::new(),
            now: now(),
        };
        Ok((world, pods.1))
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
        let events = self.list(&path, "", &fields).await;
        events.map(|(events, _)| events).unwrap_or_default()
    }

    /// The pods of some nodes, whoever owns them; `None` if they may not be read.
    pub(crate) async fn neighbours(
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
            let (pods, _) = self
                .list::<PodView>("/api/v1/pods", "", &fields)
                .await
                .ok()?;
            for pod in pods {
                if let Some(node) = &pod.node {
                    found.entry(Name::clone(node)).or_default().push(pod);
                }
            }
        }
        Some(found)
    }
}

/// The selector as a query; pods that it does not select are none of the DaemonSet's.
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
    fn selectors_become_queries() {
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
