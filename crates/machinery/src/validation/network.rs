//! `Endpoints` and `EndpointSlice`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::container::PROTOCOLS;
use super::error_list::{ErrorList, Path};
use super::names;
use crate::json_fields::ReadFields;

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
const MAX_ZONE_HINTS: usize = 8;

/// Validates `Endpoints` (upstream's `ValidateEndpoints`).
pub(crate) fn endpoints(object: &Value, errors: &mut ErrorList) {
    let root = Path::root("subsets");
    for (at, subset) in object.items("subsets").iter().enumerate() {
        let path = root.index(at);
        if subset.items("addresses").is_empty() && subset.items("notReadyAddresses").is_empty() {
            errors.required(&path, "must specify `addresses` or `notReadyAddresses`");
        }
        for list in ["addresses", "notReadyAddresses"] {
            for (at, address) in subset.items(list).iter().enumerate() {
                endpoint_address(&path.child(list).index(at), address, errors);
            }
        }
        let ports = subset.items("ports");
        for (at, port) in ports.iter().enumerate() {
            endpoint_port(
                &path.child("ports").index(at),
                port,
                ports.len() > 1,
                errors,
            );
        }
    }
}

fn endpoint_address(path: &Path<'_>, address: &Value, errors: &mut ErrorList) {
    names::check_ip(&path.child("ip"), address.text("ip"), errors);
    let host = address.text("hostname");
    if !host.is_empty() {
        names::check_label(&path.child("hostname"), host, errors);
    }
    if let Some(node) = address.field("nodeName").and_then(Value::as_str) {
        names::check_subdomain(&path.child("nodeName"), node, errors);
    }
    names::check_ordinary_ip(&path.child("ip"), address.text("ip"), errors);
}

fn endpoint_port(path: &Path<'_>, port: &Value, needs_name: bool, errors: &mut ErrorList) {
    match port.text("name") {
        "" if needs_name => errors.required(&path.child("name"), ""),
        "" => {}
        name => names::check_label(&path.child("name"), name, errors),
    }
    names::check_port(&path.child("port"), port.int("port"), errors);
    errors.required_one_of(&path.child("protocol"), port.text("protocol"), &PROTOCOLS);
    if let Some(protocol) = port.field("appProtocol").and_then(Value::as_str) {
        names::check_qualified(&path.child("appProtocol"), protocol, errors);
    }
}

/// Validates an `EndpointSlice` (upstream's `ValidateEndpointSlice`).
pub(crate) fn endpoint_slice(object: &Value, errors: &mut ErrorList) {
    let kind = object.text("addressType");
    errors.required_one_of(&Path::root("addressType"), kind, &["FQDN", "IPv4", "IPv6"]);
    let root = Path::root("endpoints");
    let endpoints = object.items("endpoints");
    if endpoints.len() > MAX_ENDPOINTS {
        errors.too_many(&root, endpoints.len(), MAX_ENDPOINTS);
    } else {
        for (at, endpoint) in endpoints.iter().enumerate() {
            slice_endpoint(&root.index(at), endpoint, kind, errors);
        }
    }
    slice_ports(object.items("ports"), errors);
}

fn slice_endpoint(path: &Path<'_>, endpoint: &Value, kind: &str, errors: &mut ErrorList) {
    let list = path.child("addresses");
    let addresses = endpoint.items("addresses");
    if addresses.is_empty() {
        errors.required(&list, "must contain at least 1 address");
    } else if addresses.len() > MAX_ADDRESSES {
        errors.too_many(&list, addresses.len(), MAX_ADDRESSES);
    }
    for (at, address) in addresses.iter().filter_map(Value::as_str).enumerate() {
        slice_address(&list.index(at), address, kind, errors);
    }
    if let Some(node) = endpoint.field("nodeName").and_then(Value::as_str) {
        names::check_subdomain(&path.child("nodeName"), node, errors);
    }
    if let Some(host) = endpoint.field("hostname").and_then(Value::as_str) {
        names::check_label(&path.child("hostname"), host, errors);
    }
    let hints = path.child("hints");
    let zones_path = hints.child("forZones");
    let zones = endpoint["hints"].items("forZones");
    if zones.len() > MAX_ZONE_HINTS {
        errors.too_many(&zones_path, zones.len(), MAX_ZONE_HINTS);
    }
}

fn slice_address(path: &Path<'_>, address: &str, kind: &str, errors: &mut ErrorList) {
    let parsed = address.parse::<IpAddr>();
    match kind {
        "IPv4" => {
            if !matches!(parsed, Ok(IpAddr::V4(_))) {
                errors.invalid(path, address, "must be a valid IPv4 address");
            }
            names::check_ordinary_ip(path, address, errors);
        }
        "IPv6" => {
            if !matches!(parsed, Ok(IpAddr::V6(_))) {
                errors.invalid(path, address, "must be a valid IPv6 address");
            }
            names::check_ordinary_ip(path, address, errors);
        }
        "FQDN" => {
            let name = address.strip_suffix('.').unwrap_or(address);
            let texts = names::subdomain(name);
            if address.is_empty() {
                errors.required(path, "");
            } else if !texts.is_empty() {
                errors.invalid(path, name, &texts.join(","));
            } else if !name.contains('.') {
                let why = "should be a domain with at least two segments separated by dots";
                errors.invalid(path, name, why);
            }
        }
        _ => {}
    }
}

fn slice_ports(ports: &[Value], errors: &mut ErrorList) {
    let root = Path::root("ports");
    if ports.len() > MAX_PORTS {
        errors.too_many(&root, ports.len(), MAX_PORTS);
        return;
    }
    let mut seen = BTreeSet::new();
    for (at, port) in ports.iter().enumerate() {
        let path = root.index(at);
        let name = port.text("name");
        if !name.is_empty() {
            names::check_label(&path.child("name"), name, errors);
        }
        if !seen.insert(name) {
            errors.duplicate(&path.child("name"), name);
        }
        if let Some(number) = port.field("port").and_then(Value::as_i64) {
            names::check_port(&path.child("port"), number, errors);
        }
        errors.required_one_of(&path.child("protocol"), port.text("protocol"), &PROTOCOLS);
        if let Some(protocol) = port.field("appProtocol").and_then(Value::as_str) {
            names::check_qualified(&path.child("appProtocol"), protocol, errors);
        }
    }
}
