//! Sums of what the pods of one node take, updated as pods are added and removed.

use std::{collections::BTreeMap, sync::Arc};

use pandaemon_types::{HostPort, NodeView, PodResources, Quantity, Resources, pod_resources};

use crate::Reason;

/// Requested resources, host ports and number of the pods of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    requests: Resources,
    ports: BTreeMap<HostPort, u32>,
    pods: i64,
}

impl Usage {
    /// Adds a pod.
    pub fn add(&mut self, pod: &PodResources) {
        pod_resources::add(&mut self.requests, &pod.requests);
        for port in &pod.ports {
            *self.ports.entry(port.clone()).or_default() += 1;
        }
        self.pods += 1;
    }

    /// Removes a pod that was added before.
    pub fn remove(&mut self, pod: &PodResources) {
        pod_resources::subtract(&mut self.requests, &pod.requests);
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

    /// The number of pods.
    #[must_use]
    pub const fn pods(&self) -> i64 {
        self.pods
    }

    /// The sum of the requests, by resource.
    #[must_use]
    pub const fn requests(&self) -> &Resources {
        &self.requests
    }

    /// Appends the reasons why one more pod with these resources cannot start on the node.
    pub fn shortages(&self, node: &NodeView, pod: &PodResources, reasons: &mut Vec<Reason>) {
        let used = |name: &str| self.requests.get(name).copied().unwrap_or_default();
        let taken = |port: &HostPort| self.ports.keys().any(|other| other.conflicts_with(port));
        shortages(node, pod, self.pods, used, taken, reasons);
    }
}

/// Appends the reasons why a pod cannot start beside `pods` others. `used` is the sum of their
/// requests of a resource, `taken` whether one of them has a conflicting port.
fn shortages(
    node: &NodeView,
    pod: &PodResources,
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
                    holders: Vec::new(),
                });
            }
            // A node that reports no allocatable resources has not registered them yet.
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

/// The same as [`Usage`] in less memory, for planners that keep one per node: a list of distinct,
/// shared pod resources with their counts. Asking for room costs a walk over the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactUsage(Vec<(Arc<PodResources>, u32)>);

impl CompactUsage {
    /// Adds a pod.
    pub fn add(&mut self, pod: &Arc<PodResources>) {
        if let Some((_, count)) = self.0.iter_mut().find(|(resources, _)| resources == pod) {
            *count += 1;
        } else {
            self.0.reserve_exact(1);
            self.0.push((Arc::clone(pod), 1));
        }
    }

    /// Removes a pod that was added before.
    pub fn remove(&mut self, pod: &Arc<PodResources>) {
        let Some(position) = self.0.iter().position(|(resources, _)| resources == pod) else {
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

    /// Whether no pod is counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one more pod with these resources can start on the node.
    #[must_use]
    pub fn has_room(&self, node: &NodeView, pod: &PodResources) -> bool {
        let pods = self.0.iter().map(|(_, count)| i64::from(*count)).sum();
        let used = |name: &str| {
            let each = self
                .0
                .iter()
                .filter_map(|(resources, count)| Some((*resources.requests.get(name)?, *count)));
            let mut sum = Quantity::ZERO;
            each.for_each(|(amount, count)| (0..count).for_each(|_| sum += amount));
            sum
        };
        let taken = |port: &HostPort| {
            let mut ports = self.0.iter().flat_map(|(resources, _)| &resources.ports);
            ports.any(|other| other.conflicts_with(port))
        };
        let mut reasons = Vec::new();
        shortages(node, pod, pods, used, taken, &mut reasons);
        reasons.is_empty()
    }
}

/// Resources that every node has, even if it does not report them.
fn is_native(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage")
}
