//! The conditions of an unresponsive node, and the taints that follow from a node's conditions.
//! Pure.

use jiff::Timestamp;
use pandaemon_types::time::rfc3339_seconds;
use serde_json::{Value, json};

use crate::views::{Node, NodeTaint};

/// The taint of nodes whose condition Ready is False.
pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// The taint of nodes whose condition Ready is Unknown.
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// The taint of cordoned nodes.
pub const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that become taints while they are True.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    (
        "NetworkUnavailable",
        "node.kubernetes.io/network-unavailable",
    ),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
];
/// Conditions that become Unknown when a node is unresponsive.
const UNKNOWN: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// The conditions to write for an unresponsive node; empty when they are Unknown already.
#[must_use]
pub fn unknown_conditions(node: &Node, now: Timestamp) -> Vec<Value> {
    let now = rfc3339_seconds(now);
    UNKNOWN
        .into_iter()
        .filter_map(|kind| {
            let known = node.condition(kind);
            if known.is_some_and(|condition| condition.status == "Unknown") {
                return None;
            }
            let (reason, message) = match known {
                Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
                None => (
                    "NodeStatusNeverUpdated",
                    "Kubelet never posted node status.",
                ),
            };
            let mut condition = json!({
                "type": kind, "status": "Unknown", "reason": reason, "message": message,
                "lastTransitionTime": now,
            });
            if known.is_none() {
                let made = node
                    .meta
                    .creation_timestamp
                    .map_or_else(|| now.clone(), |created| created.to_string());
                condition["lastHeartbeatTime"] = json!(made);
            }
            Some(condition)
        })
        .collect()
}

/// The taints that the node must have; `None` when it has them already. `evict`: whether nodes that
/// are not ready get a NoExecute taint (not when most nodes are not ready).
#[must_use]
pub fn taints(node: &Node, evict: bool, now: Timestamp) -> Option<Vec<NodeTaint>> {
    let wanted = wanted(node, evict);
    let kept = |taint: &NodeTaint| {
        !is_ours(taint) || wanted.contains(&(taint.key.as_str(), taint.effect.as_str()))
    };
    let mut taints: Vec<NodeTaint> = node.taints.iter().filter(|t| kept(t)).cloned().collect();
    for (key, effect) in wanted {
        if !taints
            .iter()
            .any(|taint| taint.key == key && taint.effect == effect)
        {
            taints.push(NodeTaint {
                key: key.to_owned(),
                value: None,
                effect: effect.to_owned(),
                time_added: Some(rfc3339_seconds(now)),
            });
        }
    }
    (taints != node.taints).then_some(taints)
}

fn is_ours(taint: &NodeTaint) -> bool {
    let pressure = PRESSURES.iter().any(|(_, key)| *key == taint.key) || taint.key == UNSCHEDULABLE;
    let readiness = taint.key == NOT_READY || taint.key == UNREACHABLE;
    (pressure && taint.effect == "NoSchedule")
        || (readiness && (taint.effect == "NoSchedule" || taint.effect == "NoExecute"))
}

fn wanted(node: &Node, evict: bool) -> Vec<(&'static str, &'static str)> {
    let mut wanted = Vec::new();
    let readiness = match node.condition("Ready").map(|ready| ready.status.as_str()) {
        Some("True") => None,
        Some("False") => Some(NOT_READY),
        Some(_) => Some(UNREACHABLE),
        // No status was posted yet: the taint that admission puts on a new node stays.
        None => {
            let fresh = node
                .taints
                .iter()
                .any(|t| t.key == NOT_READY && t.effect == "NoSchedule");
            wanted.extend(fresh.then_some((NOT_READY, "NoSchedule")));
            None
        }
    };
    if let Some(key) = readiness {
        wanted.push((key, "NoSchedule"));
        if evict {
            wanted.push((key, "NoExecute"));
        }
    }
    for (condition, key) in PRESSURES {
        if node
            .condition(condition)
            .is_some_and(|found| found.status == "True")
        {
            wanted.push((key, "NoSchedule"));
        }
    }
    if node.view.unschedulable {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;

    use super::*;

    /// `Ready=True DiskPressure=True | key:Effect ... | cordoned`
    fn node(text: &str) -> Node {
        let parts: Vec<&str> = text.split('|').map(str::trim).collect();
        let pairs = |part: &str, mark: char, first: &str, second: &str| -> Vec<Value> {
            part.split_whitespace()
                .filter_map(|word| word.split_once(mark))
                .map(|(a, b)| json!({ first: a, second: b }))
                .collect()
        };
        let object = json!({
            "metadata": { "name": "n", "uid": "u" },
            "spec": {
                "taints": pairs(parts[1], ':', "key", "effect"),
                "unschedulable": parts.get(2).is_some_and(|part| *part == "cordoned"),
            },
            "status": { "conditions": pairs(parts[0], '=', "type", "status") },
        });
        Node::deserialize(&object).unwrap()
    }

    fn shown(taints: Option<Vec<NodeTaint>>) -> String {
        taints.map_or_else(
            || "same".to_owned(),
            |taints| {
                let words = taints.iter().map(|taint| {
                    let key = taint.key.rsplit('/').next().unwrap();
                    format!("{key}:{}", taint.effect)
                });
                words.collect::<Vec<_>>().join(" ")
            },
        )
    }

    #[test]
    fn taints_follow_conditions() {
        let nr = "node.kubernetes.io/not-ready";
        for (text, evict, expected) in [
            ("Ready=True |", true, "same".to_owned()),
            (
                "Ready=False |",
                true,
                "not-ready:NoSchedule not-ready:NoExecute".to_owned(),
            ),
            ("Ready=False |", false, "not-ready:NoSchedule".to_owned()),
            (
                "Ready=Unknown | a:NoExecute",
                true,
                "a:NoExecute unreachable:NoSchedule unreachable:NoExecute".to_owned(),
            ),
            (
                &format!("Ready=True | {nr}:NoSchedule {nr}:NoExecute a:NoSchedule"),
                true,
                "a:NoSchedule".to_owned(),
            ),
            (
                &format!("Ready=Unknown | {nr}:NoSchedule"),
                false,
                "unreachable:NoSchedule".to_owned(),
            ),
            (&format!(" | {nr}:NoSchedule"), true, "same".to_owned()),
            (
                "Ready=True DiskPressure=True |",
                true,
                "disk-pressure:NoSchedule".to_owned(),
            ),
            (
                "Ready=True | | cordoned",
                true,
                "unschedulable:NoSchedule".to_owned(),
            ),
            (
                "Ready=True | node.kubernetes.io/unschedulable:NoSchedule",
                true,
                String::new(),
            ),
        ] {
            assert_eq!(
                shown(taints(&node(text), evict, Timestamp::UNIX_EPOCH)),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn conditions_of_an_unresponsive_node_are_upstreams() {
        let conditions = unknown_conditions(
            &node("Ready=True MemoryPressure=Unknown |"),
            Timestamp::UNIX_EPOCH,
        );
        let words: Vec<String> = conditions
            .iter()
            .map(|c| {
                format!(
                    "{} {}",
                    c["type"].as_str().unwrap(),
                    c["reason"].as_str().unwrap()
                )
            })
            .collect();
        assert_eq!(
            words,
            [
                "Ready NodeStatusUnknown",
                "DiskPressure NodeStatusNeverUpdated",
                "PIDPressure NodeStatusNeverUpdated"
            ]
        );
    }
}
