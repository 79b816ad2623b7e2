//! Taking over objects that an upstream control plane wrote: the first plan changes nothing. The
//! objects are recordings outside this repository; without them the test checks nothing.

use std::path::Path;

use pandaemon_planner::{Action, Event, Options, Planner};
use pandaemon_types::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn recorded<T: DeserializeOwned>(file: &str) -> Option<Vec<T>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/takeover");
    let text = std::fs::read_to_string(folder.join(file)).ok()?;
    let list: Value = serde_json::from_str(&text).unwrap();
    let items = list.get("items").cloned().unwrap_or(list);
    Some(serde_json::from_value(items).unwrap())
}

#[test]
fn an_upstream_cluster_is_taken_over_without_a_restart() {
    let Some(sets) = recorded("daemonsets.json") else {
        return;
    };
    let mut planner = Planner::new(Options {
        bind: true,
        explain: true,
    });
    let now: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let events = sets.into_iter().map(|set| Event::Set(Box::new(set)));
    let revisions = recorded("controllerrevisions.json").unwrap().into_iter();
    let events = events.chain(revisions.map(|revision| Event::Revision(Box::new(revision))));
    let events = events.chain(recorded("nodes.json").unwrap().into_iter().map(Event::Node));
    let pods = recorded("pods.json").unwrap().into_iter();
    let events = events.chain(pods.map(|pod| Event::Pod(Box::new(pod))));
    events.for_each(|event| planner.observe(event, now));
    let plan = planner.plan(now);
    let due: Vec<String> = plan.actions.iter().map(show).collect();
    let explanations: Vec<String> = plan
        .explanations
        .iter()
        .map(|v| format!("{} {} {} {}", v.set.name, v.status.word(), v.node, v.status))
        .collect();
    assert!(explanations.len() > 20, "{explanations:#?}");
    assert_eq!(due, Vec::<String>::new(), "{explanations:#?}");
}

fn show(action: &Action) -> String {
    match action {
        Action::CreatePod { set, node, .. } => format!("create {} {node}", set.name),
        Action::DeletePod { pod, reason, .. } => format!("delete {} {reason}", pod.name),
        Action::WriteStatus { set, status, .. } => format!("status {} {status:?}", set.name),
        other => format!("{other:?}"),
    }
}
