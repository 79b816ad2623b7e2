//! The addresses of a service: those of the pods that it selects. Pure.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use super::service::{Service, ServicePort};
use crate::views::Pod;

/// A port of an endpoint. Ports are sorted by the fields in their order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Its name; empty for an only port.
    pub name: String,
    /// The port number, 1 to 65535.
    pub port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The application protocol.
    pub app_protocol: Option<String>,
}

/// A pod's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The IP address.
    pub ip: String,
    /// `IPv4` or `IPv6`.
    pub family: &'static str,
    /// The pod is ready and not terminating, or the service publishes all addresses.
    pub ready: bool,
    /// The pod is ready, even if it is terminating.
    pub serving: bool,
    /// The pod is being deleted.
    pub terminating: bool,
    /// The DNS name of the pod in a headless service.
    pub hostname: Option<String>,
    /// The pod's node.
    pub node: String,
    /// The pod's namespace, name and uid.
    pub target: (String, String, String),
    /// The service's ports at this pod.
    pub ports: BTreeSet<Port>,
}

impl Address {
    /// The `targetRef` to the pod.
    #[must_use]
    pub fn target_ref(&self) -> Value {
        let (namespace, name, uid) = &self.target;
        json!({ "kind": "Pod", "namespace": namespace, "name": name, "uid": uid })
    }
}

/// The addresses of a service's pods, each with the ports that it has there.
#[must_use]
pub fn addresses<'a>(service: &Service, pods: impl Iterator<Item = &'a Arc<Pod>>) -> Vec<Address> {
    let mut addresses: Vec<Address> = pods
        .filter(|pod| !pod.phase.is_terminal())
        .flat_map(|pod| pod.ips.iter().map(move |ip| address(service, pod, ip)))
        .collect();
    addresses.sort_by(|a, b| (&a.ip, &a.target).cmp(&(&b.ip, &b.target)));
    addresses
}

fn address(service: &Service, pod: &Pod, ip: &str) -> Address {
    let (serving, terminating) = (pod.ready == Some(true), pod.meta.is_deleting());
    let named =
        service.is_headless() && pod.subdomain == service.metadata.name && !pod.hostname.is_empty();
    let publish = service.spec.publish_not_ready_addresses;
    Address {
        ip: ip.to_owned(),
        family: if ip.contains(':') { "IPv6" } else { "IPv4" },
        ready: publish || (serving && !terminating),
        serving,
        terminating,
        hostname: named.then(|| pod.hostname.clone()),
        node: pod.node.clone(),
        target: (
            pod.meta.namespace.clone(),
            pod.meta.name.clone(),
            pod.meta.uid.clone(),
        ),
        ports: service
            .spec
            .ports
            .iter()
            .filter_map(|port| find(port, pod))
            .collect(),
    }
}

fn find(port: &ServicePort, pod: &Pod) -> Option<Port> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let number = match &port.target_port {
        None => port.port,
        Some(Value::String(name)) => {
            let same = |known: &str| known == protocol || (known.is_empty() && protocol == "TCP");
            pod.ports
                .iter()
                .find(|p| p.name == *name && same(&p.protocol))?
                .container_port
        }
        Some(number) => u16::try_from(number.as_u64()?)
            .ok()
            .map(|n| if n == 0 { port.port } else { n })?,
    };
    Some(Port {
        name: port.name.clone().unwrap_or_default(),
        port: number,
        protocol: protocol.to_owned(),
        app_protocol: port.app_protocol.clone(),
    })
}
