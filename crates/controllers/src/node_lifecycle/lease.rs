//! The lease of a node: what its agent renews as its heartbeat.

use pandaemon_client::object_meta::{Object, ObjectMeta};
use serde::Deserialize;

/// A Lease in the namespace kube-node-lease; its name is the node's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Lease {
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
