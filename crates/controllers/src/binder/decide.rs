//! Which node a pod gets, or why none. Pure.

use pandaemon_placement::{Fit, Reason, fit};
use pandaemon_types::{Effect, NodeView, Quantity};

use super::{
    cluster::{Cluster, Place},
    preempt::{self, Victim},
    report::Diagnosis,
};
use crate::views::{Pod, pod::Pending};

/// What to do with a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Bind it.
    Bind(String),
    /// Make room for it on a node.
    Preempt {
        /// The node.
        node: String,
        /// Who must go.
        victims: Vec<Victim>,
        /// Why it does not fit now.
        message: String,
    },
    /// There is no place for it now.
    No {
        /// Why.
        message: String,
    },
}

/// Decides.
#[must_use]
pub fn decide(pod: &Pod, cluster: &Cluster) -> Decision {
    let Some(pending) = pod.pending.as_deref() else {
        return Decision::No {
            message: "the pod has a node already".to_owned(),
        };
    };
    if cluster.is_empty() {
        return Decision::No {
            message: "no nodes available to schedule pods".to_owned(),
        };
    }
    let mut diagnosis = Diagnosis::new(cluster.len());
    let mut best: Option<(Score, &str)> = None;
    for (name, node, place) in candidates(pending, cluster) {
        match fits(pod, pending, node, place) {
            Fit::Yes => {
                let score = Score::of(pending, node, place);
                if best.as_ref().is_none_or(|(known, _)| score < *known) {
                    best = Some((score, name));
                }
            }
            Fit::No(reasons) => diagnosis.add(&reasons),
        }
    }
    if let Some((_, name)) = best {
        return Decision::Bind(name.to_owned());
    }
    diagnosis.others_are_wrong_nodes();
    make_room(pod, pending, cluster, &diagnosis)
}

fn make_room(pod: &Pod, pending: &Pending, cluster: &Cluster, diagnosis: &Diagnosis) -> Decision {
    if !pending.preempts {
        return Decision::No {
            message: diagnosis.text(Some("not eligible due to preemptionPolicy=Never.")),
        };
    }
    let nominated = cluster
        .nomination(&pod.meta.key())
        .and_then(|name| cluster.node(name));
    if nominated.is_some_and(|(_, place)| preempt::is_making_room(pod, place)) {
        let why = "not eligible due to a terminating pod on the nominated node.";
        return Decision::No {
            message: diagnosis.text(Some(why)),
        };
    }
    match preempt::choose(pod, pending, candidates(pending, cluster)) {
        Some((node, victims)) => Decision::Preempt {
            node: node.to_owned(),
            victims,
            message: diagnosis.text(None),
        },
        None => Decision::No {
            message: diagnosis.text(Some(&diagnosis.no_preemption())),
        },
    }
}

/// The nodes to look at: one for a pinned pod, else all.
fn candidates<'a>(
    pending: &'a Pending,
    cluster: &'a Cluster,
) -> Box<dyn Iterator<Item = (&'a str, &'a NodeView, &'a Place)> + 'a> {
    match pending.target.as_deref() {
        Some(target) => Box::new(
            cluster
                .node(target)
                .into_iter()
                .map(move |(node, place)| (target, node, place)),
        ),
        None => Box::new(cluster.nodes()),
    }
}

fn fits(pod: &Pod, pending: &Pending, node: &NodeView, place: &Place) -> Fit {
    let usage = place.usage_for(&pod.meta.key(), pod.priority);
    match fit(&pending.needs, node, &usage) {
        Fit::Yes => Fit::Yes,
        Fit::No(reasons) => Fit::No(first_filter(reasons)),
    }
}

/// Upstream stops at the first filter that says no, so only its reasons are told.
#[must_use]
pub fn first_filter(reasons: Vec<Reason>) -> Vec<Reason> {
    let first = reasons.iter().map(filter_order).min().unwrap_or(u8::MAX);
    reasons
        .into_iter()
        .filter(|reason| filter_order(reason) == first)
        .collect()
}

const fn filter_order(reason: &Reason) -> u8 {
    match reason {
        Reason::Unschedulable => 0,
        Reason::OtherNode { .. } => 1,
        Reason::Taint(_) => 2,
        Reason::NodeSelector { .. } | Reason::Affinity { .. } | Reason::EmptyAffinity => 3,
        Reason::Port { .. } => 4,
        Reason::Resource { .. } | Reason::NoSuchResource { .. } | Reason::PodCount { .. } => 5,
    }
}

/// How well a node suits a pod; less is better. The order of the fields is the order of importance.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    /// Taints that rather keep it away.
    unwanted: usize,
    /// How full the node would be, in thousandths, over CPU and memory.
    full: i64,
    /// How many pods it runs.
    pods: i64,
}

impl Score {
    fn of(pending: &Pending, node: &NodeView, place: &Place) -> Self {
        let tolerated = |taint| pending.needs.tolerations.iter().any(|t| t.covers(taint));
        let unwanted = node
            .taints
            .iter()
            .filter(|taint| taint.effect == Effect::PreferNoSchedule && !tolerated(taint))
            .count();
        let share = |name: &str| {
            let total = node.allocatable.get(name).copied().unwrap_or_default();
            let used = place
                .usage
                .requests()
                .get(name)
                .copied()
                .unwrap_or_default();
            let more = pending
                .needs
                .resources
                .requests
                .get(name)
                .copied()
                .unwrap_or_default();
            thousandths(used, more, total)
        };
        Self {
            unwanted,
            full: share("cpu") + share("memory"),
            pods: place.usage.pods(),
        }
    }
}

fn thousandths(used: Quantity, more: Quantity, total: Quantity) -> i64 {
    let (used, total) = (used.millis().saturating_add(more.millis()), total.millis());
    if total <= 0 {
        return 0;
    }
    i64::try_from(i128::from(used) * 1_000 / i128::from(total)).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
