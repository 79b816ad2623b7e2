//! The state of nodes and pods, and which of them have a task due. Without IO; time is an argument.

mod pods;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pandaemon_client::{
    list_watch::Delta,
    object_meta::{Key, ObjectMeta},
    work_queue::WorkQueue,
};
use pandaemon_types::Uid;
use tokio::time::Instant;

use super::{
    lease::Lease,
    node_health::{Heartbeat, NodeHealth},
    timing::Timing,
};
use crate::views::{Node, Pod};

/// A task for one node or pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// Check a node's conditions and taints.
    Node(String),
    /// Write the condition Ready=False of a pod whose node is not ready.
    MarkNotReady(Key),
    /// Evict a pod from a node with a NoExecute taint, if it is time.
    Evict(Key),
    /// Delete the pods of a node that is gone. An empty name: terminating pods that were never
    /// bound.
    DeleteOrphans(String),
}

#[derive(Debug)]
struct NodeData {
    node: Arc<Node>,
    health: NodeHealth,
    /// It has become not ready, and the event about that was not recorded yet.
    not_ready_event_due: bool,
}

/// The state of all nodes and pods.
#[derive(Debug)]
pub struct NodeMonitor {
    timing: Timing,
    nodes: BTreeMap<String, NodeData>,
    /// The uid and the time of the last renewal of each node's lease.
    leases: BTreeMap<String, (Uid, String)>,
    pods: BTreeMap<String, BTreeMap<Key, Arc<Pod>>>,
    node_of: BTreeMap<Key, String>,
    /// When the wait of a pod for its eviction began.
    evictions: BTreeMap<Key, Instant>,
    not_ready: BTreeSet<String>,
    /// Nodes that pods name and that do not exist: since when, and whether their deletion was seen.
    missing: BTreeMap<String, (Instant, bool)>,
    synced: (bool, bool),
    ticked: Option<Instant>,
}

impl NodeMonitor {
    /// A monitor that has seen no node and no pod.
    #[must_use]
    pub const fn new(timing: Timing) -> Self {
        Self {
            timing,
            nodes: BTreeMap::new(),
            leases: BTreeMap::new(),
            pods: BTreeMap::new(),
            node_of: BTreeMap::new(),
            evictions: BTreeMap::new(),
            not_ready: BTreeSet::new(),
            missing: BTreeMap::new(),
            synced: (false, false),
            ticked: None,
        }
    }

    // === observe ===

    /// Applies an event of nodes.
    pub fn observe_nodes(
        &mut self,
        delta: Delta<Arc<Node>>,
        queue: &mut WorkQueue<Task>,
        now: Instant,
    ) {
        let before = self.may_evict();
        match delta {
            Delta::Listed(items) => {
                let present: BTreeSet<String> =
                    items.iter().map(|node| node.meta.name.clone()).collect();
                let gone: Vec<String> = self
                    .nodes
                    .keys()
                    .filter(|name| !present.contains(*name))
                    .cloned()
                    .collect();
                gone.iter().for_each(|name| self.remove_node(name, now));
                items
                    .into_iter()
                    .for_each(|node| self.add_node(node, queue, now));
                self.synced.0 = true;
            }
            Delta::Applied(node) => self.add_node(node, queue, now),
            Delta::Deleted(node) => self.remove_node(&node.meta.name, now),
        }
        if before != self.may_evict() {
            self.not_ready
                .iter()
                .for_each(|name| queue.add(Task::Node(name.clone())));
        }
    }

    fn add_node(&mut self, node: Arc<Node>, queue: &mut WorkQueue<Task>, now: Instant) {
        let name = node.meta.name.clone();
        let ready = node.condition("Ready");
        let status = ready.map_or_else(String::new, |ready| {
            // Only this controller writes Unknown. It leaves the heartbeat time as it is.
            let posted = if ready.status == "Unknown" {
                ""
            } else {
                ready.status.as_str()
            };
            format!("{} {posted}", ready.last_heartbeat_time)
        });
        self.missing.remove(&name);
        let becomes_not_ready = if node.is_ready() || ready.is_none() {
            self.not_ready.remove(&name);
            false
        } else {
            self.not_ready.insert(name.clone())
        };
        let taints_changed = match self.nodes.get_mut(&name) {
            Some(known) => {
                let own_status = status.trim_end() == known.node_heartbeat();
                if own_status {
                    known.health.saw_own_status(&status);
                } else {
                    known.health.saw_status(&status, now);
                }
                known.not_ready_event_due |= becomes_not_ready;
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
                let lease = self.leases.get(&name).map(|(_, renewed)| renewed.clone());
                let lease = lease.unwrap_or_default();
                let health = NodeHealth::new(Heartbeat { lease, status }, now);
                // A node that was not ready at the start has its event from the previous process.
                let data = NodeData {
                    node,
                    health,
                    not_ready_event_due: false,
                };
                self.nodes.insert(name.clone(), data);
                true
            }
        };
        if becomes_not_ready {
            self.mark_pods_of(&name, queue);
        }
        queue.add(Task::Node(name.clone()));
        if taints_changed {
            let pods: Vec<Arc<Pod>> = self
                .pods
                .get(&name)
                .map(|pods| pods.values().cloned().collect())
                .unwrap_or_default();
            pods.iter()
                .for_each(|pod| self.update_eviction(pod, queue, now));
        }
    }

    fn remove_node(&mut self, name: &str, now: Instant) {
        self.nodes.remove(name);
        self.not_ready.remove(name);
        self.missing.insert(name.to_owned(), (now, true));
    }

    /// Applies an event of node leases.
    pub fn observe_leases(
        &mut self,
        delta: Delta<Lease>,
        queue: &mut WorkQueue<Task>,
        now: Instant,
    ) {
        match delta {
            Delta::Listed(leases) => {
                // A new list means that this process missed renewals, so the silence is not the
                // nodes' fault.
                self.restart_grace_period(now);
                leases
                    .iter()
                    .for_each(|lease| self.renew(lease, queue, now));
            }
            Delta::Applied(lease) => self.renew(&lease, queue, now),
            Delta::Deleted(lease) => {
                let ObjectMeta { name, uid, .. } = &lease.metadata;
                // A later lease of the name stays.
                let known = self.leases.get(name);
                if known.is_some_and(|(known, _)| *known == Uid::from(&**uid)) {
                    self.leases.remove(name);
                }
            }
        }
    }

    fn renew(&mut self, lease: &Lease, queue: &mut WorkQueue<Task>, now: Instant) {
        let (name, renewed) = (&lease.metadata.name, lease.renew_time());
        let uid = Uid::from(&*lease.metadata.uid);
        match self.leases.get_mut(name) {
            Some((known, time)) => {
                *known = uid;
                renewed.clone_into(time);
            }
            None => drop(self.leases.insert(name.clone(), (uid, renewed.to_owned()))),
        }
        if let Some(known) = self.nodes.get_mut(name) {
            let was_unresponsive = known
                .health
                .is_unresponsive(self.timing.node_monitor_grace_period, now);
            known.health.saw_lease(renewed, now);
            if was_unresponsive {
                queue.add(Task::Node(name.clone()));
            }
        }
    }

    /// Starts the grace period of all nodes anew.
    fn restart_grace_period(&mut self, now: Instant) {
        self.nodes
            .values_mut()
            .for_each(|known| known.health.restart_grace_period(now));
    }

    /// Looks for nodes that have become unresponsive, and for pods whose node has been missing for
    /// long enough.
    pub fn tick(&mut self, queue: &mut WorkQueue<Task>, now: Instant) {
        let late = self.timing.monitor_period() * 2 + self.timing.node_monitor_grace_period / 4;
        if self
            .ticked
            .replace(now)
            .is_some_and(|last| now.saturating_duration_since(last) > late)
        {
            // This process was stopped or starved: heartbeats may be waiting to be read.
            self.restart_grace_period(now);
        }
        for (name, known) in &self.nodes {
            let unknown = known
                .node
                .condition("Ready")
                .is_some_and(|r| r.status == "Unknown");
            if !unknown
                && known
                    .health
                    .is_unresponsive(self.timing.node_monitor_grace_period, now)
            {
                queue.add(Task::Node(name.clone()));
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
            let delay = if seen {
                self.timing.deleted_node_delay
            } else {
                self.timing.unknown_node_delay
            };
            if now.saturating_duration_since(since) >= delay {
                queue.add(Task::DeleteOrphans(name.clone()));
            }
        }
    }

    // === ask ===

    /// The node of this name, as last observed.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.nodes.get(name).map(|known| known.node.clone())
    }

    /// Whether an event about the node's change to not ready is due; true once.
    pub fn take_not_ready_event(&mut self, name: &str) -> bool {
        let data = self.nodes.get_mut(name);
        data.is_some_and(|data| std::mem::take(&mut data.not_ready_event_due))
    }

    /// Whether the node had no heartbeat for the grace period.
    #[must_use]
    pub fn is_unresponsive(&self, name: &str, now: Instant) -> bool {
        self.nodes.get(name).is_some_and(|known| {
            known
                .health
                .is_unresponsive(self.timing.node_monitor_grace_period, now)
        })
    }

    /// Whether pods may be evicted from nodes that are not ready. Not while all nodes are, or more
    /// than two and at least 55 % (upstream's threshold of a disrupted zone): then the control
    /// plane or the network is likely the cause.
    #[must_use]
    pub fn may_evict(&self) -> bool {
        let (not_ready, all) = (self.not_ready.len(), self.nodes.len());
        not_ready < all && (not_ready <= 2 || not_ready * 100 < all * 55)
    }
}

impl NodeData {
    /// The heartbeat time of the last status.
    fn node_heartbeat(&self) -> &str {
        self.node
            .condition("Ready")
            .map_or("", |ready| ready.last_heartbeat_time.as_str())
    }
}

impl Node {
    /// Types and statuses of all conditions, without times.
    fn conditions_without_heartbeat(&self) -> Vec<(&str, &str)> {
        self.conditions
            .iter()
            .map(|c| (c.kind.as_str(), c.status.as_str()))
            .collect()
    }
}

#[cfg(test)]
#[path = "node_monitor_tests.rs"]
mod tests;
