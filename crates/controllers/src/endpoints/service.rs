//! A Service, as the endpoint controllers see it.

use std::{collections::BTreeMap, time::Duration};

use pandaemon_client::object_meta::{Object, ObjectMeta};
use serde::Deserialize;
use serde_json::Value;

/// Services that are written at the same time; upstream's default is 5.
pub(super) const WORKERS: usize = 8;
/// A service waits so long after a change of a pod, so that changes of many pods are one write.
pub(super) const BATCH_DELAY: Duration = Duration::from_millis(50);

/// The fields of a Service that its endpoints depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Service {
    /// The Service's `metadata`.
    pub metadata: ObjectMeta,
    /// The Service's `spec`.
    pub spec: ServiceSpec,
}

/// The spec of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// Labels of its pods; empty: its endpoints are written by a user.
    pub selector: BTreeMap<String, String>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// `None` (the text) for headless services.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    /// `ClusterIP`, `ExternalName` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether pods that are not ready are published as ready.
    pub publish_not_ready_addresses: bool,
    /// Its address families, `IPv4` or `IPv6`.
    pub ip_families: Vec<String>,
}

/// A port of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Its name; absent for an only port.
    pub name: Option<String>,
    /// The port of the service.
    pub port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Option<String>,
    /// The pods' port, by number or name.
    pub target_port: Option<Value>,
    /// The application protocol.
    pub app_protocol: Option<String>,
}

impl Service {
    /// Whether it is headless: it has no cluster IP.
    #[must_use]
    pub fn is_headless(&self) -> bool {
        self.spec.cluster_ip.as_deref() == Some("None")
    }

    /// Whether a controller writes its endpoints: it has a selector and is not an ExternalName.
    #[must_use]
    pub fn has_managed_endpoints(&self) -> bool {
        !self.spec.selector.is_empty() && self.spec.kind != "ExternalName"
    }

    /// Whether it selects pods of the namespace with these labels.
    #[must_use]
    pub fn selects(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        self.has_managed_endpoints()
            && self.metadata.namespace == namespace
            && self
                .spec
                .selector
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
    }
}

impl Object for Service {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}
