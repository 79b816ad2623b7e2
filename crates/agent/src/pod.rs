//! One pod on this node: what it needs, how it is started, kept and stopped.

pub(crate) mod act;
pub(crate) mod container;
pub(crate) mod env;
pub(crate) mod hooks;
pub(crate) mod inputs;
pub(crate) mod kill;
pub(crate) mod observe;
pub(crate) mod probes;
pub(crate) mod resources;
pub(crate) mod sandbox;
pub(crate) mod security;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod view;
pub(crate) mod worker;

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A pod that has been checked to have a name, namespace, uid and specification.
#[derive(Debug, Clone)]
pub(crate) struct PodRef {
    /// The object.
    pub object: Pod,
    /// Its specification.
    pub spec: PodSpec,
    /// Its containers for debugging, as containers.
    pub ephemeral: Vec<Container>,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
}

impl PodRef {
    /// The pod, unless a part that every stored pod has is missing.
    #[must_use]
    pub(crate) fn new(mut object: Pod) -> Option<Self> {
        let spec = object.spec.take()?;
        let ephemeral = spec.ephemeral_containers.iter().flatten();
        Some(Self {
            ephemeral: ephemeral.filter_map(plain).collect(),
            name: object.metadata.name.clone()?,
            namespace: object.metadata.namespace.clone()?,
            uid: object.metadata.uid.clone()?,
            spec,
            object,
        })
    }

    /// The whole object again.
    #[must_use]
    pub(crate) fn to_object(&self) -> Pod {
        Pod {
            spec: Some(self.spec.clone()),
            ..self.object.clone()
        }
    }

    /// Whether the pod uses the node's own network.
    #[must_use]
    pub(crate) fn host_network(&self) -> bool {
        self.spec.host_network.unwrap_or(false)
    }

    /// A container of any kind by name, and whether it is an init container.
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

    /// The container whose processes this container for debugging is to see.
    #[must_use]
    pub(crate) fn target(&self, name: &str) -> Option<&str> {
        let mut debugging = self.spec.ephemeral_containers.iter().flatten();
        let one = debugging.find(|one| one.name == name)?;
        one.target_container_name
            .as_deref()
            .filter(|name| !name.is_empty())
    }

    /// All containers but those for debugging, init containers first.
    pub(crate) fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.spec
            .init_containers
            .iter()
            .flatten()
            .chain(&self.spec.containers)
    }

    /// `NAME_NAMESPACE(UID)`, as messages name a pod.
    #[must_use]
    pub(crate) fn label(&self) -> String {
        format!("{}_{}({})", self.name, self.namespace, self.uid)
    }

    /// How long the pod may take to stop, in seconds: never less than one, as with the kubelet.
    #[must_use]
    pub(crate) fn grace_seconds(&self) -> i64 {
        let asked = self.object.metadata.deletion_grace_period_seconds;
        asked
            .or(self.spec.termination_grace_period_seconds)
            .unwrap_or(30)
            .max(1)
    }
}

/// A container for debugging has the fields of a container, and its target.
fn plain(container: &EphemeralContainer) -> Option<Container> {
    serde_json::from_value(serde_json::to_value(container).ok()?).ok()
}

/// The number of a port that may be given by name.
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
