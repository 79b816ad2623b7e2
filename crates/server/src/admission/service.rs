//! Allocation of cluster IPs and node ports for Services.
//!
//! This is no plugin: an allocation has to see what all mutating plugins have made of a Service,
//! and to be seen by all validating ones. Upstream does it in the storage of Services, at the same
//! place. Nothing is released: what no stored Service has is free.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use pandaemon_machinery::{
    Status,
    status::Result,
    validation::{ErrorType, FieldError},
};
use pandaemon_types::cluster_ip::{self, RANGE as CLUSTER_IP_RANGE};
use serde_json::{Value, json};

use crate::{
    cache::watch_cache::key,
    registry::{Call, Registry, meta},
};

/// The range of node ports.
const NODE_PORTS: std::ops::RangeInclusive<i64> = 30_000..=32_767;

/// Allocates the cluster IP and node ports of a Service. Objects of other kinds stay as they are.
/// What the type of the Service does not have is refused by the validation.
///
/// # Errors
/// 422 for a value that is not in its range or is taken, 500 if there are no free ones.
pub(crate) fn allocate(registry: &Registry, call: &Call, service: &mut Value) -> Result<()> {
    if call.kind.storage != "services" || !call.subresource.is_empty() {
        return Ok(());
    }
    let name = meta::name(service).to_owned();
    let mut allocation = Allocation {
        call,
        name: &name,
        others: Allocated::collect(registry, call, &name),
    };
    let spec = &mut service["spec"];
    match meta::text_at(spec, &["type"]) {
        "ClusterIP" => allocation.address(spec),
        "NodePort" | "LoadBalancer" => {
            allocation.address(spec)?;
            allocation.node_ports(spec)?;
            allocation.health_check(spec)
        }
        _ => Ok(()),
    }
}

/// The cluster IPs and node ports of the other Services.
#[derive(Default)]
struct Allocated {
    addresses: BTreeSet<String>,
    ports: BTreeSet<i64>,
}

impl Allocated {
    /// Those of all Services but one, and of writes whose fate is open.
    fn collect(registry: &Registry, call: &Call, name: &str) -> Self {
        let mut found = Self::default();
        let Some(cache) = registry.cache.of(&call.kind) else {
            return found;
        };
        let own = key(&call.kind, &call.namespace, name);
        for (key, service) in registry.in_doubt(&cache) {
            if key != own {
                found.add(&service);
            }
        }
        let others = cache.every().filter(|other| other.key != own);
        for service in others.filter_map(|object| object.value().ok()) {
            found.add(&service);
        }
        found
    }

    fn add(&mut self, service: &Value) {
        let spec = &service["spec"];
        let addresses = spec["clusterIPs"].as_array().into_iter().flatten();
        let addresses = addresses.chain([&spec["clusterIP"]]);
        let addresses = addresses.filter_map(Value::as_str).map(str::to_owned);
        self.addresses.extend(addresses);
        let ports = spec["ports"].as_array().into_iter().flatten();
        let ports = ports.map(|port| &port["nodePort"]);
        let ports = ports.chain([&spec["healthCheckNodePort"]]);
        self.ports.extend(ports.filter_map(Value::as_i64));
    }

    /// A free cluster IP. The search starts at a position that depends on the name, so that an
    /// address is rarely used again at once.
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

/// The allocation of the values of one Service.
struct Allocation<'a> {
    call: &'a Call,
    name: &'a str,
    others: Allocated,
}

impl Allocation<'_> {
    fn address(&self, spec: &mut Value) -> Result<()> {
        let requested = meta::text_at(spec, &["clusterIP"]).to_owned();
        let listed = spec["clusterIPs"].as_array().and_then(|all| all.first());
        if listed.is_some_and(|first| *first != *requested) {
            // The validation says which of the two is wrong.
            return Ok(());
        }
        let address = match requested.as_str() {
            "None" => requested,
            "" => self
                .others
                .free_address(self.name)
                .ok_or_else(|| self.range_full("serviceIP"))?,
            _ => {
                self.check_address(&requested)?;
                requested
            }
        };
        spec["clusterIPs"] = json!([address]);
        spec["clusterIP"] = address.into();
        for (field, value) in [
            ("ipFamilies", json!(["IPv4"])),
            ("ipFamilyPolicy", json!("SingleStack")),
        ] {
            if spec[field].is_null() {
                spec[field] = value;
            }
        }
        Ok(())
    }

    fn check_address(&self, requested: &str) -> Result<()> {
        let refuse = |why: String| {
            let value = format!("[]string{{{requested:?}}}");
            let detail = format!("failed to allocate IP {requested}: {why}");
            self.invalid("spec.clusterIPs", &value, &detail)
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
        if self.others.addresses.contains(requested) {
            return Err(refuse("provided IP is already allocated".into()));
        }
        Ok(())
    }

    /// The node ports. Ports with one number and several protocols share one, if they ask for no
    /// other. Upstream: `initNodePorts`.
    fn node_ports(&mut self, spec: &mut Value) -> Result<()> {
        let gives_free_ones = spec["allocateLoadBalancerNodePorts"] != false;
        let Some(ports) = spec["ports"].as_array_mut() else {
            return Ok(());
        };
        let requested = |port: &Value| port["nodePort"].as_i64().filter(|number| *number != 0);
        let number = |port: &Value| port["port"].as_i64().unwrap_or_default();
        let mut shared: BTreeMap<i64, i64> = BTreeMap::new();
        let mut own = BTreeSet::new();
        for (at, port) in ports.iter().enumerate() {
            let Some(requested) = requested(port) else {
                continue;
            };
            shared.entry(number(port)).or_insert(requested);
            // The validation knows which ones of a Service are duplicates.
            if own.insert(requested) {
                self.take_port(&format!("spec.ports[{at}].nodePort"), requested)?;
            }
        }
        for port in ports.iter_mut().filter(|port| requested(port).is_none()) {
            let node_port = match shared.get(&number(port)) {
                Some(node_port) => *node_port,
                None if gives_free_ones => self.free_port()?,
                None => continue,
            };
            shared.insert(number(port), node_port);
            port["nodePort"] = node_port.into();
        }
        Ok(())
    }

    /// The node port at which load balancers ask for the health of a node.
    fn health_check(&mut self, spec: &mut Value) -> Result<()> {
        let is_checked = spec["type"] == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local";
        if !is_checked {
            return Ok(());
        }
        let requested = spec["healthCheckNodePort"].as_i64().unwrap_or_default();
        match requested {
            0 => spec["healthCheckNodePort"] = self.free_port()?.into(),
            _ => self.take_port("spec.healthCheckNodePort", requested)?,
        }
        Ok(())
    }

    fn take_port(&mut self, field: &str, requested: i64) -> Result<()> {
        let why = if !NODE_PORTS.contains(&requested) {
            "provided port is not in the valid range. The range of valid ports is 30000-32767"
        } else if !self.others.ports.insert(requested) {
            "provided port is already allocated"
        } else {
            return Ok(());
        };
        Err(self.invalid(field, &requested.to_string(), why))
    }

    fn free_port(&mut self) -> Result<i64> {
        let ports = &mut self.others.ports;
        let free = NODE_PORTS.clone().find(|port| !ports.contains(port));
        let free = free.ok_or_else(|| self.range_full("nodePort"))?;
        self.others.ports.insert(free);
        Ok(free)
    }

    fn invalid(&self, field: &str, value: &str, detail: &str) -> Box<Status> {
        let error = FieldError {
            field: field.into(),
            error_type: ErrorType::Invalid(value.into()),
            detail: detail.into(),
        };
        Status::invalid(&self.call.kind, self.name, &[error])
    }

    fn range_full(&self, what: &str) -> Box<Status> {
        Status::internal(format!(
            "failed to allocate a {what} for {}/{}: range is full",
            self.call.namespace, self.name
        ))
    }
}
