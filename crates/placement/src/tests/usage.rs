//! Sums over the pods of a node: the two ways to keep them agree.

use std::sync::Arc;

use pandaemon_types::{HostPort, NodeView, PodResources, Quantity};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::node;
use crate::{CompactUsage, Reason, Usage};

fn machine(allocatable: Value) -> NodeView {
    node(json!({"metadata": {"name": "n", "uid": "u"}, "status": {"allocatable": allocatable}}))
}

fn pod(name: &str, amount: i64, port: u16) -> Arc<PodResources> {
    let port = HostPort {
        port,
        protocol: "TCP".to_owned(),
        ip: "0.0.0.0".to_owned(),
    };
    Arc::new(PodResources {
        requests: [(name.to_owned(), Quantity::from_units(amount))].into(),
        ports: Some(port)
            .filter(|port| port.port > 0)
            .into_iter()
            .collect(),
    })
}

fn shortages(usage: &Usage, machine: &NodeView, pod: &PodResources) -> Vec<String> {
    let mut reasons = Vec::new();
    usage.shortages(machine, pod, &mut reasons);
    reasons.iter().map(Reason::to_string).collect()
}

#[test]
fn a_resource_that_a_node_does_not_report_is_short_unless_it_reports_none() {
    let (cpu, gpu) = (pod("cpu", 1, 0), pod("gpu", 1, 0));
    let usage = Usage::default();
    let (fresh, registered) = (machine(json!({})), machine(json!({"memory": "1Gi"})));
    for name in ["cpu", "memory", "ephemeral-storage"] {
        assert_eq!(shortages(&usage, &fresh, &pod(name, 1, 0)), [""; 0]);
    }
    let lacks = |name: &str| format!("the node has no {name}: 1 requested");
    assert_eq!(shortages(&usage, &fresh, &gpu), [lacks("gpu")]);
    assert_eq!(shortages(&usage, &registered, &cpu), [lacks("cpu")]);
    assert_eq!(shortages(&usage, &registered, &gpu), [lacks("gpu")]);
}

#[test]
fn sums_are_those_of_the_pods() {
    let mut usage = Usage::default();
    usage.add(&pod("cpu", 1, 80));
    usage.add(&pod("cpu", 2, 0));
    usage.add(&pod("gpu", 1, 80));
    assert_eq!(usage.pods(), 3);
    let sums = [("cpu", 3), ("gpu", 1)].map(|(name, sum)| (name.to_owned(), sum));
    let sums = sums.map(|(name, sum)| (name, Quantity::from_units(sum)));
    assert_eq!(usage.requests(), &sums.into());
    // The port is taken as long as one of its two pods is there.
    let full = machine(json!({"cpu": "9", "gpu": "9"}));
    usage.remove(&pod("cpu", 1, 80));
    assert_eq!(
        shortages(&usage, &full, &pod("cpu", 1, 80)),
        ["host port 80/TCP is taken"]
    );
    usage.remove(&pod("gpu", 1, 80));
    assert_eq!(shortages(&usage, &full, &pod("cpu", 1, 80)), [""; 0]);
    assert_eq!(usage.pods(), 1);
}

proptest! {
    /// Whatever was added and removed, [`CompactUsage`] answers as [`Usage`] does.
    #[test]
    fn compact_sums_agree_with_the_others(
        steps in prop::collection::vec((any::<bool>(), 0_usize..6), 0..30),
        limits in (0_i64..6, 0_i64..6, 1_i64..8),
    ) {
        let pods = [
            pod("cpu", 1, 0), pod("cpu", 2, 80), pod("memory", 1, 80), pod("memory", 2, 81),
            pod("gpu", 1, 0), pod("pods", 1, 0),
        ];
        let (cpu, memory, count) = limits;
        let machine = machine(json!({"cpu": cpu, "memory": memory, "gpu": 2, "pods": count}));
        let (mut usage, mut compact) = (Usage::default(), CompactUsage::default());
        let mut added = [0_u32; 6];
        for (is_added, which) in steps {
            let (pod, count) = (&pods[which], &mut added[which]);
            if is_added {
                usage.add(pod);
                // An equal value, as planners intern them only within a sweep.
                compact.add(&Arc::new(PodResources::clone(pod)));
                *count += 1;
            } else if *count > 0 {
                usage.remove(pod);
                compact.remove(pod);
                *count -= 1;
            }
            prop_assert_eq!(compact.is_empty(), usage.pods() == 0);
            for pod in &pods {
                let is_free = shortages(&usage, &machine, pod).is_empty();
                prop_assert_eq!(compact.has_room(&machine, pod), is_free);
            }
        }
        for (pod, count) in pods.iter().zip(added) {
            for _ in 0..count {
                usage.remove(pod);
                compact.remove(pod);
            }
        }
        prop_assert_eq!(&usage, &Usage::default());
        prop_assert!(compact.is_empty());
    }
}
