//! Preemption: which pods of lower priority must leave a node so that a pod fits. Pure.

use std::cmp::Reverse;

use pandaemon_client::object_meta::Key;
use pandaemon_placement::{Fit, Usage, fit};
use pandaemon_types::NodeView;

use super::cache::{NodeInfo, PodInfo};
use crate::views::{Pod, pod::Pending};

/// A pod to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    /// Its namespace and name.
    pub key: Key,
    /// The uid that the deletion names.
    pub uid: String,
    /// The value of its priority class.
    pub priority: i32,
}

/// Whether pods of lower priority are terminating on the node that the pod is nominated to.
#[must_use]
pub fn has_terminating_victims(pod: &Pod, info: &NodeInfo) -> bool {
    info.pods
        .values()
        .any(|other| other.deleting && other.priority < pod.priority)
}

/// The node whose highest victim has the lowest priority, then the one with the fewest victims
/// (upstream's `SelectCandidate`, without PodDisruptionBudgets).
pub fn select_candidate<'a>(
    pod: &Pod,
    pending: &Pending,
    nodes: impl Iterator<Item = (&'a str, &'a NodeView, &'a NodeInfo)>,
) -> Option<(&'a str, Vec<Victim>)> {
    nodes
        .filter_map(|(name, node, info)| {
            let victims = select_victims_on_node(pod, pending, node, info)?;
            let highest = victims.iter().map(|victim| victim.priority).max()?;
            Some(((highest, victims.len(), name), victims))
        })
        .min_by(|(a, _), (b, _)| a.cmp(b))
        .map(|((_, _, name), victims)| (name, victims))
}

/// The pods of lower priority to delete; `None` if the pod would not fit even then (upstream's
/// `SelectVictimsOnNode`). Spares as many as possible, those of higher priority first.
#[must_use]
pub fn select_victims_on_node(
    pod: &Pod,
    pending: &Pending,
    node: &NodeView,
    info: &NodeInfo,
) -> Option<Vec<Victim>> {
    let mut lower: Vec<(&Key, &PodInfo)> = info
        .pods
        .iter()
        .filter(|(_, other)| other.priority < pod.priority)
        .collect();
    if lower.is_empty() {
        return None;
    }
    let mut usage: Usage = info.usage_for(&pod.meta.key(), pod.priority).into_owned();
    lower
        .iter()
        .for_each(|(_, other)| usage.remove(&other.resources));
    let fits = |usage: &Usage| fit(&pending.needs, node, usage) == Fit::Yes;
    if !fits(&usage) {
        return None;
    }
    lower.sort_by_key(|(key, other)| (Reverse(other.priority), (*key).clone()));
    let mut victims = Vec::new();
    for (key, other) in lower {
        usage.add(&other.resources);
        if !fits(&usage) {
            usage.remove(&other.resources);
            let (key, uid) = (key.clone(), other.uid.clone());
            victims.push(Victim {
                key,
                uid,
                priority: other.priority,
            });
        }
    }
    Some(victims).filter(|victims| !victims.is_empty())
}
