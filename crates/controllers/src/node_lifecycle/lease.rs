//! The lease of a node: what its agent renews as its heartbeat.
//!
//! Renewals are most of the events of a large cluster, so that only the fields that are needed are
//! decoded.

use std::sync::LazyLock;

use pandaemon_client::object_meta::{Object, ObjectMeta};
use serde::{Deserialize, Deserializer};

/// A Lease in the namespace kube-node-lease; its name is the node's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Lease {
    /// Name, uid and resource version; the other fields are empty.
    #[serde(deserialize_with = "identity")]
    pub(super) metadata: ObjectMeta,
    pub(super) spec: LeaseSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LeaseSpec {
    pub(super) renew_time: Option<String>,
}

impl Lease {
    /// The time of the last renewal by the node's clock, as text; empty without one.
    pub(super) fn renew_time(&self) -> &str {
        self.spec.renew_time.as_deref().unwrap_or_default()
    }
}

impl Object for Lease {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// Decodes what identifies an object, and skips labels, owners and the rest.
fn identity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Identity {
        name: String,
        uid: String,
        resource_version: String,
    }
    // Empty labels and owners are shared, so that they cost no allocation.
    static EMPTY: LazyLock<ObjectMeta> = LazyLock::new(ObjectMeta::default);
    let identity = Identity::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: identity.name,
        uid: identity.uid,
        resource_version: identity.resource_version,
        ..EMPTY.clone()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lease_is_decoded_to_what_identifies_it_and_its_renew_time() {
        let object = json!({
            "metadata": {
                "name": "n1", "namespace": "kube-node-lease", "uid": "u", "resourceVersion": "7",
                "labels": { "a": "b" },
                "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "x" }],
            },
            "spec": { "holderIdentity": "n1", "renewTime": "2026-01-01T00:00:00.000000Z" },
        });
        let lease = Lease::deserialize(&object).unwrap();
        let meta = lease.meta();
        assert_eq!((&*meta.name, &*meta.uid), ("n1", "u"));
        assert_eq!(meta.version(), 7, "a list-watch goes on from it");
        assert!(meta.labels.is_empty() && meta.owner_references.is_empty());
        assert_eq!(lease.renew_time(), "2026-01-01T00:00:00.000000Z");
    }
}
