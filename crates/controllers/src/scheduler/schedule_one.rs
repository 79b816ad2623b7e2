//! Chooses the node of one pod, or says why there is none (upstream's schedule_one.go). Pure.

use pandaemon_placement::{Fit, Reason, fit};
use pandaemon_types::{Effect, NodeView, Quantity};

use super::{
    cache::{NodeInfo, SchedulerCache},
    diagnosis::Diagnosis,
    preemption::{self, Victim},
};
use crate::views::{Pod, pod::Pending};

/// The result of one attempt to schedule a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Bind the pod to this node.
    Bind(String),
    /// Delete pods of lower priority on a node, and wait for them to end.
    Preempt {
        /// The node that the pod is nominated to.
        node: String,
        /// The pods to delete.
        victims: Vec<Victim>,
        /// Why the pod does not fit now, for its condition and event.
        message: String,
    },
    /// No node fits, and deleting pods would not help.
    Unschedulable {
        /// Why, for its condition and event.
        message: String,
    },
}

/// Filters and scores the nodes that the pod may run on; if none fits, looks for a preemption.
#[must_use]
pub fn schedule_one(pod: &Pod, cache: &SchedulerCache) -> Decision {
    let Some(pending) = pod.pending.as_deref() else {
        return Decision::Unschedulable {
            message: "the pod has a node already".to_owned(),
        };
    };
    if cache.is_empty() {
        return Decision::Unschedulable {
            message: "no nodes available to schedule pods".to_owned(),
        };
    }
    let mut diagnosis = Diagnosis::new(cache.len());
    let mut best: Option<(Score, &str)> = None;
    for (name, node, info) in candidates(pending, cache) {
        match fits(pod, pending, node, info) {
            Fit::Yes => {
                let score = Score::of(pending, node, info);
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
    diagnosis.count_unexamined_nodes();
    preempt_or_explain(pod, pending, cache, &diagnosis)
}

fn preempt_or_explain(
    pod: &Pod,
    pending: &Pending,
    cache: &SchedulerCache,
    diagnosis: &Diagnosis,
) -> Decision {
    if !pending.preempts {
        return Decision::Unschedulable {
            message: diagnosis.message(Some("not eligible due to preemptionPolicy=Never.")),
        };
    }
    let nominated = cache
        .nomination(&pod.meta.key())
        .and_then(|name| cache.node(name));
    if nominated.is_some_and(|(_, info)| preemption::has_terminating_victims(pod, info)) {
        let why = "not eligible due to a terminating pod on the nominated node.";
        return Decision::Unschedulable {
            message: diagnosis.message(Some(why)),
        };
    }
    match preemption::select_candidate(pod, pending, candidates(pending, cache)) {
        Some((node, victims)) => Decision::Preempt {
            node: node.to_owned(),
            victims,
            message: diagnosis.message(None),
        },
        None => Decision::Unschedulable {
            message: diagnosis.message(Some(&diagnosis.preemption_message())),
        },
    }
}

/// The nodes to test: the only one that the pod's affinity names, else all.
fn candidates<'a>(
    pending: &'a Pending,
    cache: &'a SchedulerCache,
) -> Box<dyn Iterator<Item = (&'a str, &'a NodeView, &'a NodeInfo)> + 'a> {
    match pending.target.as_deref() {
        Some(target) => Box::new(
            cache
                .node(target)
                .into_iter()
                .map(move |(node, info)| (target, node, info)),
        ),
        None => Box::new(cache.nodes()),
    }
}

fn fits(pod: &Pod, pending: &Pending, node: &NodeView, info: &NodeInfo) -> Fit {
    let usage = info.usage_for(&pod.meta.key(), pod.priority);
    match fit(&pending.needs, node, &usage) {
        Fit::Yes => Fit::Yes,
        Fit::No(reasons) => Fit::No(first_filter(reasons)),
    }
}

/// Keeps the reasons of the first filter plugin that rejects the node: upstream stops there.
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

/// The score of a node for a pod; less is better. Fields are compared in their order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    /// PreferNoSchedule taints that the pod does not tolerate.
    untolerated: usize,
    /// Requested share of CPU and memory with the pod, in thousandths, summed over both.
    requested: i64,
    /// The number of pods on the node.
    pods: i64,
}

impl Score {
    fn of(pending: &Pending, node: &NodeView, info: &NodeInfo) -> Self {
        let tolerated = |taint| pending.needs.tolerations.iter().any(|t| t.covers(taint));
        let untolerated = node
            .taints
            .iter()
            .filter(|taint| taint.effect == Effect::PreferNoSchedule && !tolerated(taint))
            .count();
        let share = |name: &str| {
            let total = node.allocatable.get(name).copied().unwrap_or_default();
            let used = info.usage.requests().get(name).copied().unwrap_or_default();
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
            untolerated,
            requested: share("cpu") + share("memory"),
            pods: info.usage.pods(),
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
