//! The Service `default/kubernetes`, its Endpoints and its EndpointSlice: the addresses of the API
//! servers. Upstream: `pkg/controlplane/controller/kubernetesservice`,
//! `pkg/controlplane/reconcilers`.

use std::{collections::BTreeSet, net::Ipv4Addr};

use pandaemon_machinery::{KindRef, status::Result};
use pandaemon_types::cluster_ip;
use serde_json::{Value, json};

use super::{
    Registry, kinds,
    meta::{at, text_at},
    options::DeleteOptions,
    unreadable,
};

const NAMESPACE: &str = "default";
const NAME: &str = "kubernetes";
/// The name of the port, in the Service and in its endpoints.
const PORT_NAME: &str = "https";
/// The port of the servers in a Service that is made before it is known.
const DEFAULT_PORT: u16 = 6443;
/// The label of a slice with the name of its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The addresses and the port by which nodes and pods reach the API servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Servers {
    pub addresses: BTreeSet<Ipv4Addr>,
    pub port: u16,
}

/// The Service as it is created.
pub(super) fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": NAME, "namespace": NAMESPACE,
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": cluster_ip::KUBERNETES.to_string(),
            "ports": [{
                "name": PORT_NAME, "port": cluster_ip::KUBERNETES_PORT, "protocol": "TCP", "targetPort": DEFAULT_PORT,
            }],
            "sessionAffinity": "None",
        },
    })
}

/// Creates the Service, its Endpoints and its slice, or sets in them what differs. Other slices of
/// the Service are deleted. Without addresses, only the Service is created: the last endpoints
/// stay, as upstream, for they are more useful than none.
///
/// # Errors
/// The status of a failed write. The next call does the rest.
pub(crate) async fn reconcile(registry: &Registry, servers: &Servers) -> Result<()> {
    let kinds = (
        kinds::services()?,
        kinds::endpoints()?,
        kinds::endpoint_slices()?,
    );
    let is_known = !servers.addresses.is_empty();
    let set_port = |service: &mut Value| {
        if is_known {
            set_target_port(service, servers.port);
        }
    };
    let call = |kind: &KindRef| registry.internal_call(kind, NAMESPACE, NAME);
    registry.ensure(&call(kinds.0), service, set_port).await?;
    if !is_known {
        return Ok(());
    }
    let new = || object("v1", "Endpoints");
    let set = |found: &mut Value| set_endpoints(found, servers);
    registry.ensure(&call(kinds.1), new, set).await?;
    delete_other_slices(registry, kinds.2).await?;
    let new = || {
        let mut slice = object("discovery.k8s.io/v1", "EndpointSlice");
        slice["addressType"] = "IPv4".into();
        slice
    };
    let set = |found: &mut Value| set_slice(found, servers);
    registry.ensure(&call(kinds.2), new, set).await
}

fn object(api_version: &str, kind: &str) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {"name": NAME, "namespace": NAMESPACE},
    })
}

/// Lets the Service's port of this name lead to that port of the servers.
fn set_target_port(service: &mut Value, port: u16) {
    let ports = service["spec"]["ports"].as_array_mut();
    let mut ports = ports.into_iter().flatten();
    if let Some(found) = ports.find(|found| found["name"] == PORT_NAME) {
        found["targetPort"] = port.into();
    }
}

fn set_endpoints(endpoints: &mut Value, servers: &Servers) {
    let ips = servers.addresses.iter();
    let addresses: Vec<Value> = ips.map(|ip| json!({"ip": ip})).collect();
    // The slice is written here, not by a controller that mirrors Endpoints.
    endpoints["metadata"]["labels"] = json!({"endpointslice.kubernetes.io/skip-mirror": "true"});
    endpoints["subsets"] = json!([{"addresses": addresses, "ports": [port(servers)]}]);
}

fn set_slice(slice: &mut Value, servers: &Servers) {
    let ips = servers.addresses.iter();
    let endpoints: Vec<Value> = ips
        .map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}}))
        .collect();
    slice["metadata"]["labels"] = json!({SERVICE_NAME: NAME});
    slice["endpoints"] = endpoints.into();
    slice["ports"] = json!([port(servers)]);
}

fn port(servers: &Servers) -> Value {
    json!({"name": PORT_NAME, "port": servers.port, "protocol": "TCP"})
}

/// Deletes what else claims to be a slice of the Service, and the slice itself if it is for another
/// kind of addresses, which cannot be changed.
async fn delete_other_slices(registry: &Registry, kind: &KindRef) -> Result<()> {
    let slices = registry.cache.of(kind);
    let all = slices.into_iter().flat_map(|cache| cache.every());
    let mut others = Vec::new();
    for slice in all.filter(|slice| slice.namespace() == NAMESPACE) {
        let value = slice.value().map_err(unreadable)?;
        let is_ours = slice.name() == NAME;
        let is_labelled =
            at(&value, &["metadata", "labels", SERVICE_NAME]).is_some_and(|name| name == NAME);
        let is_other_family = text_at(&value, &["addressType"]) != "IPv4";
        if is_ours && is_other_family || !is_ours && is_labelled {
            others.push(slice.name().to_owned());
        }
    }
    for name in others {
        let call = registry.internal_call(kind, NAMESPACE, &name);
        match registry.delete(&call, &DeleteOptions::default()).await {
            Err(status) if status.code != 404 => return Err(status),
            _ => tracing::info!(
                name,
                "deleted a slice of default/kubernetes that is not its own"
            ),
        }
    }
    Ok(())
}
