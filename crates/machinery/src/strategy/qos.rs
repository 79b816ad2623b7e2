//! The quality-of-service class of a pod, as `pkg/apis/core/helper/qos`.

use std::collections::BTreeMap;

use pandaemon_types::Quantity;
use serde_json::Value;

use crate::access::Access;

const COMPUTE: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed`, `Burstable` or `BestEffort`, from the spec of the pod.
#[must_use]
pub fn qos_class(spec: &Value) -> &'static str {
    let (mut requests, mut limits) = (BTreeMap::new(), BTreeMap::new());
    let mut guaranteed = true;
    let containers = spec
        .items("containers")
        .iter()
        .chain(spec.items("initContainers"));
    for container in containers {
        let resources = &container["resources"];
        add(&resources["requests"], &mut requests);
        guaranteed &= add(&resources["limits"], &mut limits) == COMPUTE.len();
    }
    if requests.is_empty() && limits.is_empty() {
        "BestEffort"
    } else if guaranteed && requests == limits {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// Adds the amounts above zero of CPU and memory and says how many there were.
fn add(list: &Value, sums: &mut BTreeMap<&'static str, i128>) -> usize {
    let mut found = 0;
    for name in COMPUTE {
        let amount = list.field(name).and_then(|a| Quantity::from_json(a).ok());
        let Some(amount) = amount.filter(|a| !a.is_zero() && !a.is_negative()) else {
            continue;
        };
        found += 1;
        *sums.entry(name).or_default() += i128::from(amount.millis());
    }
    found
}
