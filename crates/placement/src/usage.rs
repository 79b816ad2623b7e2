//! What the pods of one node take, kept as pods come and go.

use std::{collections::BTreeMap, sync::Arc};

use pandaemon_types::{Claims, HostPort, NodeView, Quantity, Resources, claims};

use crate::Reason;

/// What the pods of one node take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    requests: Resources,
    ports: BTreeMap<HostPort, u32>,
    pods: i64,
}

impl Usage {
    /// A pod came.
    pub fn add(&mut self, pod: &Claims) {
        claims::add(&mut self.requests, &pod.requests);
        for port in &pod.ports {
            *self.ports.entry(port.clone()).or_default() += 1;
        }
        self.pods += 1;
    }

    /// A pod that was added left.
    pub fn remove(&mut self, pod: &Claims) {
        claims::subtract(&mut self.requests, &pod.requests);
        for port in &pod.ports {
            if let Some(count) = self.ports.get_mut(port) {
                *count -= 1;
                if *count == 0 {
                    self.ports.remove(port);
                }
            }
        }
        self.pods -= 1;
    }

    /// How many pods there are.
    #[must_use]
    pub const fn pods(&self) -> i64 {
        self.pods
    }

    /// What is requested, by resource.
    #[must_use]
    pub const fn requests(&self) -> &Resources {
        &self.requests
    }

    /// Appends why a further pod with these claims cannot start on the node.
    pub fn shortages(&self, node: &NodeView, pod: &Claims, reasons: &mut Vec<Reason>) {
        let used = |name: &str| self.requests.get(name).copied().unwrap_or_default();
        let taken = |port: &HostPort| self.ports.keys().any(|other| other.conflicts_with(port));
        shortages(node, pod, self.pods, used, taken, reasons);
    }
}

/// Appends why a further pod cannot start beside `pods` others, told what they use and which ports
/// they have taken.
fn shortages(
    node: &NodeView,
    pod: &Claims,
    pods: i64,
    used: impl Fn(&str) -> Quantity,
    taken: impl Fn(&HostPort) -> bool,
    reasons: &mut Vec<Reason>,
) {
    if let Some(limit) = node.allocatable.get("pods").map(|limit| limit.units())
        && limit <= pods
    {
        reasons.push(Reason::PodCount { limit });
    }
    for (name, requested) in pod.requests.iter().filter(|(name, _)| *name != "pods") {
        let used = used(name);
        match node.allocatable.get(name) {
            Some(total) if *requested <= *total - used => {}
            Some(total) => {
                let free = (*total - used).max(Quantity::ZERO);
                let (name, requested) = (name.clone(), *requested);
                reasons.push(Reason::Resource {
                    name,
                    requested,
                    free,
                });
            }
            // A node that reports nothing at all is not judged: it has not said yet.
            None if node.allocatable.is_empty() && is_native(name) => {}
            None => {
                let (name, requested) = (name.clone(), *requested);
                reasons.push(Reason::NoSuchResource { name, requested });
            }
        }
    }
    for port in pod.ports.iter().filter(|port| taken(port)) {
        reasons.push(Reason::Port {
            port: port.clone(),
            holder: None,
        });
    }
}

/// What the pods of one node take, in few bytes: the pods of a node have few different claims, and
/// nodes share them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load(Vec<(Arc<Claims>, u32)>);

impl Load {
    /// A pod came.
    pub fn add(&mut self, pod: &Arc<Claims>) {
        if let Some((_, count)) = self.0.iter_mut().find(|(claims, _)| claims == pod) {
            *count += 1;
        } else {
            self.0.reserve_exact(1);
            self.0.push((Arc::clone(pod), 1));
        }
    }

    /// A pod that was added left.
    pub fn remove(&mut self, pod: &Arc<Claims>) {
        let Some(position) = self.0.iter().position(|(claims, _)| claims == pod) else {
            return;
        };
        if let Some((_, count)) = self.0.get_mut(position)
            && *count > 1
        {
            *count -= 1;
        } else {
            self.0.swap_remove(position);
        }
    }

    /// Whether there is no pod.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a further pod with these claims can start on the node.
    #[must_use]
    pub fn has_room(&self, node: &NodeView, pod: &Claims) -> bool {
        let pods = self.0.iter().map(|(_, count)| i64::from(*count)).sum();
        let used = |name: &str| {
            let each = self
                .0
                .iter()
                .filter_map(|(claims, count)| Some((*claims.requests.get(name)?, *count)));
            let mut sum = Quantity::ZERO;
            each.for_each(|(amount, count)| (0..count).for_each(|_| sum += amount));
            sum
        };
        let taken = |port: &HostPort| {
            let mut ports = self.0.iter().flat_map(|(claims, _)| &claims.ports);
            ports.any(|other| other.conflicts_with(port))
        };
        let mut reasons = Vec::new();
        shortages(node, pod, pods, used, taken, &mut reasons);
        reasons.is_empty()
    }
}

/// Resources that every node has, whether or not it says so.
fn is_native(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage")
}
