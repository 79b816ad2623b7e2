//! What the pods of a node refer to. Upstream: `node.Graph`.
//!
//! Upstream keeps all edges in memory, from an informer that may lag behind. Here the watch cache
//! is the graph: it indexes pods by node, and the edges of a pod are in its spec. A write of a pod
//! costs nothing more, and a node that sees its pod can read what the pod refers to.

use std::sync::Arc;

use memchr::memmem::Finder;
use serde_json::Value;

use crate::{
    admission::is_mirror,
    cache::{
        object::Skip,
        watch_cache::{KindCache, WatchCache, key},
    },
    registry::{kinds, meta, pod_references},
};

/// The kinds of objects to which pods refer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vertex {
    Secret,
    ConfigMap,
    ServiceAccount,
}

/// The edges from the pods of a node to other objects.
#[derive(Debug)]
pub(super) struct Graph {
    cache: Arc<WatchCache>,
}

impl Graph {
    /// The graph of the pods in this cache.
    pub(super) const fn new(cache: Arc<WatchCache>) -> Self {
        Self { cache }
    }

    /// Whether a pod is bound to the node.
    pub(super) fn has_pod(&self, node: &str, namespace: &str, name: &str) -> bool {
        let Some((pods, prefix)) = self.pods(namespace) else {
            return false;
        };
        let pod = pods.get(&format!("{prefix}{name}"));
        pod.is_some_and(|pod| pod.indexed_value() == node)
    }

    /// Whether a pod that is bound to the node refers to the object.
    pub(super) fn refers(&self, node: &str, vertex: Vertex, namespace: &str, name: &str) -> bool {
        let Some((pods, prefix)) = self.pods(namespace) else {
            return false;
        };
        // Names contain no characters that JSON escapes, so a pod without this text does not refer
        // to the object and need not be parsed.
        let quoted = format!("\"{name}\"");
        let quoted = Finder::new(&quoted);
        let pods = pods.indexed(&prefix, node);
        let candidates = pods.iter().filter(|pod| quoted.find(&pod.bytes).is_some());
        let mut parsed = candidates.filter_map(|pod| pod.value_without(Skip::ManagedFields).ok());
        parsed.any(|(pod, _)| refers(&pod, vertex, name))
    }

    /// All pods, and the prefix of the keys of those in a namespace.
    fn pods(&self, namespace: &str) -> Option<(Arc<KindCache>, String)> {
        let kind = kinds::pods().ok()?;
        Some((self.cache.of(kind)?, key(kind, namespace, "").to_string()))
    }
}

/// Whether a pod refers to an object. A mirror pod, which a node can create, gives no rights.
fn refers(pod: &Value, vertex: Vertex, name: &str) -> bool {
    if is_mirror(pod) {
        return false;
    }
    match vertex {
        Vertex::Secret => pod_references::secrets(pod).any(|found| found == name),
        Vertex::ConfigMap => pod_references::config_maps(pod).any(|found| found == name),
        Vertex::ServiceAccount => meta::text_at(pod, &["spec", "serviceAccountName"]) == name,
    }
}
