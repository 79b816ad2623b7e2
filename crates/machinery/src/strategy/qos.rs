//! The quality-of-service class of a pod (`ComputePodQOS` in `pkg/apis/core/v1/helper/qos`).

use std::collections::BTreeMap;

use pandaemon_types::Quantity;
use serde_json::Value;

use crate::json_fields::ReadFields;

const COMPUTE: [&str; 2] = ["cpu", "memory"];

/// The QoS class of a pod with this spec: `Guaranteed`, `Burstable` or `BestEffort`.
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

/// Adds the positive amounts of CPU and memory to `sums`, in thousandths, and returns how many
/// there were.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::qos_class;

    #[test]
    fn qos_class_depends_on_requests_and_limits() {
        let full = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}});
        let spec = |resources: &[serde_json::Value]| {
            let containers: Vec<_> = resources.iter().map(|r| json!({"resources": r})).collect();
            json!({"containers": containers})
        };
        assert_eq!(qos_class(&spec(std::slice::from_ref(&full))), "Guaranteed");
        assert_eq!(qos_class(&spec(&[full, json!({})])), "Burstable");
        assert_eq!(
            qos_class(&spec(&[json!({"requests": {"cpu": "1m"}})])),
            "Burstable"
        );
        assert_eq!(
            qos_class(&spec(&[json!({"requests": {"cpu": "0"}})])),
            "BestEffort"
        );
    }
}
