//! What the watches have shown so far, and when what was waited for was reached. Times are taken when an
//! event arrives, not when somebody who waits for it gets to run.

use std::{collections::HashSet, time::Duration};

use parking_lot::Mutex;
use serde::Deserialize;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::{
    follow::{self, Change},
    pod::Pod,
};

/// The part of a DaemonSet that is watched.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct DaemonSet {
    metadata: Metadata,
    #[serde(default)]
    pub(super) status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    resource_version: Box<str>,
    generation: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    observed_generation: i64,
    pub(super) desired_number_scheduled: u32,
    pub(super) updated_number_scheduled: u32,
    pub(super) number_available: u32,
}

impl follow::Object for DaemonSet {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Goal {
    /// So many pods exist.
    Pods(usize),
    /// The DaemonSet is available on so many nodes, and wanted on no other.
    Available(u32),
    /// The same, with the newest template of a generation later than this one.
    Updated { nodes: u32, after: i64 },
    /// The pod of a node is ready.
    Ready(String),
}

/// The numbers to show while waiting.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    pub(super) pods: usize,
    pub(super) status: Status,
}

#[derive(Debug, Default)]
struct Seen {
    pods: HashSet<Box<str>>,
    daemonset: DaemonSet,
    goals: Vec<(Goal, Option<Instant>)>,
}

/// Shared by those who watch and the one who waits.
#[derive(Debug)]
pub(super) struct Board {
    namespace: String,
    seen: Mutex<Seen>,
    changed: Notify,
}

impl Board {
    pub(super) fn new(namespace: &str) -> Self {
        let namespace = namespace.to_owned();
        let (seen, changed) = (Mutex::default(), Notify::new());
        Self {
            namespace,
            seen,
            changed,
        }
    }

    /// Takes note of pods.
    pub(super) fn pods(&self, change: &Change<Pod>) {
        let mut seen = self.seen.lock();
        let mine = |pod: &&Pod| *pod.metadata.namespace == *self.namespace;
        let ready = match change {
            Change::All(pods) => {
                let pods = pods.iter().filter(mine);
                seen.pods = pods.map(|pod| pod.metadata.uid.clone()).collect();
                None
            }
            Change::Put(pod) if mine(&pod) => {
                seen.pods.insert(pod.metadata.uid.clone());
                Some(pod).filter(|pod| pod.is_ready())
            }
            Change::Gone(pod) if mine(&pod) => {
                seen.pods.remove(&pod.metadata.uid);
                None
            }
            Change::Put(_) | Change::Gone(_) => return,
        };
        self.check(
            &mut seen,
            ready.and_then(|pod| pod.spec.node_name.as_deref()),
        );
    }

    /// Takes note of the DaemonSet.
    pub(super) fn daemonset(&self, change: Change<DaemonSet>) {
        let mut seen = self.seen.lock();
        match change {
            Change::All(sets) => seen.daemonset = sets.into_iter().next().unwrap_or_default(),
            Change::Put(set) => seen.daemonset = set,
            Change::Gone(_) => seen.daemonset = DaemonSet::default(),
        }
        self.check(&mut seen, None);
    }

    fn check(&self, seen: &mut Seen, ready: Option<&str>) {
        let Seen {
            pods,
            daemonset,
            goals,
        } = seen;
        let now = Instant::now();
        for (goal, reached) in goals.iter_mut().filter(|(_, reached)| reached.is_none()) {
            if goal.is_reached(pods.len(), daemonset, ready) {
                *reached = Some(now);
            }
        }
        self.changed.notify_one();
    }

    /// Says what is waited for from now on.
    pub(super) fn aim(&self, goals: Vec<Goal>) {
        let mut seen = self.seen.lock();
        seen.goals = goals.into_iter().map(|goal| (goal, None)).collect();
        self.check(&mut seen, None);
    }

    /// The generation of the DaemonSet as it was last seen.
    pub(super) fn generation(&self) -> i64 {
        self.seen.lock().daemonset.metadata.generation
    }

    pub(super) fn numbers(&self) -> Numbers {
        let seen = self.seen.lock();
        Numbers {
            pods: seen.pods.len(),
            status: seen.daemonset.status.clone(),
        }
    }

    /// Waits until all goals are reached; says when each was. None when the time is over.
    pub(super) async fn reached(
        &self,
        patience: Duration,
        mut show: impl FnMut(&Numbers),
    ) -> Option<Vec<Instant>> {
        let end = Instant::now() + patience;
        let mut shown = Instant::now();
        loop {
            {
                let seen = self.seen.lock();
                let reached = seen.goals.iter().map(|(_, reached)| *reached);
                if let Some(reached) = reached.collect() {
                    return Some(reached);
                }
            }
            if shown.elapsed() > Duration::from_millis(100) {
                shown = Instant::now();
                show(&self.numbers());
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

    fn set(generation: i64, observed: i64, numbers: [u32; 3]) -> Change<DaemonSet> {
        let [desired, updated, available] = numbers;
        let object = json!({
            "metadata": {"generation": generation},
            "status": {"observedGeneration": observed, "desiredNumberScheduled": desired,
                       "updatedNumberScheduled": updated, "numberAvailable": available},
        });
        Change::Put(serde_json::from_value(object).unwrap())
    }

    /// Which of the goals are reached.
    fn reached(board: &Board) -> Vec<bool> {
        let seen = board.seen.lock();
        seen.goals
            .iter()
            .map(|(_, reached)| reached.is_some())
            .collect()
    }

    #[test]
    fn only_pods_of_the_namespace_count() {
        let board = Board::new("d");
        board.aim(vec![Goal::Pods(2), Goal::Ready("on-b".to_owned())]);
        board.pods(&Change::Put(pod("x", "other", true)));
        board.pods(&Change::Put(pod("a", "d", true)));
        board.pods(&Change::Put(pod("a", "d", true)));
        assert_eq!(reached(&board), [false, false]);
        board.pods(&Change::Put(pod("b", "d", false)));
        assert_eq!(reached(&board), [true, false]);
        board.pods(&Change::Put(pod("b", "d", true)));
        assert_eq!(reached(&board), [true, true]);
        board.aim(vec![Goal::Pods(0)]);
        board.pods(&Change::Gone(pod("a", "d", true)));
        assert_eq!((reached(&board), board.numbers().pods), (vec![false], 1));
        board.pods(&Change::All(Vec::new()));
        assert_eq!(reached(&board), [true]);
    }

    #[test]
    fn a_status_counts_once_it_is_of_the_generation_waited_for() {
        let board = Board::new("d");
        board.aim(vec![Goal::Available(3)]);
        board.daemonset(set(1, 0, [3, 3, 3]));
        board.daemonset(set(1, 1, [4, 4, 3]));
        board.daemonset(set(1, 1, [3, 3, 2]));
        assert_eq!(reached(&board), [false]);
        board.daemonset(set(1, 1, [3, 3, 3]));
        assert_eq!(reached(&board), [true]);
        board.aim(vec![Goal::Updated {
            nodes: 3,
            after: board.generation(),
        }]);
        board.daemonset(set(1, 1, [3, 3, 3]));
        board.daemonset(set(2, 1, [3, 3, 3]));
        board.daemonset(set(2, 2, [3, 2, 3]));
        assert_eq!(reached(&board), [false]);
        board.daemonset(set(2, 2, [3, 3, 3]));
        assert_eq!(reached(&board), [true]);
    }

    #[tokio::test]
    async fn waiting_ends() {
        let board = Board::new("d");
        board.aim(vec![Goal::Pods(1)]);
        assert_eq!(board.reached(Duration::from_millis(1), |_| ()).await, None);
        board.pods(&Change::Put(pod("a", "d", true)));
        let reached = board.reached(Duration::from_secs(9), |_| ()).await.unwrap();
        assert_eq!(reached.len(), 1);
    }
}
