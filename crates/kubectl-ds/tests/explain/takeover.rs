//! Objects that another controller wrote: where its pods are and what it says of them is right.

use pandaemon_kubectl_ds::{Verdict, explain, status};
use serde_json::{Value, json};

use crate::world::Sketch;

#[test]
fn a_settled_world_is_settled() {
    let mut sketch = Sketch::default();
    for line in [
        "set agent select=disk:ssd told=1/1/1/1/1",
        "node a disk=ssd",
        "node b",
        "pod a v1 ready",
    ] {
        sketch.line(line);
    }
    let world = sketch.world();
    let report = explain(&world, None).unwrap();
    assert!(report.is_settled(), "{report:?}");
    assert!(
        report.open_questions().is_empty(),
        "nothing more needs to be read"
    );
    assert!(status(&world).unwrap().done);
    let verdicts: Vec<Verdict> = report.nodes.iter().map(|node| node.verdict).collect();
    assert_eq!(verdicts, [Verdict::Runs, Verdict::MustNotRun]);
}

#[test]
fn the_json_form_has_the_fields_that_are_documented() {
    let mut sketch = Sketch::default();
    for line in [
        "set agent",
        "node a cordoned",
        "node b notready",
        "pod a v1 ready",
    ] {
        sketch.line(line);
    }
    let report = explain(&sketch.world(), None).unwrap();
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
