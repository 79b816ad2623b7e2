//! Mirror pods: the pods in the API that represent the static pods of a node.

use serde_json::Value;

use crate::registry::meta;

/// The annotation of mirror pods.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";

/// The pointer to it, and to those beside it.
pub(super) const ANNOTATIONS: &str = "/metadata/annotations";

/// Whether a pod is one.
pub(crate) fn is_mirror(pod: &Value) -> bool {
    meta::at(pod, &["metadata", "annotations", MIRROR]).is_some()
}
