//! Addresses and node ports of services, as `pkg/registry/core/service/storage/alloc.go` gives them out.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::Kind;
use crate::access::Access;
use crate::status::{Result, Status};
use crate::validation::{ErrorType, FieldError};

/// From where the numbers come.
#[derive(Debug, Clone, Copy)]
pub struct ServiceRanges {
    /// Network of the service addresses.
    pub network: Ipv4Addr,
    /// Bits of the network, such as 16.
    pub prefix: u8,
    /// First node port.
    pub first_port: u16,
    /// Last node port.
    pub last_port: u16,
}

impl Default for ServiceRanges {
    fn default() -> Self {
        Self {
            network: Ipv4Addr::new(10, 96, 0, 0),
            prefix: 12,
            first_port: 30_000,
            last_port: 32_767,
        }
    }
}

/// What other services have.
#[derive(Debug, Clone, Default)]
pub struct Used {
    /// Their addresses.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// Their node ports.
    pub node_ports: BTreeSet<u16>,
}

impl Used {
    /// Adds what a service holds.
    pub fn add(&mut self, service: &Value) {
        let spec = &service["spec"];
        let texts = spec.items("clusterIPs").iter().filter_map(Value::as_str);
        self.addresses
            .extend(texts.filter_map(|text| text.parse::<Ipv4Addr>().ok()));
        let ports = spec.items("ports").iter().map(|p| p.int("nodePort"));
        self.node_ports.extend(
            ports
                .filter(|p| *p != 0)
                .filter_map(|p| u16::try_from(p).ok()),
        );
    }
}

/// Gives a service what its type needs and it does not have. `old` is the stored object, `used` what
/// all *other* services hold.
///
/// # Errors
/// 422 for an address or a port that is taken or out of range, 500 when none is left.
pub fn allocate_service(
    kind: &Kind,
    service: &mut Value,
    ranges: ServiceRanges,
    used: &Used,
) -> Result<()> {
    let service_type = service["spec"].text("type").to_owned();
    if !matches!(
        service_type.as_str(),
        "ClusterIP" | "NodePort" | "LoadBalancer"
    ) {
        return Ok(());
    }
    let name = service["metadata"].text("name").to_owned();
    let spec = &mut service["spec"];
    families(spec);
    let faults = address(spec, ranges, used)?;
    if !faults.is_empty() {
        return Err(Status::invalid(kind, &name, &faults));
    }
    let wants_ports = service_type != "LoadBalancer"
        || !matches!(spec["allocateLoadBalancerNodePorts"], Value::Bool(false));
    if service_type != "ClusterIP" {
        let faults = node_ports(spec, ranges, used, wants_ports)?;
        if !faults.is_empty() {
            return Err(Status::invalid(kind, &name, &faults));
        }
    }
    Ok(())
}

fn is_headless(spec: &Value) -> bool {
    spec.text("clusterIP") == "None"
}

fn families(spec: &mut Value) {
    let open = is_headless(spec)
        && spec
            .entries("selector")
            .is_none_or(serde_json::Map::is_empty);
    let (policy, families) = if open && !spec.has("ipFamilyPolicy") {
        ("RequireDualStack", json!(["IPv4", "IPv6"]))
    } else {
        ("SingleStack", json!(["IPv4"]))
    };
    if !spec.has("ipFamilyPolicy") {
        spec["ipFamilyPolicy"] = policy.into();
    }
    if spec.items("ipFamilies").is_empty() {
        spec["ipFamilies"] = families;
    }
}

fn address(spec: &mut Value, ranges: ServiceRanges, used: &Used) -> Result<Vec<FieldError>> {
    let wanted = spec.text("clusterIP").to_owned();
    if wanted == "None" {
        spec["clusterIPs"] = json!(["None"]);
        return Ok(Vec::new());
    }
    let ip = if wanted.is_empty() {
        free_address(ranges, used)
            .ok_or_else(|| Status::internal("failed to allocate a serviceIP: range is full"))?
    } else {
        let why = match wanted.parse::<Ipv4Addr>() {
            // Validation has told about it.
            Err(_) => return Ok(Vec::new()),
            Ok(ip) if !contains(ranges, ip) => format!(
                "provided IP is not in the valid range. The range of valid IPs is {}/{}",
                ranges.network, ranges.prefix
            ),
            Ok(ip) if used.addresses.contains(&ip) => "provided IP is already allocated".to_owned(),
            Ok(_) => return Ok(Vec::new()),
        };
        return Ok(vec![FieldError {
            field: "spec.clusterIPs".to_owned(),
            what: ErrorType::Invalid(format!("[]string{{\"{wanted}\"}}")),
            detail: format!("failed to allocate IP {wanted}: {why}"),
        }]);
    };
    spec["clusterIP"] = ip.to_string().into();
    spec["clusterIPs"] = json!([ip.to_string()]);
    Ok(Vec::new())
}

fn host_bits(ranges: ServiceRanges) -> u32 {
    32 - u32::from(ranges.prefix.clamp(1, 30))
}

fn contains(ranges: ServiceRanges, ip: Ipv4Addr) -> bool {
    u32::from(ip) >> host_bits(ranges) == u32::from(ranges.network) >> host_bits(ranges)
}

/// The first free address; the low ones are left to people who pick their own.
fn free_address(ranges: ServiceRanges, used: &Used) -> Option<Ipv4Addr> {
    let size = 1_u32 << host_bits(ranges);
    let reserved = (size / 16).clamp(1, 256);
    let base = u32::from(ranges.network);
    (reserved..size - 1)
        .chain(1..reserved)
        .map(|offset| Ipv4Addr::from(base + offset))
        .find(|ip| !used.addresses.contains(ip))
}

fn node_ports(
    spec: &mut Value,
    ranges: ServiceRanges,
    used: &Used,
    wants_ports: bool,
) -> Result<Vec<FieldError>> {
    let mut taken = used.node_ports.clone();
    let mut faults = Vec::new();
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    let mut open = Vec::new();
    for (at, port) in ports.into_iter().flatten().enumerate() {
        let number = port.int("nodePort");
        if number == 0 {
            open.push(port);
            continue;
        }
        let valid = u16::try_from(number)
            .ok()
            .filter(|n| (ranges.first_port..=ranges.last_port).contains(n));
        let why = match valid {
            None => format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                ranges.first_port, ranges.last_port
            ),
            Some(n) if used.node_ports.contains(&n) => {
                "provided port is already allocated".to_owned()
            }
            Some(n) => {
                taken.insert(n);
                continue;
            }
        };
        faults.push(FieldError {
            field: format!("spec.ports[{at}].nodePort"),
            what: ErrorType::Invalid(number.to_string()),
            detail: why,
        });
    }
    if wants_ports {
        for port in open {
            let free = (ranges.first_port..=ranges.last_port)
                .find(|number| !taken.contains(number))
                .ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))?;
            taken.insert(free);
            port["nodePort"] = free.into();
        }
    }
    Ok(faults)
}
