//! Rows of `Service`, `Endpoints` and `EndpointSlice`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    cells::{Clock, name},
    format_labels, or_none,
};
use crate::json_fields::ReadFields;

/// Most endpoints in a cell; the others are counted.
const MAX_SHOWN: usize = 3;

pub(crate) fn service(object: &Value, clock: Clock) -> Vec<Value> {
    let spec = &object["spec"];
    let cluster_ip = spec.items("clusterIPs").first().and_then(Value::as_str);
    vec![
        name(object),
        spec.text("type").into(),
        or_none(cluster_ip.unwrap_or(spec.text("clusterIP"))).into(),
        external(object).into(),
        or_none(&service_ports(spec)).into(),
        clock.age(object),
        format_labels(&spec["selector"]).into(),
    ]
}

fn external(object: &Value) -> String {
    let spec = &object["spec"];
    let mut ips: Vec<&str> = spec
        .items("externalIPs")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    match spec.text("type") {
        "ClusterIP" | "NodePort" => or_none(&ips.join(",")),
        "LoadBalancer" => {
            let balancers: BTreeSet<&str> = object["status"]["loadBalancer"]
                .items("ingress")
                .iter()
                .map(ingress)
                .collect();
            let mut all: Vec<&str> = balancers.into_iter().filter(|i| !i.is_empty()).collect();
            all.append(&mut ips);
            if all.is_empty() {
                "<pending>".to_owned()
            } else {
                all.join(",")
            }
        }
        "ExternalName" => spec.text("externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

fn ingress(entry: &Value) -> &str {
    match entry.text("ip") {
        "" => entry.text("hostname"),
        ip => ip,
    }
}

fn service_ports(spec: &Value) -> String {
    let texts: Vec<String> = spec
        .items("ports")
        .iter()
        .map(|port| {
            let (number, protocol) = (port.int("port"), port.text("protocol"));
            match port.int("nodePort") {
                0 => format!("{number}/{protocol}"),
                node_port => format!("{number}:{node_port}/{protocol}"),
            }
        })
        .collect();
    texts.join(",")
}

pub(crate) fn endpoints(object: &Value, clock: Clock) -> Vec<Value> {
    vec![
        name(object),
        format_subsets(object.items("subsets")).into(),
        clock.age(object),
    ]
}

fn format_subsets(subsets: &[Value]) -> String {
    if subsets.is_empty() {
        return "<none>".to_owned();
    }
    let mut all = Vec::new();
    for subset in subsets {
        let addresses = subset.items("addresses");
        let ports = subset.items("ports");
        if ports.is_empty() {
            all.extend(addresses.iter().map(|a| a.text("ip").to_owned()));
        }
        for port in ports {
            all.extend(
                addresses
                    .iter()
                    .map(|a| host_port(a.text("ip"), port.int("port"))),
            );
        }
    }
    first_few(&all)
}

fn host_port(ip: &str, port: i64) -> String {
    if ip.contains(':') {
        format!("[{ip}]:{port}")
    } else {
        format!("{ip}:{port}")
    }
}

fn first_few(all: &[String]) -> String {
    let shown = all
        .iter()
        .take(MAX_SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(",");
    match all.len().saturating_sub(MAX_SHOWN) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

pub(crate) fn endpoint_slice(object: &Value, clock: Clock) -> Vec<Value> {
    let ports: Vec<String> = object.items("ports").iter().map(slice_port).collect();
    let addresses: Vec<String> = object
        .items("endpoints")
        .iter()
        .flat_map(|endpoint| endpoint.items("addresses"))
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect();
    vec![
        name(object),
        object.text("addressType").into(),
        or_unset(first_few(&ports)).into(),
        or_unset(first_few(&addresses)).into(),
        clock.age(object),
    ]
}

fn slice_port(port: &Value) -> String {
    match (
        port.field("port"),
        port.field("name").and_then(Value::as_str),
    ) {
        (Some(number), _) => number.to_string(),
        (None, Some(name)) => name.to_owned(),
        (None, None) => "*".to_owned(),
    }
}

fn or_unset(text: String) -> String {
    if text.is_empty() {
        "<unset>".to_owned()
    } else {
        text
    }
}
