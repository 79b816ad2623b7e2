//! The Endpoints object of a service. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    addresses::{Address, Port},
    service::Service,
};

/// The most addresses in Endpoints, as upstream; further ones are left out.
const MAX_ADDRESSES: usize = 1_000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// The label that names the controller of an object.
pub const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// The name of upstream's controller, which this one replaces.
pub const MANAGER: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Builds the Endpoints object.
#[must_use]
pub fn endpoints(service: &Service, addresses: &[Address]) -> Value {
    let family = service
        .spec
        .ip_families
        .first()
        .map_or("IPv4", String::as_str);
    let publish = service.spec.publish_not_ready_addresses;
    // A terminating pod is an endpoint only with `publishNotReadyAddresses`.
    let mut usable: Vec<&Address> = addresses
        .iter()
        .filter(|address| address.family == family && (publish || !address.terminating))
        .collect();
    let cut = usable.len() > MAX_ADDRESSES;
    if cut {
        usable.sort_by_key(|address| !address.ready);
        usable.truncate(MAX_ADDRESSES);
    }
    let mut labels = (*service.metadata.labels).clone();
    labels.remove(HEADLESS);
    if service.is_headless() {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut metadata = json!({
        "name": service.metadata.name, "namespace": service.metadata.namespace, "labels": labels,
    });
    if cut {
        metadata["annotations"] = json!({ OVER_CAPACITY: "truncated" });
    }
    let mut object = json!({ "apiVersion": "v1", "kind": "Endpoints", "metadata": metadata });
    let subsets = subsets(service, &usable);
    if !subsets.is_empty() {
        object["subsets"] = Value::Array(subsets);
    }
    object
}

fn subsets(service: &Service, addresses: &[&Address]) -> Vec<Value> {
    let mut groups: BTreeMap<Vec<&Port>, [Vec<Value>; 2]> = BTreeMap::new();
    for address in addresses {
        // A pod that has none of the service's ports is no endpoint.
        if address.ports.is_empty() && !service.spec.ports.is_empty() {
            continue;
        }
        let group = groups.entry(address.ports.iter().collect()).or_default();
        let side = usize::from(!address.ready);
        if let Some(list) = group.get_mut(side) {
            list.push(entry(address));
        }
    }
    groups
        .into_iter()
        .map(|(ports, [ready, waiting])| {
            let mut subset = Map::new();
            for (field, list) in [("addresses", ready), ("notReadyAddresses", waiting)] {
                if !list.is_empty() {
                    subset.insert(field.to_owned(), Value::Array(list));
                }
            }
            if !ports.is_empty() {
                subset.insert("ports".to_owned(), ports.into_iter().map(port).collect());
            }
            Value::Object(subset)
        })
        .collect()
}

fn entry(address: &Address) -> Value {
    let mut entry = json!({ "ip": address.ip, "targetRef": address.target_ref() });
    if let Some(hostname) = &address.hostname {
        entry["hostname"] = json!(hostname);
    }
    if !address.node.is_empty() {
        entry["nodeName"] = json!(address.node);
    }
    entry
}

/// A port in the form of Endpoints and EndpointSlices.
#[must_use]
pub fn port(port: &Port) -> Value {
    let mut value = json!({ "port": port.port, "protocol": port.protocol });
    if !port.name.is_empty() {
        value["name"] = json!(port.name);
    }
    if let Some(protocol) = &port.app_protocol {
        value["appProtocol"] = json!(protocol);
    }
    value
}

/// Whether the old object differs in what this controller writes.
#[must_use]
pub fn differs(old: &Value, wanted: &Value) -> bool {
    let marked = |object: &Value| !object["metadata"]["annotations"][OVER_CAPACITY].is_null();
    old["subsets"] != wanted["subsets"]
        || old["metadata"]["labels"] != wanted["metadata"]["labels"]
        || marked(old) != marked(wanted)
}

/// Copies annotations of other writers and the resource version from the old object.
pub fn copy_metadata(old: &Value, wanted: &mut Value) {
    wanted["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
    let ours = wanted["metadata"]["annotations"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let mut annotations = old["metadata"]["annotations"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    annotations.remove(OVER_CAPACITY);
    annotations.extend(ours);
    if !annotations.is_empty() {
        wanted["metadata"]["annotations"] = Value::Object(annotations);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde::Deserialize as _;

    use super::*;
    use crate::{endpoints::addresses::addresses, views::Pod};

    fn pod(name: &str, ip: &str, ready: bool, port: u16) -> Arc<Pod> {
        let status = if ready { "True" } else { "False" };
        let object = json!({
            "metadata": { "name": name, "namespace": "a", "uid": name },
            "spec": { "nodeName": "n1", "containers": [
                { "name": "c", "ports": [{ "name": "web", "containerPort": port }] }] },
            "status": { "phase": "Running", "podIP": ip,
                "conditions": [{ "type": "Ready", "status": status }] },
        });
        Arc::new(Pod::deserialize(&object).unwrap())
    }

    fn service(extra: Value) -> Service {
        let mut object = json!({
            "metadata": { "name": "s", "namespace": "a", "labels": { "x": "y" } },
            "spec": { "type": "ClusterIP", "selector": { "app": "a" },
                "ports": [{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": "web" }] },
        });
        for (key, value) in extra.as_object().unwrap() {
            object["spec"][key] = value.clone();
        }
        Service::deserialize(&object).unwrap()
    }

    #[test]
    fn pods_are_grouped_by_the_numbers_of_their_named_ports() {
        let pods = [
            pod("p1", "10.0.0.1", true, 80),
            pod("p2", "10.0.0.2", false, 80),
            pod("p3", "10.0.0.3", true, 8080),
            pod("p4", "", true, 80),
        ];
        let service = service(json!({}));
        let object = endpoints(&service, &addresses(&service, pods.iter()));
        let subsets = object["subsets"].as_array().unwrap();
        assert_eq!(subsets.len(), 2);
        assert_eq!(subsets[0]["addresses"][0]["targetRef"]["name"], "p1");
        assert_eq!(subsets[0]["notReadyAddresses"][0]["ip"], "10.0.0.2");
        assert_eq!(
            subsets[1]["ports"],
            json!([{ "name": "http", "port": 8080, "protocol": "TCP" }])
        );
        assert_eq!(object["metadata"]["labels"]["x"], "y");
        assert!(!differs(&object, &object));
    }

    #[test]
    fn a_headless_service_without_ports_has_addresses_alone() {
        let service = service(json!({ "clusterIP": "None", "ports": [] }));
        let object = endpoints(
            &service,
            &addresses(&service, [pod("p", "10.0.0.1", true, 80)].iter()),
        );
        assert!(object["subsets"][0]["ports"].is_null());
        assert_eq!(object["metadata"]["labels"][HEADLESS], "");
        let none = endpoints(&service, &[]);
        assert!(none.get("subsets").is_none());
    }
}
