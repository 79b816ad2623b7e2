//! The texts of reasons.

use pandaemon_types::{Effect, HostPort, Quantity, Taint};
use serde_json::{Value, json};

use super::{Reason, daemon, labelled, required};

#[test]
fn reasons_have_the_phrases_of_upstreams_scheduler() {
    let affinity = "node(s) didn't match Pod's node affinity/selector";
    let port = HostPort {
        port: 80,
        protocol: "TCP".to_owned(),
        ip: "0.0.0.0".to_owned(),
    };
    for (reason, wanted) in [
        (
            Reason::OtherNode { wanted: "n".into() },
            "node(s) didn't match the requested node name",
        ),
        (
            Reason::NodeSelector {
                key: "a".into(),
                wanted: "b".into(),
                actual: None,
            },
            affinity,
        ),
        (Reason::Affinity { terms: Vec::new() }, affinity),
        (Reason::EmptyAffinity, affinity),
        (
            Reason::Taint(Taint {
                key: "a".into(),
                value: "b".into(),
                effect: Effect::NoSchedule,
            }),
            "node(s) had untolerated taint {a: b}",
        ),
        (Reason::Unschedulable, "node(s) were unschedulable"),
        (
            Reason::Resource {
                name: "cpu".to_owned(),
                requested: Quantity::from_units(2),
                free: Quantity::from_units(1),
                holders: Vec::new(),
            },
            "Insufficient cpu",
        ),
        (
            Reason::NoSuchResource {
                name: "gpu".to_owned(),
                requested: Quantity::from_units(1),
            },
            "Insufficient gpu",
        ),
        (Reason::PodCount { limit: 1 }, "Too many pods"),
        (
            Reason::Port { port, holder: None },
            "node(s) didn't have free ports for the requested pod ports",
        ),
    ] {
        assert_eq!(reason.scheduler_text(), wanted);
    }
}

#[test]
fn lists_are_written_up_to_a_limit() {
    let terms = |count: usize| {
        let term = |number| {
            let test = json!({"key": "zone", "operator": "In", "values": [format!("z{number}")]});
            json!({"matchExpressions": [test]})
        };
        required((1..=count).map(term).collect::<Value>())
    };
    let one = |number| format!("({number}) wants zone=z{number}, the node has no zone");
    let three = [one(1), one(2), one(3)].join("; ");
    assert_eq!(
        daemon(terms(3), &labelled()),
        format!("no: none of the 3 node affinity terms holds: {three}")
    );
    assert_eq!(
        daemon(terms(4), &labelled()),
        format!("no: none of the 4 node affinity terms holds: {three}, and so on")
    );
    let values = json!({"key": "disk", "operator": "In", "values": ["hdd", "nvme"]});
    assert_eq!(
        daemon(
            required(json!([{"matchExpressions": [values]}])),
            &labelled()
        ),
        "no: node affinity wants disk in (hdd, nvme), the node has disk=ssd"
    );
}
