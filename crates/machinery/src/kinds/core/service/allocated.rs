//! Allocated addresses and node ports are kept in an update (`patchAllocatedValues` and
//! `dropTypeDependentFields` in upstream's `pkg/registry/core/service`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::json_fields::{ReadFields, WriteFields};

const ADDRESS_FIELDS: [&str; 4] = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"];

/// Takes what was allocated from the old Service, unless the new one asks for something else.
pub(super) fn update(old: &Value, new: &mut Value) {
    let old = &old["spec"];
    let spec = new.member("spec");
    normalize_addresses(old, spec);
    if has_address(old) && has_address(spec) {
        keep_addresses(old, spec);
    } else if has_address(old) && same(old, spec, &["clusterIP", "clusterIPs"]) {
        remove(spec, &ADDRESS_FIELDS);
    }
    if has_node_ports(old) && has_node_ports(spec) {
        keep_node_ports(old, spec);
    } else if has_node_ports(old) {
        if node_ports(old) == node_ports(spec) {
            drop_node_ports(spec);
        }
        if same(old, spec, &["externalTrafficPolicy"]) {
            remove(spec, &["externalTrafficPolicy"]);
        }
    }
    let check = "healthCheckNodePort";
    if has_health_check(old) && has_health_check(spec) {
        if spec.int(check) == 0 {
            spec.put(check, old[check].clone());
        }
    } else if has_health_check(old) && same(old, spec, &[check]) {
        remove(spec, &[check]);
    }
    if old.text("type") == "LoadBalancer" && spec.text("type") != "LoadBalancer" {
        for name in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if same(old, spec, &[name]) {
                remove(spec, &[name]);
            }
        }
    }
}

/// Changes `clusterIPs` with `clusterIP` if the client changed only the latter.
fn normalize_addresses(old: &Value, spec: &mut Value) {
    let (before, now) = (
        old.text("clusterIP").to_owned(),
        spec.text("clusterIP").to_owned(),
    );
    if before == now || !same(old, spec, &["clusterIPs"]) && spec.has("clusterIPs") {
        return;
    }
    if now.is_empty() {
        spec.remove_field("clusterIPs");
    } else {
        spec["clusterIPs"] = json!([now]);
    }
}

fn keep_addresses(old: &Value, spec: &mut Value) {
    for name in ADDRESS_FIELDS {
        if !spec.has(name) {
            spec.put(name, old[name].clone());
        }
    }
}

/// Gives each port without a node port the one that the old port of that name had.
fn keep_node_ports(old: &Value, spec: &mut Value) {
    let known: BTreeMap<&str, i64> = old
        .items("ports")
        .iter()
        .map(|p| (p.text("name"), p.int("nodePort")))
        .collect();
    let mut used: BTreeSet<i64> = node_ports(old)
        .intersection(&node_ports(spec))
        .copied()
        .collect();
    for port in spec.items_mut("ports") {
        let number = known.get(port.text("name")).copied().unwrap_or_default();
        if port.int("nodePort") == 0 && number != 0 && used.insert(number) {
            port["nodePort"] = number.into();
        }
    }
}

fn drop_node_ports(spec: &mut Value) {
    for port in spec.items_mut("ports") {
        remove(port, &["nodePort"]);
    }
}

fn node_ports(spec: &Value) -> BTreeSet<i64> {
    spec.items("ports")
        .iter()
        .map(|p| p.int("nodePort"))
        .filter(|number| *number != 0)
        .collect()
}

fn has_address(spec: &Value) -> bool {
    matches!(spec.text("type"), "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn has_node_ports(spec: &Value) -> bool {
    matches!(spec.text("type"), "NodePort" | "LoadBalancer")
}

/// Whether load balancers ask each node for its health.
fn has_health_check(spec: &Value) -> bool {
    spec.text("type") == "LoadBalancer" && spec.text("externalTrafficPolicy") == "Local"
}

fn same(old: &Value, new: &Value, names: &[&str]) -> bool {
    names.iter().all(|name| old[name] == new[name])
}

fn remove(object: &mut Value, names: &[&str]) {
    names.iter().for_each(|name| object.remove_field(name));
}
