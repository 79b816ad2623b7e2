//! What one event costs at 100, 10,000 and 100,000 nodes: it should not depend on their number.
//!
//! `cargo bench -p pandaemon-planner`
#![expect(clippy::unwrap_used, reason = "a bench fails as a test does")]

use divan::Bencher;
use pandaemon_planner::{Action, DaemonSetView, Event, Options, Planner, Reply};
use pandaemon_types::{NodeView, PodView, Timestamp};
use serde::Deserialize as _;
use serde_json::{Value, json};

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [100, 10_000, 100_000];
const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn node(number: usize, disk: &str) -> Event {
    let name = format!("node-{number:06}");
    let node = json!({"metadata": {"name": name, "uid": name, "labels": {
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "disk": disk}},
        "status": {"allocatable": {"cpu": "4", "memory": "16Gi", "pods": "110"}}});
    Event::Node(NodeView::deserialize(&node).unwrap())
}

/// Carries out a plan as an API server would, with every pod ready at once.
fn perform(planner: &mut Planner, actions: Vec<Action>, version: &mut u64) {
    for action in actions {
        *version += 1;
        let reply = match &action {
            Action::CreatePod {
                node,
                name,
                bind,
                mould,
                ..
            } => {
                let mut pod: Value = serde_json::from_str(&mould.fill(name, node, *bind)).unwrap();
                pod["metadata"]["uid"] = json!(format!("{name}-{version}"));
                pod["metadata"]["resourceVersion"] = json!(version.to_string());
                pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready",
                    "status": "True", "lastTransitionTime": NOW.to_string()}]});
                Reply::Pod(Box::new(PodView::deserialize(&pod).unwrap()))
            }
            Action::CreateRevision { object, .. } => {
                Reply::Revision(Box::new(serde_json::from_value(object.clone()).unwrap()))
            }
            _ => Reply::Done,
        };
        planner.observe(
            Event::Outcome {
                action: Box::new(action),
                result: Ok(reply),
            },
            NOW,
        );
    }
}

/// A planner that has brought a DaemonSet onto every node.
fn settled(nodes: usize) -> (Planner, PodView) {
    let mut planner = Planner::new(Options {
        bind: true,
        verdicts: false,
    });
    let set = json!({
        "metadata": {"name": "agent", "namespace": "ns", "uid": "set-1", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "agent"}},
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers":
                [{"name": "c", "image": "v1", "resources": {"requests": {"cpu": "100m"}}}]}}},
    });
    let view = DaemonSetView::deserialize(&set).unwrap();
    planner.observe(Event::Set(Box::new(view)), NOW);
    (0..nodes).for_each(|number| planner.observe(node(number, "ssd"), NOW));
    let (mut version, mut last) = (0, None);
    loop {
        let actions = planner.plan(NOW).actions;
        if actions.is_empty() {
            break;
        }
        let sample = actions.iter().find_map(|action| match action {
            Action::CreatePod {
                node,
                name,
                bind,
                mould,
                ..
            } => Some(mould.fill(name, node, *bind)),
            _ => None,
        });
        last = sample.or(last);
        perform(&mut planner, actions, &mut version);
    }
    let mut pod: Value = serde_json::from_str(&last.unwrap()).unwrap();
    pod["metadata"]["uid"] = json!("other");
    (planner, PodView::deserialize(&pod).unwrap())
}

/// A pod of the set that appears and is gone again, planned each time.
#[divan::bench(args = SIZES)]
fn a_pod_comes_and_goes(bencher: Bencher<'_, '_>, nodes: usize) {
    let (mut planner, pod) = settled(nodes);
    let mut version = 1_000_000;
    bencher.bench_local(move || {
        let mut pod = pod.clone();
        version += 2;
        pod.resource_version = version;
        planner.observe(Event::Pod(Box::new(pod.clone())), NOW);
        let first = planner.plan(NOW).actions.len();
        let gone = Event::PodGone {
            uid: pod.uid,
            resource_version: version + 1,
        };
        planner.observe(gone, NOW);
        first + planner.plan(NOW).actions.len()
    });
}

/// A heartbeat: the node is as it was.
#[divan::bench(args = SIZES)]
fn a_heartbeat(bencher: Bencher<'_, '_>, nodes: usize) {
    let (mut planner, _) = settled(nodes);
    bencher
        .with_inputs(|| node(nodes / 2, "ssd"))
        .bench_local_values(move |event| {
            planner.observe(event, NOW);
            planner.plan(NOW).actions.len()
        });
}

/// A node whose label changes.
#[divan::bench(args = SIZES)]
fn a_label_changes(bencher: Bencher<'_, '_>, nodes: usize) {
    let (mut planner, _) = settled(nodes);
    let mut turn = 0_usize;
    bencher.bench_local(move || {
        turn += 1;
        let disk = if turn.is_multiple_of(2) { "ssd" } else { "hdd" };
        planner.observe(node(nodes / 2, disk), NOW);
        planner.plan(NOW).actions.len()
    });
}

/// From nothing to a settled cluster.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 3)]
fn bring_up(nodes: usize) -> usize {
    settled(nodes).0.plan(NOW).actions.len()
}
