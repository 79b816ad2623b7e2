//! Which EndpointSlices to create, update and delete for a service (upstream's endpointslice
//! reconciler). Pure.
//!
//! An endpoint stays in its slice, so that a change of one pod is a write of one slice.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    addresses::{Address, Port},
    endpoints_object::port,
    service::Service,
};

/// The most endpoints in one slice; upstream's default.
const MAX_ENDPOINTS: usize = 100;
/// The label that names the controller of a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The name of upstream's controller, which this one replaces.
pub const MANAGER: &str = "endpointslice-controller.k8s.io";
/// The label that names the service of a slice.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// The writes that bring the slices up to date.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Slices to create.
    pub create: Vec<Value>,
    /// Slices that have changed.
    pub update: Vec<Value>,
    /// Names and uids of slices that are no longer needed.
    pub delete: Vec<(String, String)>,
}

/// A group of endpoints that may share slices: the same family and the same ports.
type Group = (String, String);

/// Compares the wanted endpoints with the existing slices.
#[must_use]
pub fn plan(service: &Service, addresses: &[Address], existing: &[Value]) -> Plan {
    let mut plan = Plan::default();
    let mut wanted = wanted(service, addresses);
    let labels = labels(service);
    let mut existing: Vec<&Value> = existing.iter().collect();
    existing.sort_by_key(|slice| {
        slice["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    });
    for slice in existing {
        let name = slice["metadata"]["name"].as_str().unwrap_or_default();
        let group = (text(&slice["addressType"]), ports_text(&slice["ports"]));
        let endpoints = match wanted.get_mut(&group) {
            Some(wanted) => wanted.refill(slice),
            None => Vec::new(),
        };
        // A service without endpoints keeps one empty slice.
        let keep =
            !endpoints.is_empty() || wanted.get(&group).is_some_and(|wanted| wanted.may_be_empty);
        if !keep {
            plan.delete
                .push((name.to_owned(), text(&slice["metadata"]["uid"])));
            continue;
        }
        if let Some(wanted) = wanted.get_mut(&group) {
            wanted.may_be_empty = false;
        }
        if !same(slice, &endpoints, &labels) {
            let mut changed = slice.clone();
            changed["endpoints"] = Value::Array(endpoints);
            changed["metadata"]["labels"] = labels.clone();
            plan.update.push(changed);
        }
    }
    for ((family, _), group) in wanted {
        let rest: Vec<Value> = group.endpoints.into_values().collect();
        let chunks: Vec<&[Value]> = if rest.is_empty() && group.may_be_empty {
            vec![&[]]
        } else {
            rest.chunks(MAX_ENDPOINTS).collect()
        };
        for chunk in chunks {
            plan.create
                .push(slice(service, &family, &group.ports, chunk, &labels));
        }
    }
    plan
}

/// The endpoints of a group that are in no slice yet.
struct Wanted {
    ports: Value,
    endpoints: BTreeMap<String, Value>,
    may_be_empty: bool,
}

impl Wanted {
    /// The new endpoints of an existing slice: those in it that are still wanted, then others up to
    /// the limit.
    fn refill(&mut self, slice: &Value) -> Vec<Value> {
        let old = slice["endpoints"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let mut endpoints: Vec<Value> = old
            .iter()
            .filter_map(|endpoint| self.endpoints.remove(&identity(endpoint)))
            .collect();
        while endpoints.len() < MAX_ENDPOINTS
            && let Some((_, endpoint)) = self.endpoints.pop_first()
        {
            endpoints.push(endpoint);
        }
        endpoints
    }
}

fn wanted(service: &Service, addresses: &[Address]) -> BTreeMap<Group, Wanted> {
    let families = if service.spec.ip_families.is_empty() {
        vec!["IPv4".to_owned()]
    } else {
        service.spec.ip_families.clone()
    };
    let mut wanted: BTreeMap<Group, Wanted> = BTreeMap::new();
    for address in addresses
        .iter()
        .filter(|address| families.iter().any(|f| f == address.family))
    {
        let ports = ports(&address.ports);
        let group = (address.family.to_owned(), ports_text(&ports));
        let endpoint = endpoint(address);
        let entry = wanted.entry(group).or_insert_with(|| Wanted {
            ports,
            endpoints: BTreeMap::new(),
            may_be_empty: false,
        });
        entry.endpoints.insert(identity(&endpoint), endpoint);
    }
    // As upstream, a service without endpoints has one empty slice of each family.
    for family in families {
        if !wanted.keys().any(|(known, _)| *known == family) {
            let ports = Value::Null;
            let group = (family, ports_text(&ports));
            let empty = Wanted {
                ports,
                endpoints: BTreeMap::new(),
                may_be_empty: true,
            };
            wanted.insert(group, empty);
        }
    }
    wanted
}

fn ports(ports: &BTreeSet<Port>) -> Value {
    ports
        .iter()
        .map(|known| {
            let mut value = port(known);
            // In slices an only port has an empty name.
            value["name"] = json!(known.name);
            value
        })
        .collect()
}

/// A text that is equal for equal sets of ports; no ports and an empty list are equal.
fn ports_text(ports: &Value) -> String {
    let mut texts: Vec<String> = ports
        .as_array()
        .into_iter()
        .flatten()
        .map(Value::to_string)
        .collect();
    texts.sort();
    texts.join(" ")
}

fn identity(endpoint: &Value) -> String {
    format!(
        "{} {}",
        text(&endpoint["targetRef"]["uid"]),
        text(&endpoint["addresses"][0])
    )
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn endpoint(address: &Address) -> Value {
    let mut endpoint = json!({
        "addresses": [address.ip],
        "conditions": {
            "ready": address.ready, "serving": address.serving, "terminating": address.terminating,
        },
        "targetRef": address.target_ref(),
    });
    if let Some(hostname) = &address.hostname {
        endpoint["hostname"] = json!(hostname);
    }
    if !address.node.is_empty() {
        endpoint["nodeName"] = json!(address.node);
    }
    endpoint
}

fn labels(service: &Service) -> Value {
    let mut labels = (*service.metadata.labels).clone();
    labels.remove(HEADLESS);
    if service.is_headless() {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), service.metadata.name.clone());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    json!(labels)
}

fn slice(
    service: &Service,
    family: &str,
    ports: &Value,
    endpoints: &[Value],
    labels: &Value,
) -> Value {
    let meta = &service.metadata;
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": format!("{}-", meta.name),
            "namespace": meta.namespace,
            "labels": labels,
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": meta.name, "uid": meta.uid,
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": ports,
    })
}

fn same(slice: &Value, endpoints: &[Value], labels: &Value) -> bool {
    let old = slice["endpoints"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    old == endpoints && slice["metadata"]["labels"] == *labels
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;

    use super::*;

    fn service() -> Service {
        Service::deserialize(&json!({
            "metadata": { "name": "s", "namespace": "a", "uid": "su" },
            "spec": { "selector": { "app": "a" }, "ports": [{ "port": 80 }] },
        }))
        .unwrap()
    }

    fn address(index: usize, ready: bool) -> Address {
        Address {
            ip: format!("10.0.{}.{}", index / 250, index % 250),
            family: "IPv4",
            ready,
            serving: ready,
            terminating: false,
            hostname: None,
            node: "n1".to_owned(),
            target: ("a".to_owned(), format!("p{index}"), format!("u{index:05}")),
            ports: BTreeSet::from([Port {
                name: String::new(),
                port: 80,
                protocol: "TCP".to_owned(),
                app_protocol: None,
            }]),
        }
    }

    fn named(mut slice: Value, name: &str) -> Value {
        slice["metadata"]["name"] = json!(name);
        slice
    }

    fn sizes(plan: &Plan) -> (Vec<usize>, Vec<usize>, usize) {
        let count = |slices: &[Value]| {
            slices
                .iter()
                .map(|slice| slice["endpoints"].as_array().unwrap().len())
                .collect()
        };
        (count(&plan.create), count(&plan.update), plan.delete.len())
    }

    #[test]
    fn a_slice_holds_a_hundred_endpoints_and_a_change_writes_one_slice() {
        let mut addresses: Vec<Address> = (0..150).map(|index| address(index, true)).collect();
        let first = plan(&service(), &addresses, &[]);
        assert_eq!(sizes(&first), (vec![100, 50], vec![], 0));
        let existing: Vec<Value> = first
            .create
            .into_iter()
            .zip(["s-a", "s-b"])
            .map(|(s, name)| named(s, name))
            .collect();
        assert_eq!(
            plan(&service(), &addresses, &existing),
            Plan::default(),
            "twice is nothing"
        );
        addresses[120] = address(120, false);
        assert_eq!(
            sizes(&plan(&service(), &addresses, &existing)),
            (vec![], vec![50], 0)
        );
        addresses.truncate(100);
        assert_eq!(
            sizes(&plan(&service(), &addresses, &existing)),
            (vec![], vec![], 1)
        );
    }

    #[test]
    fn a_service_without_endpoints_has_one_empty_slice() {
        let first = plan(&service(), &[], &[]);
        assert_eq!(sizes(&first), (vec![0], vec![], 0));
        let empty = named(first.create[0].clone(), "s-a");
        assert_eq!(
            plan(&service(), &[], std::slice::from_ref(&empty)),
            Plan::default()
        );
        let next = plan(&service(), &[address(1, true)], &[empty]);
        assert_eq!(sizes(&next), (vec![1], vec![], 1));
    }
}
