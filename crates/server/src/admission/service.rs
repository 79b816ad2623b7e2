//! Services: cluster addresses and node ports.

use std::{collections::BTreeSet, net::Ipv4Addr};

use pandaemon_machinery::{
    Status,
    status::Result,
    validation::{ErrorType, FieldError},
};
use serde_json::{Value, json};

use crate::{
    meta,
    registry::{Call, Registry},
};

/// Cluster addresses come from `10.96.0.0/12`.
const NETWORK: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 96, 0, 0), 12);
const NODE_PORTS: std::ops::RangeInclusive<i64> = 30_000..=32_767;

/// The address of the service `kubernetes`.
#[must_use]
pub(crate) fn first_address() -> Ipv4Addr {
    Ipv4Addr::from(u32::from(NETWORK.0) + 1)
}

/// Gives a service what it needs and takes what its type must not have.
pub(super) fn admit(registry: &Registry, call: &Call, service: &mut Value) -> Result<()> {
    let name = meta::name(service).to_owned();
    let others = Others::collect(registry, call, &name);
    let kind = meta::text_at(service, &["spec", "type"]).to_owned();
    if kind == "ExternalName" {
        if let Some(spec) = service["spec"].as_object_mut() {
            spec.retain(|field, _| {
                !matches!(
                    field.as_str(),
                    "clusterIP" | "clusterIPs" | "ipFamilies" | "ipFamilyPolicy"
                )
            });
        }
        return Ok(());
    }
    let asked = meta::text_at(service, &["spec", "clusterIP"]).to_owned();
    let address = match asked.as_str() {
        "None" => asked,
        "" => others
            .free_address(&name)
            .ok_or_else(|| full(call, &name))?,
        _ => {
            check_address(call, &name, &asked, &others)?;
            asked
        }
    };
    service["spec"]["clusterIPs"] = json!([address]);
    service["spec"]["clusterIP"] = address.into();
    for (field, value) in [
        ("ipFamilies", json!(["IPv4"])),
        ("ipFamilyPolicy", json!("SingleStack")),
    ] {
        if service["spec"][field].is_null() {
            service["spec"][field] = value;
        }
    }
    set_node_ports(call, &kind, service, others)
}

/// What other services hold.
#[derive(Default)]
struct Others {
    addresses: BTreeSet<String>,
    ports: BTreeSet<i64>,
}

impl Others {
    fn collect(registry: &Registry, call: &Call, name: &str) -> Self {
        let mut found = Self::default();
        let Some(cache) = registry.cache.of(call.kind) else {
            return found;
        };
        let others = cache
            .every()
            .filter(|o| o.name() != name || o.namespace() != call.namespace);
        for service in others.filter_map(|object| object.value().ok()) {
            found
                .addresses
                .insert(meta::text_at(&service, &["spec", "clusterIP"]).to_owned());
            let ports = meta::at(&service, &["spec", "ports"]).and_then(Value::as_array);
            let ports = ports
                .into_iter()
                .flatten()
                .filter_map(|port| port["nodePort"].as_i64());
            found.ports.extend(ports);
        }
        found
    }

    /// A free address. Starts at a place that depends on the name, so that addresses stay apart.
    fn free_address(&self, name: &str) -> Option<String> {
        let base = u32::from(NETWORK.0);
        let size = 1_u32 << (32 - u32::from(NETWORK.1));
        // The first 256 are left to those who ask for an address of their own.
        let (first, count) = (256, size - 256 - 1);
        let start = name
            .bytes()
            .fold(17_u32, |acc, b| acc.wrapping_mul(31).wrapping_add(b.into()));
        (0..count)
            .map(|step| first + (start.wrapping_add(step) % count))
            .map(|offset| Ipv4Addr::from(base + offset).to_string())
            .find(|address| !self.addresses.contains(address))
    }
}

fn invalid(call: &Call, name: &str, field: &str, value: &str, detail: &str) -> Box<Status> {
    let error = FieldError {
        field: field.into(),
        error_type: ErrorType::Invalid(value.into()),
        detail: detail.into(),
    };
    Status::invalid(call.kind, name, &[error])
}

fn full(call: &Call, name: &str) -> Box<Status> {
    Status::internal(format!(
        "failed to allocate a serviceIP for {}/{name}: range is full",
        call.namespace
    ))
}

fn check_address(call: &Call, name: &str, asked: &str, others: &Others) -> Result<()> {
    let refuse = |why: String| {
        let value = format!("[]string{{{asked:?}}}");
        invalid(
            call,
            name,
            "spec.clusterIPs",
            &value,
            &format!("failed to allocate IP {asked}: {why}"),
        )
    };
    let Ok(address) = asked.parse::<Ipv4Addr>() else {
        return Ok(());
    };
    let mask = u32::MAX << (32 - NETWORK.1);
    if u32::from(address) & mask != u32::from(NETWORK.0) {
        return Err(refuse(format!(
            "the provided IP ({asked}) is not in the valid range. The range of valid IPs is {}/{}",
            NETWORK.0, NETWORK.1
        )));
    }
    if others.addresses.contains(asked) {
        return Err(refuse("provided IP is already allocated".into()));
    }
    Ok(())
}

fn set_node_ports(call: &Call, kind: &str, service: &mut Value, mut others: Others) -> Result<()> {
    let name = meta::name(service).to_owned();
    let wants = matches!(kind, "NodePort" | "LoadBalancer");
    let ports = service["spec"]["ports"].as_array_mut();
    for (at, port) in ports.into_iter().flatten().enumerate() {
        let Some(fields) = port.as_object_mut() else {
            continue;
        };
        let asked = fields
            .get("nodePort")
            .and_then(Value::as_i64)
            .filter(|port| *port != 0);
        if !wants {
            fields.remove("nodePort");
            continue;
        }
        if let Some(asked) = asked {
            let field = format!("spec.ports[{at}].nodePort");
            if !NODE_PORTS.contains(&asked) {
                let detail = "provided port is not in the valid range. The range of valid ports is 30000-32767";
                return Err(invalid(call, &name, &field, &asked.to_string(), detail));
            }
            if !others.ports.insert(asked) {
                let detail = "provided port is already allocated";
                return Err(invalid(call, &name, &field, &asked.to_string(), detail));
            }
            continue;
        }
        let free = NODE_PORTS.clone().find(|port| !others.ports.contains(port));
        let free = free.ok_or_else(|| full(call, &name))?;
        others.ports.insert(free);
        fields.insert("nodePort".into(), free.into());
    }
    Ok(())
}
