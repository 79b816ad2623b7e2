//! The progress that the watches show: pods, the DaemonSet's status, and when the goals of a phase
//! were reached. Times are taken when an event arrives, not when the waiting task is scheduled.

use std::{collections::HashSet, time::Duration};

use pandaemon_client::{
    list_watch::Delta,
    object_meta::{Object, ObjectMeta},
};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::pod::Pod;

/// The part of a DaemonSet that is watched.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct DaemonSet {
    metadata: ObjectMeta,
    #[serde(default)]
    pub(super) status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    observed_generation: i64,
    pub(super) desired_number_scheduled: u32,
    pub(super) updated_number_scheduled: u32,
    pub(super) number_available: u32,
}

impl Object for DaemonSet {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// The goals of phases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Goal {
    /// This number of pods exists.
    Pods(usize),
    /// The DaemonSet is available on this number of nodes, and desired on no other.
    Available(u32),
    /// The same, with the newest template of a generation later than this one.
    Updated { nodes: u32, after: i64 },
    /// The pod of a node is ready.
    Ready(String),
}

/// The counts that are shown while a phase runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) pods: usize,
    pub(super) status: Status,
}

#[derive(Debug, Default)]
struct Observed {
    pods: HashSet<String>,
    daemonset: DaemonSet,
    goals: Vec<(Goal, Option<Instant>)>,
}

/// Written by the watches, read by the phase that waits.
#[derive(Debug)]
pub(super) struct Progress {
    namespace: String,
    observed: Mutex<Observed>,
    changed: Notify,
}

impl Progress {
    pub(super) fn new(namespace: &str) -> Self {
        let namespace = namespace.to_owned();
        let (observed, changed) = (Mutex::default(), Notify::new());
        Self {
            namespace,
            observed,
            changed,
        }
    }

    /// Takes in a change of pods; those of other namespaces are ignored.
    pub(super) fn pods(&self, delta: &Delta<Pod>) {
        let mut observed = self.observed.lock();
        let mine = |pod: &&Pod| *pod.metadata.namespace == *self.namespace;
        let ready = match delta {
            Delta::Listed(pods) => {
                let pods = pods.iter().filter(mine);
                observed.pods = pods.map(|pod| pod.metadata.uid.clone()).collect();
                None
            }
            Delta::Applied(pod) if mine(&pod) => {
                observed.pods.insert(pod.metadata.uid.clone());
                Some(pod).filter(|pod| pod.is_ready())
            }
            Delta::Deleted(pod) if mine(&pod) => {
                observed.pods.remove(&pod.metadata.uid);
                None
            }
            Delta::Applied(_) | Delta::Deleted(_) => return,
        };
        self.check(
            &mut observed,
            ready.and_then(|pod| pod.spec.node_name.as_deref()),
        );
    }

    /// Takes in a change of the DaemonSet.
    pub(super) fn daemonset(&self, delta: Delta<DaemonSet>) {
        let mut observed = self.observed.lock();
        match delta {
            Delta::Listed(sets) => observed.daemonset = sets.into_iter().next().unwrap_or_default(),
            Delta::Applied(set) => observed.daemonset = set,
            // A later one of the name stays.
            Delta::Deleted(set) if set.metadata.uid != observed.daemonset.metadata.uid => return,
            Delta::Deleted(_) => observed.daemonset = DaemonSet::default(),
        }
        self.check(&mut observed, None);
    }

    fn check(&self, observed: &mut Observed, ready: Option<&str>) {
        let Observed {
            pods,
            daemonset,
            goals,
        } = observed;
        let now = Instant::now();
        for (goal, reached) in goals.iter_mut().filter(|(_, reached)| reached.is_none()) {
            if goal.is_reached(pods.len(), daemonset, ready) {
                *reached = Some(now);
            }
        }
        self.changed.notify_one();
    }

    /// Replaces the goals.
    pub(super) fn set_goals(&self, goals: Vec<Goal>) {
        let mut observed = self.observed.lock();
        observed.goals = goals.into_iter().map(|goal| (goal, None)).collect();
        self.check(&mut observed, None);
    }

    /// The generation of the DaemonSet as it was last observed.
    pub(super) fn generation(&self) -> i64 {
        self.observed.lock().daemonset.metadata.generation
    }

    pub(super) fn counts(&self) -> Counts {
        let observed = self.observed.lock();
        Counts {
            pods: observed.pods.len(),
            status: observed.daemonset.status.clone(),
        }
    }

    /// Waits until all goals are reached. Returns when each was, or `None` after `limit`.
    pub(super) async fn reached(
        &self,
        limit: Duration,
        mut show: impl FnMut(&Counts),
    ) -> Option<Vec<Instant>> {
        let end = Instant::now() + limit;
        let mut shown = Instant::now();
        loop {
            {
                let observed = self.observed.lock();
                let reached = observed.goals.iter().map(|(_, reached)| *reached);
                if let Some(reached) = reached.collect() {
                    return Some(reached);
                }
            }
            if shown.elapsed() > Duration::from_millis(100) {
                shown = Instant::now();
                show(&self.counts());
            }
            timeout_at(end, self.changed.notified()).await.ok()?;
        }
    }
}

impl Goal {
    fn is_reached(&self, pods: usize, set: &DaemonSet, ready: Option<&str>) -> bool {
        let DaemonSet { metadata, status } = set;
        let settled = |nodes: u32| {
            status.observed_generation == metadata.generation
                && status.desired_number_scheduled == nodes
                && status.number_available == nodes
        };
        match self {
            Self::Pods(count) => pods == *count,
            Self::Available(nodes) => *nodes > 0 && settled(*nodes),
            Self::Updated { nodes, after } => {
                metadata.generation > *after
                    && status.updated_number_scheduled == *nodes
                    && settled(*nodes)
            }
            Self::Ready(node) => ready == Some(node),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, namespace: &str, ready: bool) -> Pod {
        let object = json!({
            "metadata": {"name": uid, "namespace": namespace, "uid": uid},
            "spec": {"nodeName": format!("on-{uid}")},
            "status": {"phase": "Running", "containerStatuses": [{"ready": ready}]},
        });
        serde_json::from_value(object).unwrap()
    }

    fn set(generation: i64, observed: i64, counts: [u32; 3]) -> Delta<DaemonSet> {
        let [desired, updated, available] = counts;
        let object = json!({
            "metadata": {"generation": generation},
            "status": {"observedGeneration": observed, "desiredNumberScheduled": desired,
                       "updatedNumberScheduled": updated, "numberAvailable": available},
        });
        Delta::Applied(serde_json::from_value(object).unwrap())
    }

    /// Which of the goals are reached.
    fn reached(progress: &Progress) -> Vec<bool> {
        let observed = progress.observed.lock();
        observed
            .goals
            .iter()
            .map(|(_, reached)| reached.is_some())
            .collect()
    }

    #[test]
    fn pods_of_other_namespaces_are_not_counted() {
        let progress = Progress::new("d");
        progress.set_goals(vec![Goal::Pods(2), Goal::Ready("on-b".to_owned())]);
        progress.pods(&Delta::Applied(pod("x", "other", true)));
        progress.pods(&Delta::Applied(pod("a", "d", true)));
        progress.pods(&Delta::Applied(pod("a", "d", true)));
        assert_eq!(reached(&progress), [false, false]);
        progress.pods(&Delta::Applied(pod("b", "d", false)));
        assert_eq!(reached(&progress), [true, false]);
        progress.pods(&Delta::Applied(pod("b", "d", true)));
        assert_eq!(reached(&progress), [true, true]);
        progress.set_goals(vec![Goal::Pods(0)]);
        progress.pods(&Delta::Deleted(pod("a", "d", true)));
        assert_eq!(
            (reached(&progress), progress.counts().pods),
            (vec![false], 1)
        );
        progress.pods(&Delta::Listed(Vec::new()));
        assert_eq!(reached(&progress), [true]);
    }

    #[test]
    fn a_status_of_an_older_generation_reaches_no_goal() {
        let progress = Progress::new("d");
        progress.set_goals(vec![Goal::Available(3)]);
        progress.daemonset(set(1, 0, [3, 3, 3]));
        progress.daemonset(set(1, 1, [4, 4, 3]));
        progress.daemonset(set(1, 1, [3, 3, 2]));
        assert_eq!(reached(&progress), [false]);
        progress.daemonset(set(1, 1, [3, 3, 3]));
        assert_eq!(reached(&progress), [true]);
        progress.set_goals(vec![Goal::Updated {
            nodes: 3,
            after: progress.generation(),
        }]);
        progress.daemonset(set(1, 1, [3, 3, 3]));
        progress.daemonset(set(2, 1, [3, 3, 3]));
        progress.daemonset(set(2, 2, [3, 2, 3]));
        assert_eq!(reached(&progress), [false]);
        progress.daemonset(set(2, 2, [3, 3, 3]));
        assert_eq!(reached(&progress), [true]);
    }

    #[test]
    fn a_late_deletion_of_an_earlier_set_leaves_its_successor() {
        let progress = Progress::new("d");
        let set = |uid: &str| -> DaemonSet {
            let object = json!({"metadata": {"name": "s", "uid": uid, "generation": 7}});
            serde_json::from_value(object).unwrap()
        };
        progress.daemonset(Delta::Applied(set("new")));
        progress.daemonset(Delta::Deleted(set("old")));
        assert_eq!(progress.generation(), 7);
        progress.daemonset(Delta::Deleted(set("new")));
        assert_eq!(progress.generation(), 0);
    }

    #[tokio::test]
    async fn waiting_ends_at_the_limit_or_when_all_goals_are_reached() {
        let progress = Progress::new("d");
        progress.set_goals(vec![Goal::Pods(1)]);
        assert_eq!(
            progress.reached(Duration::from_millis(1), |_| ()).await,
            None
        );
        progress.pods(&Delta::Applied(pod("a", "d", true)));
        let reached = progress
            .reached(Duration::from_secs(9), |_| ())
            .await
            .unwrap();
        assert_eq!(reached.len(), 1);
    }
}
