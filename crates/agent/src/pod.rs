//! The pods of this node: their workers, and what the workers use.

pub(crate) mod action_result;
pub(crate) mod actions;
pub(crate) mod api_status;
pub(crate) mod backoff_events;
pub(crate) mod container;
pub(crate) mod desired;
pub(crate) mod env;
pub(crate) mod handlers;
pub(crate) mod kill;
pub(crate) mod observe;
pub(crate) mod probes;
pub(crate) mod references;
pub(crate) mod resources;
pub(crate) mod sandbox;
pub(crate) mod security;
pub(crate) mod start;
pub(crate) mod worker;

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A pod object that has a name, namespace, uid and spec.
#[derive(Debug, Clone)]
pub(crate) struct PodRef {
    /// The object without its spec.
    pub object: Pod,
    pub spec: PodSpec,
    /// Its ephemeral containers, in the form of containers.
    pub ephemeral: Vec<Container>,
    pub name: String,
    pub namespace: String,
    pub uid: String,
}

impl PodRef {
    /// The pod; `None` if it lacks a name, namespace, uid or spec, which every stored pod has.
    #[must_use]
    pub(crate) fn new(mut object: Pod) -> Option<Self> {
        let spec = object.spec.take()?;
        let ephemeral = spec.ephemeral_containers.iter().flatten();
        Some(Self {
            ephemeral: ephemeral.filter_map(as_container).collect(),
            name: object.metadata.name.clone()?,
            namespace: object.metadata.namespace.clone()?,
            uid: object.metadata.uid.clone()?,
            spec,
            object,
        })
    }

    /// The whole object.
    #[must_use]
    pub(crate) fn to_object(&self) -> Pod {
        Pod {
            spec: Some(self.spec.clone()),
            ..self.object.clone()
        }
    }

    /// Whether the pod uses the host network.
    #[must_use]
    pub(crate) fn host_network(&self) -> bool {
        self.spec.host_network.unwrap_or(false)
    }

    /// The container of this name, of any kind, and whether it is an init container.
    #[must_use]
    pub(crate) fn container(&self, name: &str) -> Option<(&Container, bool)> {
        let main = self.spec.containers.iter().find(|one| one.name == name);
        let init = || {
            self.spec
                .init_containers
                .iter()
                .flatten()
                .find(|one| one.name == name)
        };
        let ephemeral = || self.ephemeral.iter().find(|one| one.name == name);
        main.map(|one| (one, false))
            .or_else(|| init().map(|one| (one, true)))
            .or_else(|| ephemeral().map(|one| (one, false)))
    }

    /// The container whose process namespace an ephemeral container shares.
    #[must_use]
    pub(crate) fn target(&self, name: &str) -> Option<&str> {
        let mut ephemeral = self.spec.ephemeral_containers.iter().flatten();
        let one = ephemeral.find(|one| one.name == name)?;
        one.target_container_name
            .as_deref()
            .filter(|name| !name.is_empty())
    }

    /// All init containers and main containers.
    pub(crate) fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.spec
            .init_containers
            .iter()
            .flatten()
            .chain(&self.spec.containers)
    }

    /// `NAME_NAMESPACE(UID)`, the form that the kubelet's messages use.
    #[must_use]
    pub(crate) fn label(&self) -> String {
        format!("{}_{}({})", self.name, self.namespace, self.uid)
    }

    /// The grace period in seconds; at least 1, as in the kubelet.
    #[must_use]
    pub(crate) fn grace_seconds(&self) -> i64 {
        let asked = self.object.metadata.deletion_grace_period_seconds;
        asked
            .or(self.spec.termination_grace_period_seconds)
            .unwrap_or(30)
            .max(1)
    }
}

/// An ephemeral container as a container: it has the same fields and a target.
fn as_container(container: &EphemeralContainer) -> Option<Container> {
    serde_json::from_value(serde_json::to_value(container).ok()?).ok()
}

/// The number of a container port that is given by number or name.
#[must_use]
pub(crate) fn port_number(port: &IntOrString, container: &Container) -> Option<u16> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            let named = ports
                .into_iter()
                .find(|port| port.name.as_deref() == Some(name));
            let number = named.map(|port| port.container_port);
            number
                .and_then(|number| u16::try_from(number).ok())
                .or_else(|| name.parse().ok())
        }
    }
}
