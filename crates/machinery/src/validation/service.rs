//! Validation of `Service`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::container::PROTOCOLS;
use super::error_list::{ErrorList, GoValue, Path};
use super::{go_format, meta, names, probe};
use crate::json_fields::ReadFields;

const SPEC: Path<'static> = Path::root("spec");

/// Longest `sessionAffinityConfig.clientIP.timeoutSeconds`: a day.
const MAX_AFFINITY_SECONDS: i64 = 86_400;

/// Validates the spec of a service; the metadata is validated already (upstream's
/// `ValidateService`).
pub(crate) fn validate(object: &Value, errors: &mut ErrorList) {
    let spec = &object["spec"];
    let kind = spec.text("type");
    if spec.items("ports").is_empty() && !is_headless(spec) && kind != "ExternalName" {
        errors.required(&SPEC.child("ports"), "");
    }
    type_rules(spec, kind, errors);
    ports(spec, errors);
    meta::labels(&SPEC.child("selector"), &spec["selector"], errors);
    affinity(spec, errors);
    if kind != "ExternalName" {
        cluster_ips(spec, errors);
    }
    let external = SPEC.child("externalIPs");
    for (at, ip) in spec
        .items("externalIPs")
        .iter()
        .filter_map(Value::as_str)
        .enumerate()
    {
        let before = errors.len();
        names::check_ip(&external.index(at), ip, errors);
        if errors.len() == before {
            names::check_ordinary_ip(&external.index(at), ip, errors);
        }
    }
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    errors.required_one_of(&SPEC.child("type"), kind, &kinds);
    port_numbers(spec, kind, errors);
    load_balancer(spec, kind, errors);
    traffic(spec, kind, errors);
}

/// Whether `clusterIPs` is `["None"]`.
pub(super) fn is_headless(spec: &Value) -> bool {
    matches!(spec.items("clusterIPs"), [only] if only == "None")
}

fn type_rules(spec: &Value, kind: &str, errors: &mut ErrorList) {
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            let why = format!("may not be set to 'None' for {kind} services");
            errors.invalid(&SPEC.child("clusterIPs").index(0), "None", &why);
        }
        "ExternalName" => {
            let why = "may not be set for ExternalName services";
            for list in ["clusterIPs", "ipFamilies"] {
                if !spec.items(list).is_empty() {
                    errors.forbidden(&SPEC.child(list), why);
                }
            }
            if spec.has("ipFamilyPolicy") {
                errors.forbidden(&SPEC.child("ipFamilyPolicy"), why);
            }
            let name = spec.text("externalName");
            match name.strip_suffix('.').unwrap_or(name) {
                "" => errors.required(&SPEC.child("externalName"), ""),
                name => names::check_subdomain(&SPEC.child("externalName"), name, errors),
            }
        }
        _ => {}
    }
}

fn ports(spec: &Value, errors: &mut ErrorList) {
    let list = SPEC.child("ports");
    let all = spec.items("ports");
    let mut seen = BTreeSet::new();
    for (at, port) in all.iter().enumerate() {
        let path = list.index(at);
        let name = port.text("name");
        if name.is_empty() && all.len() > 1 {
            errors.required(&path.child("name"), "");
        } else if !name.is_empty() {
            names::check_label(&path.child("name"), name, errors);
            if !seen.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
        }
        names::check_port(&path.child("port"), port.int("port"), errors);
        errors.required_one_of(&path.child("protocol"), port.text("protocol"), &PROTOCOLS);
        probe::port_number_or_name(&path.child("targetPort"), &port["targetPort"], errors);
        if let Some(protocol) = port.field("appProtocol").and_then(Value::as_str) {
            names::check_qualified(&path.child("appProtocol"), protocol, errors);
        }
    }
}

fn port_numbers(spec: &Value, kind: &str, errors: &mut ErrorList) {
    let list = SPEC.child("ports");
    let (mut node_ports, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    let ports = || spec.items("ports").iter().enumerate();
    for (at, port) in ports().filter(|(_, port)| port.int("nodePort") != 0) {
        if kind == "ClusterIP" {
            let why = "may not be used when `type` is 'ClusterIP'";
            errors.forbidden(&list.index(at).child("nodePort"), why);
        }
        if !node_ports.insert((port.text("protocol"), port.int("nodePort"))) {
            errors.duplicate(&list.index(at).child("nodePort"), port.int("nodePort"));
        }
    }
    for (at, port) in ports() {
        if !numbers.insert((port.text("protocol"), port.int("port"))) {
            errors.duplicate(
                &list.index(at),
                GoValue::formatted(go_format::service_port_key(port)),
            );
        }
    }
}

fn affinity(spec: &Value, errors: &mut ErrorList) {
    let path = SPEC.child("sessionAffinity");
    let kind = spec.text("sessionAffinity");
    errors.required_one_of(&path, kind, &["ClientIP", "None"]);
    let config = SPEC.child("sessionAffinityConfig");
    if kind == "None" && spec.has("sessionAffinityConfig") {
        errors.forbidden(&config, "must not be set when session affinity is None");
    }
    if kind != "ClientIP" {
        return;
    }
    let client = config.child("clientIP");
    let path = client.child("timeoutSeconds");
    let timeout = &spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
    match timeout.as_i64() {
        None => errors.required(&path, "when session affinity type is ClientIP"),
        Some(seconds) if !(1..=MAX_AFFINITY_SECONDS).contains(&seconds) => {
            let why = format!("must be greater than 0 and less than {MAX_AFFINITY_SECONDS}");
            errors.invalid(&path, seconds, &why);
        }
        Some(_) => {}
    }
}

fn cluster_ips(spec: &Value, errors: &mut ErrorList) {
    let path = SPEC.child("clusterIPs");
    let ips: Vec<&str> = spec
        .items("clusterIPs")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let shown = || GoValue::formatted(go_format::strings(&spec["clusterIPs"]));
    match (spec.text("clusterIP"), ips.first()) {
        ("", Some(_)) => {
            errors.invalid(
                &path,
                shown(),
                "must be empty when `clusterIP` is not specified",
            );
        }
        ("", None) => {}
        (_, None) => errors.required(&path, ""),
        (ip, Some(first)) if ip != *first => {
            errors.invalid(&path, shown(), "first value must match `clusterIP`");
        }
        _ => {}
    }
    families(spec, errors);
    let before = errors.len();
    for (at, ip) in ips.iter().enumerate() {
        if at == 0 && *ip == "None" {
            if ips.len() > 1 {
                errors.invalid(&path, shown(), "'None' must be the first and only value");
            }
            continue;
        }
        names::check_ip(&path.index(at), ip, errors);
    }
    let bad = errors.len() != before;
    if ips.len() > 2 {
        errors.invalid(&path, shown(), "may only hold up to 2 values");
    }
    if bad || is_headless(spec) {
        return;
    }
    if ips.len() > 1 && ips.iter().filter(|ip| ip.contains(':')).count() != 1 {
        errors.invalid(
            &path,
            shown(),
            "may specify no more than one IP for each IP family",
        );
    }
    for (at, (ip, family)) in ips.iter().zip(spec.items("ipFamilies")).enumerate() {
        let expected = if ip.contains(':') { "IPv6" } else { "IPv4" };
        if let Some(family) = family.as_str().filter(|family| *family != expected) {
            let why = format!("expected an {family} value as indicated by `ipFamilies[{at}]`");
            errors.invalid(&path.index(at), *ip, &why);
        }
    }
}

fn families(spec: &Value, errors: &mut ErrorList) {
    let path = SPEC.child("ipFamilies");
    let mut seen = BTreeSet::new();
    for (at, family) in spec
        .items("ipFamilies")
        .iter()
        .filter_map(Value::as_str)
        .enumerate()
    {
        errors.one_of(&path.index(at), family, &["IPv4", "IPv6"]);
        if !seen.insert(family) {
            errors.duplicate(&path.index(at), family);
        }
    }
    if let Some(policy) = spec.field("ipFamilyPolicy").and_then(Value::as_str) {
        let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
        errors.one_of(&SPEC.child("ipFamilyPolicy"), policy, &policies);
    }
}

fn load_balancer(spec: &Value, kind: &str, errors: &mut ErrorList) {
    let balanced = kind == "LoadBalancer";
    let only = "may only be used when `type` is 'LoadBalancer'";
    let ranges = spec.items("loadBalancerSourceRanges");
    let path = SPEC.child("LoadBalancerSourceRanges");
    if !ranges.is_empty() && !balanced {
        errors.forbidden(&path, only);
    }
    for (at, range) in ranges.iter().filter_map(Value::as_str).enumerate() {
        names::check_cidr(&path.index(at), range.trim(), errors);
    }
    for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if spec.has(field) && !balanced {
            errors.forbidden(&SPEC.child(field), only);
        }
    }
    if let Some(class) = spec
        .field("loadBalancerClass")
        .and_then(Value::as_str)
        .filter(|_| balanced)
    {
        names::check_qualified(&SPEC.child("loadBalancerClass"), class, errors);
    }
}

fn traffic(spec: &Value, kind: &str, errors: &mut ErrorList) {
    let path = SPEC.child("externalTrafficPolicy");
    let policy = spec.text("externalTrafficPolicy");
    let reachable = matches!(kind, "NodePort" | "LoadBalancer")
        || !spec.items("externalIPs").is_empty() && kind == "ClusterIP";
    if !reachable {
        if !policy.is_empty() {
            errors.invalid(
                &path,
                policy,
                "may only be set for externally-accessible services",
            );
        }
    } else if kind != "ClusterIP" || !policy.is_empty() {
        errors.required_one_of(&path, policy, &["Cluster", "Local"]);
    }
    let check = spec.int("healthCheckNodePort");
    if check != 0 && !(kind == "LoadBalancer" && policy == "Local") {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is \
                   'Local'";
        errors.invalid(&SPEC.child("healthCheckNodePort"), check, why);
    }
    if let Some(policy) = spec.field("internalTrafficPolicy").and_then(Value::as_str) {
        errors.one_of(
            &SPEC.child("internalTrafficPolicy"),
            policy,
            &["Cluster", "Local"],
        );
    }
    if let Some(policy) = spec.field("trafficDistribution").and_then(Value::as_str) {
        errors.one_of(&SPEC.child("trafficDistribution"), policy, &["PreferClose"]);
    }
}
