//! What `status -w` costs for each event of a pod, with 5,000 pods in mid-rollout.
//! `cargo bench -p pandaemon-explain`.

use divan::{Bencher, black_box};
use pandaemon_explain::{DaemonPod, RolloutTracker, Snapshot};
use pandaemon_types::Timestamp;
use serde::Deserialize as _;
use serde_json::{Value, json};

const PODS: usize = 5_000;
const NOW: Timestamp = Timestamp(1_767_268_800_000);

fn main() {
    divan::main();
}

fn set() -> Value {
    json!({
        "metadata": {"name": "agent", "namespace": "ns", "uid": "set", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "agent"}},
            "template": {"metadata": {"labels": {"app": "agent"}},
                "spec": {"containers": [{"name": "c", "image": "v1"}]}}},
        "status": {"observedGeneration": 1, "desiredNumberScheduled": PODS,
            "currentNumberScheduled": PODS, "updatedNumberScheduled": PODS / 2,
            "numberReady": PODS - PODS / 10, "numberAvailable": PODS - PODS / 10},
    })
}

/// One pod in ten waits for its image.
fn pod(number: usize) -> DaemonPod {
    let hash = if number.is_multiple_of(2) {
        "old"
    } else {
        "new"
    };
    let status = if number.is_multiple_of(10) {
        json!({"phase": "Pending", "containerStatuses": [{"name": "c",
            "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]})
    } else {
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
    };
    let object = json!({
        "metadata": {"name": format!("agent-{number}"), "namespace": "ns",
            "uid": format!("uid-{number}"), "creationTimestamp": "2026-01-01T11:00:00Z",
            "labels": {"app": "agent", "controller-revision-hash": hash},
            "ownerReferences": [{"kind": "DaemonSet", "uid": "set", "controller": true}]},
        "spec": {"nodeName": format!("n{number}"), "containers": [{"name": "c", "image": "v1"}]},
        "status": status,
    });
    DaemonPod::deserialize(object).unwrap_or_else(|error| unreachable!("{error}"))
}

fn snapshot() -> Snapshot {
    Snapshot {
        set: set(),
        revisions: Vec::new(),
        nodes: Vec::new(),
        pods: (0..PODS).map(pod).collect(),
        node_pods: None,
        events: Vec::new(),
        now: NOW,
    }
}

/// One event of a pod and the report after it, as for each line of `status -w`.
#[divan::bench]
fn event_and_report(bencher: Bencher<'_, '_>) {
    let mut tracker = tracker(&snapshot());
    let mut number = 0;
    bencher
        .with_inputs(|| {
            number = (number + 1) % PODS;
            pod(number)
        })
        .bench_local_values(|pod| {
            tracker.apply_pod(pod);
            black_box(tracker.report(NOW))
        });
}

/// Reading everything anew, as after a lost watch.
#[divan::bench(sample_count = 10)]
fn tracker_of_a_snapshot(bencher: Bencher<'_, '_>) {
    let snapshot = snapshot();
    bencher.bench_local(|| tracker(black_box(&snapshot)));
}

fn tracker(snapshot: &Snapshot) -> RolloutTracker {
    RolloutTracker::of(snapshot).unwrap_or_else(|error| unreachable!("{error}"))
}
