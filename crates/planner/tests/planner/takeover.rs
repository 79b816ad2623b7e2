//! Taking over objects that an upstream control plane wrote: the first plan changes nothing.

use pandaemon_planner::{Action, Event, Options, Planner};
use pandaemon_testkit::fixtures::{self, Recording};
use pandaemon_types::Timestamp;
use serde::de::DeserializeOwned;

fn recorded<T: DeserializeOwned>(plural: &str) -> Vec<T> {
    fixtures::recorded(Recording::Upstream, plural).unwrap()
}

#[test]
fn an_upstream_cluster_is_taken_over_without_a_restart() {
    let sets = recorded("daemonsets");
    let mut planner = Planner::new(Options {
        bind: true,
        explain: true,
    });
    planner.mark_listed();
    let now: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let events = sets.into_iter().map(|set| Event::Set(Box::new(set)));
    let revisions = recorded("controllerrevisions").into_iter();
    let events = events.chain(revisions.map(|revision| Event::Revision(Box::new(revision))));
    let events = events.chain(recorded("nodes").into_iter().map(Event::Node));
    let pods = recorded("pods").into_iter();
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
