//! Properties over random histories: faults, stale and interleaved watches, edits at any moment.
//!
//! To run more cases: `PROPTEST_CASES=20000 cargo test -p pandaemon-planner properties`.

use std::{
    collections::{BTreeMap, VecDeque},
    mem::discriminant,
};

use pandaemon_planner::{
    Action, DaemonSetView, DeleteReason, Event, Failure, FailureKind, Options, Planner,
    RevisionView, SetKey,
};
use pandaemon_types::{NodeView, PodView};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::cluster::{Cluster, ready_at, text};

/// One step of a history: the kind of step, and a number that picks the object.
type Step = (u8, u16);

const SETS: [&str; 2] = ["agent", "proxy"];

/// A cluster whose events are delivered late and out of order, and whose requests fail.
struct FaultyCluster {
    cluster: Cluster,
    surge: bool,
    /// Events that are not delivered yet: one queue per kind, each in order.
    queues: Vec<(std::mem::Discriminant<Event>, VecDeque<Event>)>,
    log: Vec<String>,
}

impl FaultyCluster {
    fn new(surge: bool, bind: bool) -> Self {
        let mut cluster = Cluster::new(Options {
            bind,
            explain: false,
        });
        for name in SETS {
            let limits = json!({"maxSurge": i32::from(surge), "maxUnavailable": i32::from(!surge)});
            cluster.put_set(json!({
                "metadata": {"name": name, "namespace": "ns", "uid": format!("set-{name}"),
                    "generation": 1},
                "spec": {"selector": {"matchLabels": {"app": name}},
                    "updateStrategy": {"rollingUpdate": limits},
                    "template": {"metadata": {"labels": {"app": name}},
                        "spec": {"containers": [{"name": "c", "image": "v0"}]}}},
            }));
        }
        Self {
            cluster,
            surge,
            queues: Vec::new(),
            log: Vec::new(),
        }
    }

    fn collect(&mut self) {
        for event in std::mem::take(&mut self.cluster.events) {
            // Changes and removals of one kind share a watch, hence a queue.
            let kind = match &event {
                Event::PodGone { .. } => discriminant(&dummy_pod_event()),
                Event::NodeGone { .. } => discriminant(&dummy_node_event()),
                event => discriminant(event),
            };
            match self.queues.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, queue)) => queue.push_back(event),
                None => self.queues.push((kind, VecDeque::from([event]))),
            }
        }
    }

    /// Delivers up to `few` events, taking turns between the kinds.
    fn deliver_some(&mut self, pick: usize, few: usize) {
        self.collect();
        let count = self.queues.len().max(1);
        for turn in 0..few {
            let Some((_, queue)) = self.queues.get_mut((pick + turn) % count) else {
                return;
            };
            if let Some(event) = queue.pop_front() {
                self.cluster.planner.observe(event, self.cluster.now);
            }
        }
    }

    fn deliver_all(&mut self) {
        self.collect();
        for (_, queue) in &mut self.queues {
            for event in queue.drain(..) {
                self.cluster.planner.observe(event, self.cluster.now);
            }
        }
    }

    fn step(&mut self, (what, which): Step) {
        let pick = usize::from(which);
        let node = format!("n{}", pick % 6);
        let some_pod = {
            let names: Vec<_> = self.cluster.pods.keys().cloned().collect();
            names.get(pick % names.len().max(1)).cloned()
        };
        match what {
            0..=1 => self.cluster.put_node(json!({"metadata": {"name": node, "uid": node,
                "labels": {"disk": if pick % 4 == 0 { "hdd" } else { "ssd" }}}})),
            2 => self.cluster.put_node(json!({"metadata": {"name": node, "uid": node}, "spec":
                {"taints": [{"key": "x", "effect": if pick % 2 == 0 { "NoSchedule" } else { "NoExecute" }}]}})),
            3 if pick % 3 == 0 => self.cluster.drop_node(&node),
            4 => self.edit(SETS[pick % 2], |set| {
                set["spec"]["template"]["spec"]["containers"][0]["image"] =
                    json!(format!("v{}", pick % 4));
            }),
            5 => self.edit(SETS[pick % 2], |set| {
                let selector = if pick % 3 == 0 { json!({"disk": "ssd"}) } else { json!({}) };
                set["spec"]["template"]["spec"]["nodeSelector"] = selector;
            }),
            6..=8 => {
                if let Some(name) = some_pod {
                    self.cluster.run_kubelet(&name);
                }
            }
            9 => self.change(some_pod, |pod, now| pod["status"] = ready_at(now)),
            10 => self.change(some_pod, |pod, _| pod["status"] = json!({"phase": "Running"})),
            11 => self.change(some_pod, |pod, _| pod["status"] = json!({"phase": "Failed"})),
            12 => self.change(some_pod, |pod, now| {
                pod["metadata"]["deletionTimestamp"] = json!(now.to_string());
            }),
            13 => self.cluster.now = self.cluster.now.plus_millis(i64::from(which) * 7),
            14..=16 => self.deliver_some(pick, pick % 17),
            17 => self.deliver_all(),
            _ => self.plan_and_act(pick),
        }
        self.check();
    }

    fn edit(&mut self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut set = self.cluster.sets[name].clone();
        change(&mut set);
        let generation = set["metadata"]["generation"].as_i64().unwrap();
        set["metadata"]["generation"] = json!(generation + 1);
        self.cluster.put_set(set);
    }

    fn change(
        &mut self,
        pod: Option<String>,
        change: impl FnOnce(&mut Value, pandaemon_types::Timestamp),
    ) {
        let Some(mut pod) = pod.and_then(|name| self.cluster.pods.get(&name).cloned()) else {
            return;
        };
        if text(&pod, "/spec/nodeName").is_empty() {
            return;
        }
        change(&mut pod, self.cluster.now);
        self.cluster.put_pod(pod);
    }

    /// Each action succeeds, is refused, or goes unanswered (carried out or not).
    fn plan_and_act(&mut self, pick: usize) {
        let plan = self.cluster.planner.plan(self.cluster.now);
        assert_eq!(self.cluster.planner.miscounted(self.cluster.now), []);
        for (position, action) in plan.actions.iter().enumerate() {
            self.log.push(format!("{action:?}"));
            let failure = |kind| Failure {
                kind,
                message: "no".to_owned(),
                retry_after: 0,
            };
            let result = match (pick + position) % 7 {
                0 => Err(failure(FailureKind::Refused)),
                1 => Err(failure(FailureKind::Unclear)),
                2 => {
                    drop(self.cluster.carry_out(action));
                    Err(failure(FailureKind::Unclear))
                }
                _ => self.cluster.carry_out(action),
            };
            self.cluster.report(action, result);
        }
    }

    /// At most one live pod of a set on a node, or an old and a new one with surge.
    fn check(&self) {
        let mut live: BTreeMap<(String, &str), Vec<&Value>> = BTreeMap::new();
        for pod in self.cluster.pods.values() {
            let ended = matches!(text(pod, "/status/phase"), "Failed" | "Succeeded");
            if !ended && pod.pointer("/metadata/deletionTimestamp").is_none() {
                let place = (Cluster::place(pod), text(pod, "/metadata/labels/app"));
                live.entry(place).or_default().push(pod);
            }
        }
        for (place, pods) in live {
            assert!(
                pods.len() <= 1 + usize::from(self.surge),
                "{place:?}: {pods:#?}"
            );
        }
    }

    /// Without further faults the cluster must converge.
    fn converge(&mut self) {
        self.deliver_all();
        self.cluster.now = self.cluster.now.plus_seconds(4000);
        for _ in 0..6 {
            self.cluster.settle();
            self.cluster.now = self.cluster.now.plus_seconds(2000);
        }
        for pod in self.cluster.pods.clone().into_values() {
            if text(&pod, "/status/phase") == "Running" {
                let mut pod = pod;
                pod["status"] = ready_at(self.cluster.now);
                self.cluster.put_pod(pod);
            }
        }
        for _ in 0..3 {
            self.cluster.settle();
            self.cluster.now = self.cluster.now.plus_seconds(2000);
        }
        let plan = self.cluster.plan();
        assert!(plan.actions.is_empty(), "{:#?}", plan.actions);
        for name in SETS {
            let status = &self.cluster.sets[name]["status"];
            for field in [
                "currentNumberScheduled",
                "updatedNumberScheduled",
                "numberAvailable",
            ] {
                assert_eq!(
                    status[field], status["desiredNumberScheduled"],
                    "{name} {field}"
                );
            }
        }
    }
}

fn dummy_pod_event() -> Event {
    let pod = json!({"metadata": {}});
    Event::Pod(Box::new(PodView::deserialize(&pod).unwrap()))
}

fn dummy_node_event() -> Event {
    Event::Node(NodeView::deserialize(&json!({"metadata": {}})).unwrap())
}

/// A planner that starts from a list of the cluster's objects.
fn new_planner(cluster: &Cluster, options: Options) -> Planner {
    let mut planner = crate::cluster::listed_planner(options);
    let now = cluster.now;
    for set in cluster.sets.values() {
        let view = DaemonSetView::deserialize(set).unwrap();
        planner.observe(Event::Set(Box::new(view)), now);
    }
    for revision in cluster.revisions.values() {
        let view = RevisionView::deserialize(revision).unwrap();
        planner.observe(Event::Revision(Box::new(view)), now);
    }
    for node in cluster.nodes.values() {
        planner.observe(Event::Node(NodeView::deserialize(node).unwrap()), now);
    }
    for pod in cluster.pods.values() {
        let view = PodView::deserialize(pod).unwrap();
        planner.observe(Event::Pod(Box::new(view)), now);
    }
    planner
}

fn deletions(actions: &[Action]) -> Vec<(String, String, DeleteReason)> {
    let mut found: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::DeletePod {
                node, pod, reason, ..
            } => Some((node.to_string(), pod.name.to_string(), reason.clone())),
            _ => None,
        })
        .collect();
    found.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    found
}

fn history() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0_u8..26, any::<u16>()), 0..160)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 4,
        // To be committed: the inputs are tried first from then on.
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/planner/properties.regressions",
        ))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn each_node_has_one_pod_and_the_cluster_converges(steps in history(), surge: bool, bind: bool) {
        let mut faulty = FaultyCluster::new(surge, bind);
        steps.into_iter().for_each(|step| faulty.step(step));
        faulty.converge();
        let options = Options { bind, explain: false };
        let mut other = new_planner(&faulty.cluster, options);
        let plan = other.plan(faulty.cluster.now);
        prop_assert!(plan.actions.is_empty(), "a new planner would do {:#?}", plan.actions);
        for name in SETS {
            let key = SetKey { namespace: "ns".into(), name: name.into() };
            let now = faulty.cluster.now;
            prop_assert_eq!(faulty.cluster.planner.explain(&key, now), other.explain(&key, now));
        }
    }

    #[test]
    fn the_same_history_leads_to_the_same_plans(steps in history(), surge: bool) {
        let run = || {
            let mut faulty = FaultyCluster::new(surge, false);
            steps.iter().for_each(|step| faulty.step(*step));
            faulty.log
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn a_new_planner_deletes_what_the_running_one_does(steps in history(), surge: bool) {
        let mut faulty = FaultyCluster::new(surge, false);
        for step in steps.into_iter().filter(|(what, _)| !matches!(what, 11 | 3)) {
            faulty.step(step);
        }
        // Three rounds without faults: then no request is under way and every revision is written.
        for _ in 0..3 {
            faulty.deliver_all();
            faulty.cluster.now = faulty.cluster.now.plus_seconds(100);
            let plan = faulty.cluster.planner.plan(faulty.cluster.now);
            faulty.cluster.perform(&plan);
        }
        faulty.deliver_all();
        let now = faulty.cluster.now.plus_seconds(100);
        faulty.cluster.now = now;
        let mut other = new_planner(&faulty.cluster, Options::default());
        let mine = deletions(&faulty.cluster.planner.plan(now).actions);
        let theirs = deletions(&other.plan(now).actions);
        prop_assert_eq!(mine, theirs);
    }

    #[test]
    fn a_rolling_update_stays_within_its_budget(
        nodes in 1_usize..12,
        limit in 1_usize..4,
        down in prop::collection::vec(0_usize..12, 0..4),
    ) {
        let mut faulty = FaultyCluster::new(false, true);
        for number in 0..nodes {
            let name = format!("n{number}");
            faulty.cluster.put_node(json!({"metadata": {"name": name, "uid": name}}));
        }
        faulty.cluster.settle();
        for number in down {
            let pods: Vec<_> = faulty.cluster.pods.keys().cloned().collect();
            faulty.change(pods.get(number).cloned(), |pod, _| {
                pod["status"] = json!({"phase": "Running"});
            });
        }
        let unavailable = |cluster: &Cluster| {
            let serving = cluster.pods.values().filter(|pod| {
                text(pod, "/metadata/labels/app") == "agent"
                    && pod.pointer("/metadata/deletionTimestamp").is_none()
                    && pod.pointer("/status/conditions").is_some()
            });
            nodes - serving.count()
        };
        faulty.edit("agent", |set| {
            set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = json!(limit);
            set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("v9");
        });
        let most = unavailable(&faulty.cluster).max(limit);
        for _ in 0..200 {
            let plan = faulty.cluster.plan();
            faulty.cluster.perform(&plan);
            prop_assert!(unavailable(&faulty.cluster) <= most);
            if !faulty.cluster.run_kubelets() && plan.actions.is_empty() {
                break;
            }
        }
        let status = &faulty.cluster.sets["agent"]["status"];
        prop_assert_eq!(&status["updatedNumberScheduled"], &json!(nodes));
        prop_assert_eq!(&status["numberAvailable"], &json!(nodes));
    }
}
