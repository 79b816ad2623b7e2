//! What the loop knows of nodes and pods, and which of them need a look. No requests, no clock: time is an argument.

mod pods;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::time::Instant;

use super::{
    Lease, Timing,
    health::{Beat, Health},
};
use crate::views::{Node, Pod};
use pandaemon_client::{list_watch::Delta, object_meta::Key, work_queue::WorkQueue};

/// One thing to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// A node's conditions, taints and pods.
    Node(String),
    /// A pod on a node with a NoExecute taint.
    Evict(Key),
    /// The pods of a node that is gone; empty: pods that never had one and are being deleted.
    Collect(String),
}

#[derive(Debug)]
struct Known {
    node: Arc<Node>,
    health: Health,
    /// Its pods were told that they are not ready.
    marked: bool,
}

/// The state.
#[derive(Debug)]
pub struct State {
    timing: Timing,
    nodes: BTreeMap<String, Known>,
    leases: BTreeMap<String, String>,
    pods: BTreeMap<String, BTreeMap<Key, Arc<Pod>>>,
    places: BTreeMap<Key, String>,
    /// Since when a pod's patience runs.
    evictions: BTreeMap<Key, Instant>,
    unready: BTreeSet<String>,
    /// Nodes that pods name and that are not there: since when, and whether their deletion was seen.
    missing: BTreeMap<String, (Instant, bool)>,
    synced: (bool, bool),
    ticked: Option<Instant>,
}

impl State {
    /// Knows nothing yet.
    #[must_use]
    pub const fn new(timing: Timing) -> Self {
        Self {
            timing,
            nodes: BTreeMap::new(),
            leases: BTreeMap::new(),
            pods: BTreeMap::new(),
            places: BTreeMap::new(),
            evictions: BTreeMap::new(),
            unready: BTreeSet::new(),
            missing: BTreeMap::new(),
            synced: (false, false),
            ticked: None,
        }
    }

    // === observe ===

    /// Nodes have changed.
    pub fn nodes(&mut self, delta: Delta<Arc<Node>>, queue: &mut WorkQueue<Work>, now: Instant) {
        let before = self.may_evict();
        match delta {
            Delta::Listed(items) => {
                let there: BTreeSet<String> =
                    items.iter().map(|node| node.meta.name.clone()).collect();
                let gone: Vec<String> = self
                    .nodes
                    .keys()
                    .filter(|name| !there.contains(*name))
                    .cloned()
                    .collect();
                gone.iter().for_each(|name| self.lose(name, now));
                items
                    .into_iter()
                    .for_each(|node| self.see(node, queue, now));
                self.synced.0 = true;
            }
            Delta::Applied(node) => self.see(node, queue, now),
            Delta::Deleted(node) => self.lose(&node.meta.name, now),
        }
        if before != self.may_evict() {
            self.unready
                .iter()
                .for_each(|name| queue.add(Work::Node(name.clone())));
        }
    }

    fn see(&mut self, node: Arc<Node>, queue: &mut WorkQueue<Work>, now: Instant) {
        let name = node.meta.name.clone();
        let ready = node.condition("Ready");
        let status = ready.map_or_else(String::new, |ready| {
            // What we write ourselves (Unknown) keeps the heartbeat, so it is no sign of life.
            let said = if ready.status == "Unknown" {
                ""
            } else {
                ready.status.as_str()
            };
            format!("{} {said}", ready.last_heartbeat_time)
        });
        self.missing.remove(&name);
        let is_ready = node.is_ready();
        if is_ready || ready.is_none() {
            self.unready.remove(&name);
        } else {
            self.unready.insert(name.clone());
        }
        let taints_changed = match self.nodes.get_mut(&name) {
            Some(known) => {
                let own_words = status.trim_end() == known.node_heartbeat();
                if own_words {
                    known.health.saw_own_words(&status);
                } else {
                    known.health.saw_status(&status, now);
                }
                known.marked &= !is_ready;
                let changed = known.node.view.taints != node.view.taints;
                let same = !changed
                    && known.node.conditions_without_heartbeat()
                        == node.conditions_without_heartbeat()
                    && known.node.view.unschedulable == node.view.unschedulable;
                known.node = node;
                if same {
                    return;
                }
                changed
            }
            None => {
                let lease = self.leases.get(&name).cloned().unwrap_or_default();
                let health = Health::new(Beat { lease, status }, now);
                // Pods of a node that was not ready before we came were told then.
                self.nodes.insert(
                    name.clone(),
                    Known {
                        node,
                        health,
                        marked: !is_ready,
                    },
                );
                true
            }
        };
        queue.add(Work::Node(name.clone()));
        if taints_changed {
            let pods: Vec<Arc<Pod>> = self
                .pods
                .get(&name)
                .map(|pods| pods.values().cloned().collect())
                .unwrap_or_default();
            pods.iter().for_each(|pod| self.consider(pod, queue, now));
        }
    }

    fn lose(&mut self, name: &str, now: Instant) {
        self.nodes.remove(name);
        self.unready.remove(name);
        self.missing.insert(name.to_owned(), (now, true));
    }

    /// Leases have changed.
    pub fn leases(&mut self, delta: Delta<Lease>, queue: &mut WorkQueue<Work>, now: Instant) {
        match delta {
            Delta::Listed(leases) => {
                // A list after the first: we were cut off, so silence tells about us and not about nodes.
                self.forgive(now);
                leases.iter().for_each(|lease| self.beat(lease, queue, now));
            }
            Delta::Applied(lease) => self.beat(&lease, queue, now),
            Delta::Deleted(lease) => {
                self.leases.remove(&lease.metadata.name);
            }
        }
    }

    fn beat(&mut self, lease: &Lease, queue: &mut WorkQueue<Work>, now: Instant) {
        let (name, renewed) = (&lease.metadata.name, lease.renewed());
        self.leases.insert(name.clone(), renewed.to_owned());
        if let Some(known) = self.nodes.get_mut(name) {
            let was_silent = known.health.is_silent(self.timing.grace, now);
            known.health.saw_lease(renewed, now);
            if was_silent {
                queue.add(Work::Node(name.clone()));
            }
        }
    }

    /// All nodes have their whole grace time again.
    fn forgive(&mut self, now: Instant) {
        self.nodes
            .values_mut()
            .for_each(|known| known.health.forgive(now));
    }

    /// Looks for nodes that have become silent, and for pods whose node has been missing for long enough.
    pub fn tick(&mut self, queue: &mut WorkQueue<Work>, now: Instant) {
        let late = self.timing.period() * 2 + self.timing.grace / 4;
        if self
            .ticked
            .replace(now)
            .is_some_and(|last| now.saturating_duration_since(last) > late)
        {
            // This process was stopped or starved: heartbeats may be waiting to be read.
            self.forgive(now);
        }
        for (name, known) in &self.nodes {
            let unknown = known
                .node
                .condition("Ready")
                .is_some_and(|r| r.status == "Unknown");
            if !unknown && known.health.is_silent(self.timing.grace, now) {
                queue.add(Work::Node(name.clone()));
            }
        }
        if self.synced != (true, true) {
            return;
        }
        self.missing.retain(|name, _| self.pods.contains_key(name));
        for name in self.pods.keys().filter(|name| !name.is_empty()) {
            if self.nodes.contains_key(name) {
                continue;
            }
            let (since, seen) = *self.missing.entry(name.clone()).or_insert((now, false));
            let patience = if seen {
                self.timing.deleted
            } else {
                self.timing.missing
            };
            if now.saturating_duration_since(since) >= patience {
                queue.add(Work::Collect(name.clone()));
            }
        }
    }

    // === ask ===

    /// The node.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.nodes.get(name).map(|known| known.node.clone())
    }

    /// Whether nothing has been heard of the node for too long.
    #[must_use]
    pub fn is_silent(&self, name: &str, now: Instant) -> bool {
        self.nodes
            .get(name)
            .is_some_and(|known| known.health.is_silent(self.timing.grace, now))
    }

    /// Whether pods may be evicted from nodes that are not ready. Not while so many are that the fault is likely ours or
    /// the network's: all of them, or more than two and at least 55 %, upstream's threshold of a disrupted zone.
    #[must_use]
    pub fn may_evict(&self) -> bool {
        let (unready, all) = (self.unready.len(), self.nodes.len());
        unready < all && (unready <= 2 || unready * 100 < all * 55)
    }
}

impl Known {
    /// The heartbeat of the last status seen, as [`State::see`] writes it for a status of our own.
    fn node_heartbeat(&self) -> &str {
        self.node
            .condition("Ready")
            .map_or("", |ready| ready.last_heartbeat_time.as_str())
    }
}

impl Node {
    /// What the conditions say, without when.
    fn conditions_without_heartbeat(&self) -> Vec<(&str, &str)> {
        self.conditions
            .iter()
            .map(|c| (c.kind.as_str(), c.status.as_str()))
            .collect()
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
