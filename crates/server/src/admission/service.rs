//! Allocation of cluster IPs and node ports for Services.
//!
//! This is no plugin: an allocation has to see what all mutating plugins have made of a Service,
//! and to be seen by all validating ones. Upstream does it in the storage of Services, at the same
//! place.

use std::{collections::BTreeSet, net::Ipv4Addr};

use pandaemon_machinery::{
    Status,
    status::Result,
    validation::{ErrorType, FieldError},
};
use pandaemon_types::cluster_ip::{self, RANGE as CLUSTER_IP_RANGE};
use serde_json::{Value, json};

use crate::registry::{Call, Registry, meta};

/// The range of node ports.
const NODE_PORTS: std::ops::RangeInclusive<i64> = 30_000..=32_767;

/// Allocates the cluster IP and node ports of a Service, and removes those that its type does not
/// have. Objects of other kinds stay as they are.
///
/// # Errors
/// 422 for a value that is not in its range or is taken, 500 if there are no free ones.
pub(crate) fn allocate(registry: &Registry, call: &Call, service: &mut Value) -> Result<()> {
    if call.kind.storage != "services" || !call.subresource.is_empty() {
        return Ok(());
    }
    let name = meta::name(service).to_owned();
    let others = Allocated::collect(registry, call, &name);
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
    let requested = meta::text_at(service, &["spec", "clusterIP"]).to_owned();
    let address = match requested.as_str() {
        "None" => requested,
        "" => others
            .free_address(&name)
            .ok_or_else(|| range_full(call, &name))?,
        _ => {
            check_address(call, &name, &requested, &others)?;
            requested
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

/// The cluster IPs and node ports of the other Services.
#[derive(Default)]
struct Allocated {
    addresses: BTreeSet<String>,
    ports: BTreeSet<i64>,
}

impl Allocated {
    fn collect(registry: &Registry, call: &Call, name: &str) -> Self {
        let mut found = Self::default();
        let Some(cache) = registry.cache.of(&call.kind) else {
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

    /// A free cluster IP. The search starts at a position that depends on the name, so that
    /// concurrent allocations rarely meet.
    fn free_address(&self, name: &str) -> Option<String> {
        let base = u32::from(CLUSTER_IP_RANGE.0);
        let size = 1_u32 << (32 - u32::from(CLUSTER_IP_RANGE.1));
        // The first 256 addresses are reserved for Services that request an address.
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
    Status::invalid(&call.kind, name, &[error])
}

fn range_full(call: &Call, name: &str) -> Box<Status> {
    Status::internal(format!(
        "failed to allocate a serviceIP for {}/{name}: range is full",
        call.namespace
    ))
}

fn check_address(call: &Call, name: &str, requested: &str, others: &Allocated) -> Result<()> {
    let refuse = |why: String| {
        let value = format!("[]string{{{requested:?}}}");
        invalid(
            call,
            name,
            "spec.clusterIPs",
            &value,
            &format!("failed to allocate IP {requested}: {why}"),
        )
    };
    let Ok(address) = requested.parse::<Ipv4Addr>() else {
        return Ok(());
    };
    if !cluster_ip::is_cluster_ip(address) {
        return Err(refuse(format!(
            "the provided IP ({requested}) is not in the valid range. The range of valid IPs is {}/{}",
            CLUSTER_IP_RANGE.0, CLUSTER_IP_RANGE.1
        )));
    }
    if others.addresses.contains(requested) {
        return Err(refuse("provided IP is already allocated".into()));
    }
    Ok(())
}

fn set_node_ports(
    call: &Call,
    kind: &str,
    service: &mut Value,
    mut others: Allocated,
) -> Result<()> {
    let name = meta::name(service).to_owned();
    let wants = matches!(kind, "NodePort" | "LoadBalancer");
    let ports = service["spec"]["ports"].as_array_mut();
    for (at, port) in ports.into_iter().flatten().enumerate() {
        let Some(fields) = port.as_object_mut() else {
            continue;
        };
        let requested = fields
            .get("nodePort")
            .and_then(Value::as_i64)
            .filter(|port| *port != 0);
        if !wants {
            fields.remove("nodePort");
            continue;
        }
        if let Some(requested) = requested {
            let field = format!("spec.ports[{at}].nodePort");
            if !NODE_PORTS.contains(&requested) {
                let detail = "provided port is not in the valid range. The range of valid ports is 30000-32767";
                return Err(invalid(call, &name, &field, &requested.to_string(), detail));
            }
            if !others.ports.insert(requested) {
                let detail = "provided port is already allocated";
                return Err(invalid(call, &name, &field, &requested.to_string(), detail));
            }
            continue;
        }
        let free = NODE_PORTS.clone().find(|port| !others.ports.contains(port));
        let free = free.ok_or_else(|| range_full(call, &name))?;
        others.ports.insert(free);
        fields.insert("nodePort".into(), free.into());
    }
    Ok(())
}
