//! Objects written by another controller: its counts and the explanation agree.

use pandaemon_explain::{RolloutTracker, Snapshot, Verdict, explain};
use pandaemon_testkit::fixtures::{self, Recording};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::sketch::Sketch;

#[test]
fn a_finished_rollout_is_settled() {
    let mut sketch = Sketch::default();
    for line in [
        "set agent select=disk:ssd status=1/1/1/1/1",
        "node a disk=ssd",
        "node b",
        "pod a v1 ready",
    ] {
        sketch.line(line);
    }
    let snapshot = sketch.snapshot();
    let report = explain(&snapshot, None).unwrap();
    assert!(report.is_settled(), "{report:?}");
    assert!(
        report.nodes_to_inspect().is_empty(),
        "nothing more needs to be read"
    );
    let tracker = RolloutTracker::of(&snapshot).unwrap();
    assert!(tracker.report(snapshot.now).done);
    let verdicts: Vec<Verdict> = report.nodes.iter().map(|node| node.verdict).collect();
    assert_eq!(verdicts, [Verdict::Runs, Verdict::MustNotRun]);
}

#[test]
fn the_json_form_has_the_documented_fields() {
    let mut sketch = Sketch::default();
    for line in [
        "set agent",
        "node a cordoned",
        "node b notready",
        "pod a v1 ready",
    ] {
        sketch.line(line);
    }
    let report = explain(&sketch.snapshot(), None).unwrap();
    let json: Value = serde_json::to_value(&report).unwrap();
    assert_eq!(json["kind"], "DaemonSetExplanation");
    assert_eq!(
        json["summary"],
        json!({"nodes": 2, "runs": 1, "willRun": 1, "mustNotRun": 0,
        "cannotRunYet": 0, "outdated": 0, "settled": 1})
    );
    assert_eq!(json["newest"], json!({"hash": "v1", "revision": 1}));
    let node = &json["nodes"][0];
    assert_eq!(
        (&node["name"], &node["verdict"]),
        (&json!("b"), &json!("willRun"))
    );
    assert_eq!(
        node["reasons"],
        json!([{"reason": "NotCreated",
        "message": "the controller has not created it yet"}])
    );
    let pod = &json["nodes"][1]["pods"][0];
    assert_eq!(
        *pod,
        json!({"name": "agent-a-v1", "uid": "agent-a-v1", "phase": "Running",
        "scheduled": true, "ready": true, "available": true, "hash": "v1", "revision": 1,
        "newest": true, "created": "2026-01-01T11:00:00Z", "restarts": 0})
    );
    assert!(json.get("change").is_none());
}

fn recorded<T: DeserializeOwned>(plural: &str) -> Vec<T> {
    fixtures::recorded(Recording::Upstream, plural).unwrap()
}

#[test]
fn the_counts_of_upstreams_status_are_explained() {
    let sets = recorded::<Value>("daemonsets");
    assert!(!sets.is_empty());
    for set in sets {
        let counts = set["status"].clone();
        let snapshot = Snapshot {
            set,
            revisions: recorded("controllerrevisions"),
            nodes: recorded("nodes"),
            pods: recorded("pods"),
            node_pods: None,
            events: Vec::new(),
            now: "2030-01-01T00:00:00Z".parse().unwrap(),
        };
        let report = explain(&snapshot, None).unwrap();
        let name = &report.name;
        // One of them is being replaced: its pod is going.
        let here = report.summary.runs + report.summary.will_run;
        assert_eq!(json!(here), counts["desiredNumberScheduled"], "{name}");
        let expected = counts["updatedNumberScheduled"].as_u64().unwrap_or(0);
        let updated = here - report.summary.outdated;
        assert_eq!(json!(updated), json!(expected), "{name}");
        let missing = report
            .nodes
            .iter()
            .find(|node| node.verdict != Verdict::MustNotRun && node.pods.is_empty());
        assert!(missing.is_none(), "{missing:?}");
    }
}
