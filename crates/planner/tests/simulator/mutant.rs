//! Faulty behaviours between the planner and the simulated API. The simulator must see each of them:
//! what it would not see in a mutant, it would not see in the planner.

use pandaemon_planner::{
    Action, DeleteReason, Event, FailureKind, Listed, PodRef, Reply, Strategy,
};
use pandaemon_types::{IntOrPercent, Timestamp};

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// A creation whose fate is unknown counts as failed: expectations are dropped.
    DropsExpectations,
    /// Every request for a pod gets a fresh name.
    NewNamePerRequest,
    /// All nodes may be down at once.
    IgnoresBudget,
    /// Pods count as ready as soon as they are there.
    AssumesReady,
    /// Lists come without their version: what only a reply told of counts as gone.
    ListsWithoutVersion,
    /// Removals of pods are not heard of.
    IgnoresPodRemovals,
    /// With each deletion by the budget, another pod goes.
    DeletesExtraPod,
    /// Outcomes are lost now and then.
    LosesOutcomes,
    /// Statuses are not written, and said to be.
    SkipsStatusWrites,
    /// Taints are not seen.
    IgnoresTaints,
}

impl Mutation {
    pub(crate) const ALL: [Self; 10] = [
        Self::DropsExpectations,
        Self::NewNamePerRequest,
        Self::IgnoresBudget,
        Self::AssumesReady,
        Self::ListsWithoutVersion,
        Self::IgnoresPodRemovals,
        Self::DeletesExtraPod,
        Self::LosesOutcomes,
        Self::SkipsStatusWrites,
        Self::IgnoresTaints,
    ];
}

/// Alters what passes between the planner and the world; without a fault it alters nothing.
#[derive(Debug, Default)]
pub(crate) struct Mutant {
    fault: Option<Mutation>,
    count: usize,
    /// A pod that was heard of last.
    last: Option<PodRef>,
}

impl Mutant {
    pub(crate) const fn new(fault: Option<Mutation>) -> Self {
        Self {
            fault,
            count: 0,
            last: None,
        }
    }

    /// What the planner hears in place of an event.
    pub(crate) fn event(&mut self, mut event: Event) -> Option<Event> {
        let Some(fault) = self.fault else {
            return Some(event);
        };
        self.count += 1;
        match (fault, &mut event) {
            (
                Mutation::DropsExpectations,
                Event::Outcome {
                    action,
                    result: Err(failure),
                },
            ) if matches!(**action, Action::CreatePod { .. }) => {
                failure.kind = FailureKind::Refused;
            }
            (Mutation::IgnoresBudget, Event::Set(set))
            | (
                Mutation::IgnoresBudget,
                Event::Outcome {
                    result: Ok(Reply::Set(set)),
                    ..
                },
            ) => {
                if let Strategy::RollingUpdate {
                    max_unavailable,
                    max_surge,
                } = &mut set.strategy
                {
                    *max_unavailable = IntOrPercent::Percent(100);
                    *max_surge = IntOrPercent::Int(0);
                }
            }
            (Mutation::AssumesReady, Event::Pod(pod)) => {
                pod.ready = true;
                pod.ready_since = Some(Timestamp(0));
            }
            (
                Mutation::ListsWithoutVersion,
                Event::Listed(Listed::Pods {
                    resource_version, ..
                }),
            ) => {
                *resource_version = u64::MAX;
            }
            (Mutation::IgnoresPodRemovals, Event::PodGone { .. }) => return None,
            (Mutation::LosesOutcomes, Event::Outcome { .. }) if self.count.is_multiple_of(5) => {
                return None;
            }
            (Mutation::IgnoresTaints, Event::Node(node)) => node.taints.clear(),
            (_, Event::Pod(pod)) if !pod.deleting => {
                self.last = Some(PodRef {
                    name: pod.name.clone(),
                    uid: pod.uid.clone(),
                });
            }
            _ => {}
        }
        Some(event)
    }

    /// What is sent in place of an action, each with the action that its outcome is reported for.
    pub(crate) fn action(&mut self, action: Action) -> Vec<(Action, Action)> {
        let mut sent = action.clone();
        self.count += usize::from(self.fault.is_some());
        match (self.fault, &mut sent) {
            (Some(Mutation::NewNamePerRequest), Action::CreatePod { name, .. }) => {
                *name = format!("{name}-{}", self.count).into();
            }
            (
                Some(Mutation::DeletesExtraPod),
                Action::DeletePod {
                    set,
                    node,
                    reason: DeleteReason::Outdated { .. } | DeleteReason::Replaced,
                    ..
                },
            ) => {
                if let Some(pod) = self.last.take() {
                    let (set, node) = (set.clone(), node.clone());
                    let more = Action::DeletePod {
                        set,
                        node,
                        pod,
                        reason: DeleteReason::Duplicate,
                    };
                    return vec![(action, sent), (more.clone(), more)];
                }
            }
            (Some(Mutation::SkipsStatusWrites), Action::WriteStatus { set, uid, .. }) => {
                let (set, uid) = (set.clone(), uid.clone());
                let severity = pandaemon_planner::Severity::Normal;
                sent = Action::Event {
                    set,
                    uid,
                    severity,
                    reason: "Nothing",
                    message: String::new(),
                };
            }
            _ => {}
        }
        vec![(action, sent)]
    }
}
