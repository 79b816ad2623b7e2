//! Waits until all nodes of a run are usable: a new node carries a `not-ready` taint until the
//! control plane has seen that it is ready, and a DaemonSet gets no pod there before.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Result, bail};
use kube::Client;
use pandaemon_client::{
    list_watch::{Delta, ListWatch, watch},
    object_meta::{Object, ObjectMeta},
};
use pandaemon_runtime::Shutdown;
use serde::Deserialize;
use tokio::time::Instant;

use super::cluster::LABEL;

#[derive(Debug, Clone, Deserialize)]
struct Node {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
}

impl Object for Node {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Spec {
    taints: Vec<Taint>,
}

#[derive(Debug, Clone, Deserialize)]
struct Taint {
    key: Box<str>,
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
    let count = usize::try_from(count)?;
    let source = ListWatch::all("/api/v1/nodes").labels(format!("{LABEL}={run_id}"));
    let mut deltas = watch::<Node>(client.clone(), source, Shutdown::default());
    let mut uids = HashSet::new();
    while let Some(delta) = deltas.recv().await {
        apply(&mut uids, delta);
        usable.0.store(uids.len(), Ordering::Relaxed);
        if uids.len() >= count {
            return Ok(Instant::now());
        }
    }
    bail!("the watch of the nodes ended")
}

fn apply(uids: &mut HashSet<String>, delta: Delta<Node>) {
    match delta {
        Delta::Listed(nodes) => {
            let usable = nodes.into_iter().filter(Node::is_usable);
            *uids = usable.map(|node| node.metadata.uid).collect();
        }
        Delta::Applied(node) if node.is_usable() => {
            uids.insert(node.metadata.uid);
        }
        Delta::Applied(node) | Delta::Deleted(node) => {
            uids.remove(&node.metadata.uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_usable_once_it_has_no_taint_of_the_control_plane() {
        let node = |uid: &str, taints: &[&str]| -> Node {
            let taints: Vec<_> = taints.iter().map(|key| json!({"key": key})).collect();
            let object = json!({"metadata": {"name": "n", "uid": uid}, "spec": {"taints": taints}});
            serde_json::from_value(object).unwrap()
        };
        let mut uids = HashSet::new();
        apply(
            &mut uids,
            Delta::Applied(node("a", &["node.kubernetes.io/not-ready"])),
        );
        apply(&mut uids, Delta::Applied(node("b", &["mine"])));
        assert_eq!(uids, HashSet::from(["b".into()]));
        apply(&mut uids, Delta::Applied(node("a", &[])));
        apply(&mut uids, Delta::Deleted(node("b", &[])));
        assert_eq!(uids, HashSet::from(["a".into()]));
        apply(&mut uids, Delta::Listed(vec![node("c", &[])]));
        assert_eq!(uids, HashSet::from(["c".into()]));
    }
}
