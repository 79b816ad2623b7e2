//! What a pod takes from its node: requested resources and host ports.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Quantity, object::or_default};

/// Amounts by resource name, such as `cpu`, `memory`, `nvidia.com/gpu`.
pub type Resources = BTreeMap<String, Quantity>;

/// A host port that a pod binds on its node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// The port number.
    pub port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The host address; `0.0.0.0` and `::` bind the port on every address.
    pub ip: String,
}

impl HostPort {
    /// Whether two pods of one node cannot both bind them.
    #[must_use]
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let any = |ip: &str| matches!(ip, "0.0.0.0" | "::");
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || any(&self.ip) || any(&other.ip))
    }
}

/// What a pod takes from its node.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodResources {
    /// Effective requests of the whole pod, as upstream's `PodRequests`.
    pub requests: Resources,
    /// Host ports, sorted, without duplicates.
    pub ports: Vec<HostPort>,
}

// === from JSON ===

/// The part of a pod's `spec` that its resources and host ports are computed from.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodResourceSpec {
    /// `spec.containers`.
    #[serde(deserialize_with = "or_default")]
    pub containers: Vec<Container>,
    /// `spec.initContainers`.
    #[serde(deserialize_with = "or_default")]
    pub init_containers: Vec<Container>,
    /// `spec.overhead`.
    #[serde(deserialize_with = "or_default")]
    pub overhead: Resources,
    /// `spec.hostNetwork`.
    pub host_network: Option<bool>,
}

/// The part of a container that its pod's resources and ports are computed from.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    #[serde(deserialize_with = "or_default")]
    resources: ContainerResources,
    /// `ports`.
    #[serde(deserialize_with = "or_default")]
    pub ports: Vec<Port>,
    restart_policy: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ContainerResources {
    #[serde(deserialize_with = "or_default")]
    requests: Resources,
    #[serde(deserialize_with = "or_default")]
    limits: Resources,
}

/// One entry of a container's `ports`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Port {
    /// The port's name.
    pub name: Option<String>,
    /// The port number in the container.
    pub container_port: Option<u16>,
    /// `TCP`, `UDP` or `SCTP`; empty is `TCP`.
    pub protocol: Option<String>,
    host_port: Option<u16>,
    #[serde(rename = "hostIP")]
    host_ip: Option<String>,
}

impl Container {
    /// Requests; a limit without a request is requested, as the API defaults it on pods.
    fn requests(&self) -> Resources {
        let mut requests = self.resources.limits.clone();
        requests.extend(
            self.resources
                .requests
                .iter()
                .map(|(name, q)| (name.clone(), *q)),
        );
        requests
    }

    /// Whether an init container runs beside the containers (`restartPolicy: Always`).
    #[must_use]
    pub fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

/// Adds `more` to `sum`.
pub fn add(sum: &mut Resources, more: &Resources) {
    for (name, quantity) in more {
        match sum.get_mut(name) {
            Some(total) => *total += *quantity,
            None => {
                sum.insert(name.clone(), *quantity);
            }
        }
    }
}

/// Subtracts `less` from `sum`; entries that become zero are removed.
pub fn subtract(sum: &mut Resources, less: &Resources) {
    for (name, quantity) in less {
        let total = sum.entry(name.clone()).or_default();
        *total -= *quantity;
        if total.is_zero() {
            sum.remove(name);
        }
    }
}

fn raise(sum: &mut Resources, other: &Resources) {
    for (name, quantity) in other {
        let total = sum.entry(name.clone()).or_default();
        *total = (*total).max(*quantity);
    }
}

impl From<&PodResourceSpec> for PodResources {
    /// As upstream's `PodRequests`: containers and sidecars together, or the largest step of
    /// initialisation if that is more, plus the overhead.
    fn from(spec: &PodResourceSpec) -> Self {
        let mut requests = Resources::new();
        for container in &spec.containers {
            add(&mut requests, &container.requests());
        }
        let (mut sidecars, mut largest) = (Resources::new(), Resources::new());
        for container in &spec.init_containers {
            let own = container.requests();
            let mut step = sidecars.clone();
            add(&mut step, &own);
            if container.is_sidecar() {
                add(&mut requests, &own);
                sidecars = step.clone();
            }
            raise(&mut largest, &step);
        }
        raise(&mut requests, &largest);
        add(&mut requests, &spec.overhead);
        requests.retain(|_, quantity| !quantity.is_zero());
        Self {
            requests,
            ports: spec.ports(),
        }
    }
}

impl PodResourceSpec {
    /// Whether the pod uses the host network.
    #[must_use]
    pub fn host_network(&self) -> bool {
        self.host_network == Some(true)
    }

    /// The ports of the containers and of the sidecars.
    pub fn container_ports(&self) -> impl Iterator<Item = &Port> {
        let sidecars = self
            .init_containers
            .iter()
            .filter(|container| container.is_sidecar());
        let containers = self.containers.iter().chain(sidecars);
        containers.flat_map(|container| &container.ports)
    }

    fn ports(&self) -> Vec<HostPort> {
        let ports = self.container_ports();
        let port = |port: &Port| {
            let implied = port.container_port.filter(|_| self.host_network());
            let number = port.host_port.filter(|port| *port != 0).or(implied)?;
            let text = |text: &Option<String>, default: &str| {
                text.clone()
                    .filter(|text| !text.is_empty())
                    .unwrap_or_else(|| default.to_owned())
            };
            let ip = text(&port.host_ip, "0.0.0.0");
            Some(HostPort {
                port: number,
                protocol: text(&port.protocol, "TCP"),
                ip,
            })
        };
        let mut ports: Vec<_> = ports.filter_map(port).collect();
        ports.sort();
        ports.dedup();
        ports
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resources_of(spec: serde_json::Value) -> PodResources {
        PodResources::from(&PodResourceSpec::deserialize(spec).unwrap())
    }

    #[test]
    fn init_containers_count_by_their_largest_step() {
        let container = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let mut sidecar = container("100m");
        sidecar["restartPolicy"] = json!("Always");
        let spec = json!({
            "containers": [container("1"), container("500m")],
            "initContainers": [sidecar, container("3")],
            "overhead": {"cpu": "10m"},
        });
        assert_eq!(resources_of(spec).requests["cpu"].to_string(), "3110m");
        let limit = json!({"containers": [{"resources": {"limits": {"memory": "1Gi"}}}]});
        assert_eq!(resources_of(limit).requests["memory"].to_string(), "1Gi");
    }

    #[test]
    fn host_ports_conflict_by_address() {
        let spec = json!({"hostNetwork": true, "containers": [{"ports": [
            {"containerPort": 9100}, {"containerPort": 53, "hostPort": 53, "protocol": "UDP", "hostIP": "10.0.0.1"},
        ]}]});
        let ports = resources_of(spec).ports;
        assert_eq!(ports.len(), 2);
        let other = |ip: &str| HostPort {
            port: 53,
            protocol: "UDP".into(),
            ip: ip.into(),
        };
        assert!(ports[0].conflicts_with(&other("0.0.0.0")));
        assert!(!ports[0].conflicts_with(&other("10.0.0.2")));
        assert!(ports[1].conflicts_with(&ports[1]));
        assert!(
            resources_of(json!({"containers": [{"ports": [{"containerPort": 80}]}]}))
                .ports
                .is_empty()
        );
    }
}
