//! Explanations of a node: all reasons against it, with the pods that hold what is short, and
//! summaries.

use pandaemon_types::{HostPort, NodeView, PodResources, PodView};

use crate::{Holder, PodNeeds, Reason, Usage, taints};

/// All reasons why a daemon pod should not run on a node; [`daemon_fit`](crate::daemon_fit) returns
/// the first. Empty if it should.
#[must_use]
pub fn mismatches(needs: &PodNeeds, node: &NodeView) -> Vec<Reason> {
    let taints = taints::all_untolerated(&needs.tolerations, &node.taints);
    let taints = taints.map(|taint| Reason::Taint(taint.clone()));
    needs.node_mismatches(node).chain(taints).collect()
}

/// All reasons why one more pod with these resources cannot start on a node beside `pods`, with the
/// pods that hold what it lacks. Pods that ended hold nothing.
#[must_use]
pub fn shortages(node: &NodeView, wanted: &PodResources, pods: &[&PodView]) -> Vec<Reason> {
    let running = || pods.iter().copied().filter(|pod| !pod.phase.is_terminal());
    let mut usage = Usage::default();
    running().for_each(|pod| usage.add(&pod.resources));
    let mut reasons = Vec::new();
    usage.shortages(node, wanted, &mut reasons);
    for reason in &mut reasons {
        match reason {
            Reason::Resource { name, holders, .. } => *holders = holders_of(name, running()),
            Reason::Port { port, holder } => *holder = port_holder(port, running()),
            _ => {}
        }
    }
    reasons
}

fn holders_of<'a>(resource: &str, pods: impl Iterator<Item = &'a PodView>) -> Vec<Holder> {
    let holder = |pod: &PodView| {
        let amount = *pod.resources.requests.get(resource)?;
        let pod = full_name(pod);
        Some(Holder { pod, amount })
    };
    let mut holders: Vec<Holder> = pods.filter_map(holder).collect();
    holders.sort_by(|a, b| (b.amount, &a.pod).cmp(&(a.amount, &b.pod)));
    holders
}

fn port_holder<'a>(port: &HostPort, mut pods: impl Iterator<Item = &'a PodView>) -> Option<String> {
    let conflicts = |pod: &&PodView| pod.resources.ports.iter().any(|p| p.conflicts_with(port));
    pods.find(conflicts).map(full_name)
}

fn full_name(pod: &PodView) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

impl PodNeeds {
    /// The text of a reason without what differs from node to node, so that nodes with equal
    /// summaries can share a line.
    #[must_use]
    pub fn summary(&self, reason: &Reason) -> String {
        match reason {
            Reason::NodeSelector { key, wanted, .. } => {
                format!("node selector wants {key}={wanted}")
            }
            Reason::Affinity { .. } => {
                let terms = self.affinity.iter().flatten();
                let terms = terms.filter(|term| term.can_hold());
                let texts: Vec<String> = terms.map(ToString::to_string).collect();
                format!("node affinity wants {}", texts.join(", or "))
            }
            Reason::Resource { name, .. } => format!("{name} is short"),
            Reason::NoSuchResource { name, .. } => format!("the node has no {name}"),
            Reason::PodCount { .. } => "the node runs all of its pods".to_owned(),
            Reason::Port { port, .. } => Reason::Port {
                port: port.clone(),
                holder: None,
            }
            .to_string(),
            Reason::OtherNode { .. }
            | Reason::EmptyAffinity
            | Reason::Taint(_)
            | Reason::Unschedulable => reason.to_string(),
        }
    }
}
