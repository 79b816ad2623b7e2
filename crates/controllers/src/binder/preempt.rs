//! Who must leave a node so that a more important pod fits. Pure.

use std::cmp::Reverse;

use pandaemon_placement::{Fit, Usage, fit};
use pandaemon_types::NodeView;

use super::cluster::{Held, Place};
use crate::views::{Pod, pod::Pending};
use pandaemon_client::object_meta::Key;

/// A pod that must go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    /// Its key.
    pub key: Key,
    /// Its uid.
    pub uid: String,
    /// Its priority.
    pub priority: i32,
}

/// Whether pods that make room for the pod are still on their way out.
#[must_use]
pub fn is_making_room(pod: &Pod, place: &Place) -> bool {
    place
        .pods
        .values()
        .any(|held| held.deleting && held.priority < pod.priority)
}

/// The node where the least is lost: the least important victim first, then the fewest.
pub fn choose<'a>(
    pod: &Pod,
    pending: &Pending,
    nodes: impl Iterator<Item = (&'a str, &'a NodeView, &'a Place)>,
) -> Option<(&'a str, Vec<Victim>)> {
    nodes
        .filter_map(|(name, node, place)| {
            let victims = victims(pod, pending, node, place)?;
            let highest = victims.iter().map(|victim| victim.priority).max()?;
            Some(((highest, victims.len(), name), victims))
        })
        .min_by(|(a, _), (b, _)| a.cmp(b))
        .map(|((_, _, name), victims)| (name, victims))
}

/// Those of lower priority that must go; `None` if that would not help. As many as possible stay, the most important
/// first.
#[must_use]
pub fn victims(
    pod: &Pod,
    pending: &Pending,
    node: &NodeView,
    place: &Place,
) -> Option<Vec<Victim>> {
    let mut lower: Vec<(&Key, &Held)> = place
        .pods
        .iter()
        .filter(|(_, held)| held.priority < pod.priority)
        .collect();
    if lower.is_empty() {
        return None;
    }
    let mut usage: Usage = place.usage_for(&pod.meta.key(), pod.priority).into_owned();
    lower
        .iter()
        .for_each(|(_, held)| usage.remove(&held.resources));
    let enough = |usage: &Usage| fit(&pending.needs, node, usage) == Fit::Yes;
    if !enough(&usage) {
        return None;
    }
    lower.sort_by_key(|(key, held)| (Reverse(held.priority), (*key).clone()));
    let mut victims = Vec::new();
    for (key, held) in lower {
        usage.add(&held.resources);
        if !enough(&usage) {
            usage.remove(&held.resources);
            let (key, uid) = (key.clone(), held.uid.clone());
            victims.push(Victim {
                key,
                uid,
                priority: held.priority,
            });
        }
    }
    Some(victims).filter(|victims| !victims.is_empty())
}
