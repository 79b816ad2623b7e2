//! Defaults of `Service`, `Endpoints` and `EndpointSlice`.

use serde_json::{Value, json};

use super::{child, put, set, set_text};
use crate::json_fields::{ReadFields, WriteFields};

/// How long `sessionAffinity: ClientIP` keeps a client at one endpoint: three hours (upstream's
/// `DefaultClientIPServiceAffinitySeconds`).
const AFFINITY_SECONDS: i64 = 10_800;

pub(crate) fn service(object: &mut Value) {
    let spec = child(object, "spec");
    set_text(spec, "sessionAffinity", "None");
    set_text(spec, "type", "ClusterIP");
    affinity(spec);
    for port in spec.items_mut("ports") {
        set_text(port, "protocol", "TCP");
        let unset = match port.get("targetPort") {
            None | Some(Value::Null) => true,
            Some(target) => target == 0 || target == "",
        };
        if unset {
            let number = port["port"].clone();
            put(port, "targetPort", number);
        }
    }
    let kind = spec.text("type").to_owned();
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        set_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        set(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
    }
    let balancer = child(child(object, "status"), "loadBalancer");
    for ingress in balancer.items_mut("ingress") {
        if !ingress.text("ip").is_empty() {
            set(ingress, "ipMode", "VIP");
        }
    }
}

fn affinity(spec: &mut Value) {
    match spec.text("sessionAffinity") {
        "None" => {
            if let Some(fields) = spec.as_object_mut() {
                fields.remove("sessionAffinityConfig");
            }
        }
        "ClientIP" if !spec["sessionAffinityConfig"]["clientIP"].has("timeoutSeconds") => {
            put(
                spec,
                "sessionAffinityConfig",
                json!({ "clientIP": { "timeoutSeconds": AFFINITY_SECONDS } }),
            );
        }
        _ => {}
    }
}

pub(crate) fn endpoints(object: &mut Value) {
    for subset in object.items_mut("subsets") {
        for port in subset.items_mut("ports") {
            set_text(port, "protocol", "TCP");
        }
    }
}

pub(crate) fn endpoint_slice(object: &mut Value) {
    set(object, "endpoints", json!([]));
    set(object, "ports", json!([]));
    for port in object.items_mut("ports") {
        set(port, "name", "");
        set_text(port, "protocol", "TCP");
    }
    for endpoint in object.items_mut("endpoints") {
        child(endpoint, "conditions");
    }
}
