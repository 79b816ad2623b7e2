//! What the pods of one node take, kept as pods come and go.

use std::collections::BTreeMap;

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
        if let Some(limit) = node.allocatable.get("pods").map(|limit| limit.units())
            && limit <= self.pods
        {
            reasons.push(Reason::PodCount { limit });
        }
        for (name, requested) in pod.requests.iter().filter(|(name, _)| *name != "pods") {
            let used = self.requests.get(name).copied().unwrap_or_default();
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
        for port in &pod.ports {
            if self.ports.keys().any(|taken| taken.conflicts_with(port)) {
                reasons.push(Reason::Port {
                    port: port.clone(),
                    holder: None,
                });
            }
        }
    }
}

/// Resources that every node has, whether or not it says so.
fn is_native(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage")
}
