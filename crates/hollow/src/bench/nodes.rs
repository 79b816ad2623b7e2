//! Waits until all nodes of a run are usable: a new node carries a `not-ready` taint until the control plane
//! has seen that it is ready, and a DaemonSet gets no pod there before.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Result, bail};
use kube::Client;
use serde::Deserialize;
use tokio::{sync::mpsc, time::Instant};

use super::cluster::LABEL;
use crate::follow::{self, Change, Source, follow};

#[derive(Debug, Deserialize)]
struct Node {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Box<str>,
    #[serde(default)]
    resource_version: Box<str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    taints: Vec<Taint>,
}

#[derive(Debug, Deserialize)]
struct Taint {
    key: Box<str>,
}

impl follow::Object for Node {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}

impl Node {
    fn is_usable(&self) -> bool {
        let mut taints = self.spec.taints.iter();
        !taints.any(|taint| taint.key.starts_with("node.kubernetes.io/"))
    }
}

/// The number of usable nodes so far.
#[derive(Debug, Default)]
pub(super) struct Usable(AtomicUsize);

impl Usable {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Returns when this number of a run's nodes is usable.
pub(super) async fn wait_until_usable(
    client: &Client,
    run_id: &str,
    count: u32,
    usable: &Usable,
) -> Result<Instant> {
    let (send, mut changes) = mpsc::channel(follow::QUEUE);
    let source = Source {
        path: format!(
            "/api/v1/nodes?labelSelector={}%3D{run_id}&",
            LABEL.replace('/', "%2F")
        ),
        from_now: false,
    };
    let count = usize::try_from(count)?;
    let reading = async {
        let mut names = HashSet::new();
        while let Some(batch) = changes.recv().await {
            for change in batch {
                apply(&mut names, change);
            }
            usable.0.store(names.len(), Ordering::Relaxed);
            if names.len() >= count {
                return Some(Instant::now());
            }
        }
        None
    };
    tokio::select! {
        () = follow::<Node>(client.clone(), source, send) => bail!("the watch of the nodes ended"),
        Some(done) = reading => Ok(done),
    }
}

fn apply(names: &mut HashSet<Box<str>>, change: Change<Node>) {
    match change {
        Change::All(nodes) => {
            let usable = nodes.into_iter().filter(Node::is_usable);
            *names = usable.map(|node| node.metadata.name).collect();
        }
        Change::Put(node) if node.is_usable() => {
            names.insert(node.metadata.name);
        }
        Change::Put(node) | Change::Gone(node) => {
            names.remove(&node.metadata.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_usable_once_it_has_no_taint_of_the_control_plane() {
        let node = |name: &str, taints: &[&str]| -> Node {
            let taints: Vec<_> = taints.iter().map(|key| json!({"key": key})).collect();
            let object = json!({"metadata": {"name": name}, "spec": {"taints": taints}});
            serde_json::from_value(object).unwrap()
        };
        let mut names = HashSet::new();
        apply(
            &mut names,
            Change::Put(node("a", &["node.kubernetes.io/not-ready"])),
        );
        apply(&mut names, Change::Put(node("b", &["mine"])));
        assert_eq!(names, HashSet::from(["b".into()]));
        apply(&mut names, Change::Put(node("a", &[])));
        apply(&mut names, Change::Gone(node("b", &[])));
        assert_eq!(names, HashSet::from(["a".into()]));
        apply(&mut names, Change::All(vec![node("c", &[])]));
        assert_eq!(names, HashSet::from(["c".into()]));
    }
}
