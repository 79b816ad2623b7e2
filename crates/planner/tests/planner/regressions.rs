//! Regression tests for faults that the simulator found and that text cases cannot express.

use pandaemon_planner::{
    Action, DaemonSetView, Event, Failure, FailureKind, Listed, Options, Plan, Planner, Purpose,
    Reply, SetKey,
};
use pandaemon_types::Name;
use serde::Deserialize as _;
use serde_json::json;

use crate::cluster::Cluster;

fn names(plan: &Plan) -> Vec<String> {
    let names = plan.actions.iter().filter_map(|action| match action {
        Action::CreatePod { name, .. } => Some(name.to_string()),
        _ => None,
    });
    names.collect()
}

/// Carries out a plan; creations of pods fail with `kind`.
fn perform(cluster: &mut Cluster, plan: &Plan, kind: FailureKind) {
    for action in &plan.actions {
        let result = match action {
            Action::CreatePod { .. } => Err(Failure {
                kind,
                message: "no".to_owned(),
                retry_after: 0,
            }),
            other => cluster.carry_out(other),
        };
        cluster.report(action, result);
    }
}

#[test]
fn a_refusal_after_an_unanswered_request_does_not_say_that_there_is_no_pod() {
    let mut cluster = Cluster::new(Options::default());
    cluster.put_set(json!({
        "metadata": {"name": "agent", "namespace": "ns", "uid": "set-agent", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "agent"}},
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": []}}},
    }));
    cluster.put_node(json!({"metadata": {"name": "a", "uid": "a"}}));
    let mut asked = Vec::new();
    for kind in [
        FailureKind::Refused,
        FailureKind::Unclear,
        FailureKind::Refused,
        FailureKind::Unclear,
        FailureKind::NotFound,
        FailureKind::Refused,
    ] {
        for _ in 0..5 {
            cluster.now = cluster.now.plus_seconds(100);
            let plan = cluster.plan();
            perform(&mut cluster, &plan, kind);
            let names = names(&plan);
            if !names.is_empty() {
                asked.extend(names);
                break;
            }
        }
    }
    // The name derives from set, node and revision: it stays until the server says that it belongs
    // to another object.
    assert_eq!(asked.len(), 6, "{asked:?}");
    assert_eq!([&asked[1], &asked[2], &asked[3], &asked[4]], [&asked[0]; 4]);
    assert_ne!(asked[4], asked[5]);
}

#[test]
fn a_late_reply_does_not_bring_back_a_set_that_is_gone() {
    let mut cluster = Cluster::new(Options::default());
    cluster.put_set(json!({
        "metadata": {"name": "agent", "namespace": "ns", "uid": "set-agent", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "agent"}},
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": []}}},
    }));
    cluster.put_node(json!({"metadata": {"name": "a", "uid": "a"}}));
    let view = DaemonSetView::deserialize(&cluster.sets["agent"]).unwrap();
    let mut late = Vec::new();
    while late.is_empty() {
        let plan = cluster.plan();
        let (writes, others): (Vec<_>, Vec<_>) = plan
            .actions
            .into_iter()
            .partition(|action| matches!(action, Action::WriteStatus { .. }));
        late = writes;
        for action in others {
            let result = cluster.carry_out(&action);
            cluster.report(&action, result);
        }
    }
    cluster.drop_set("agent");
    cluster.plan();
    let reply = Reply::Set(Box::new(DaemonSetView {
        resource_version: 1_000,
        ..view
    }));
    cluster.events.push(Event::Outcome {
        action: Box::new(late.remove(0)),
        result: Ok(reply),
    });
    assert!(cluster.plan().actions.is_empty());
    let key = SetKey {
        namespace: "ns".into(),
        name: "agent".into(),
    };
    assert_eq!(cluster.planner.explain(&key, cluster.now), []);
}

#[test]
fn a_pod_that_is_adopted_after_it_lost_its_label_is_released() {
    let mut cluster = Cluster::new(Options::default());
    cluster.put_set(json!({
        "metadata": {"name": "agent", "namespace": "ns", "uid": "set-agent", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "agent"}},
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": []}}},
    }));
    cluster.put_node(json!({"metadata": {"name": "a", "uid": "a"}}));
    let mut pod = json!({
        "metadata": {"name": "mine", "namespace": "ns", "uid": "mine", "labels": {"app": "agent"}},
        "spec": {"nodeName": "a"},
    });
    cluster.put_pod(pod.clone());
    let of = |plan: &Plan, wanted: Purpose| {
        let mut actions = plan.actions.iter();
        let found = actions.find(
            |action| matches!(action, Action::PatchPod { purpose, .. } if *purpose == wanted),
        );
        found.cloned()
    };
    let revision = cluster.plan();
    cluster.perform(&revision);
    let adopt = of(&cluster.plan(), Purpose::Adopt).unwrap();
    pod["metadata"]["labels"]["app"] = json!("else");
    cluster.put_pod(pod);
    // The watch event of the adoption arrives before the reply.
    let reply = cluster.carry_out(&adopt);
    assert!(of(&cluster.plan(), Purpose::Release).is_none());
    cluster.report(&adopt, reply);
    let release = of(&cluster.plan(), Purpose::Release).unwrap();
    let reply = cluster.carry_out(&release);
    cluster.report(&release, reply);
    let plan = cluster.plan();
    assert!(of(&plan, Purpose::Release).is_none());
    assert!(of(&plan, Purpose::Adopt).is_none());
}

fn one_node() -> Cluster {
    let mut cluster = Cluster::new(Options::default());
    cluster.put_set(json!({
        "metadata": {"name": "agent", "namespace": "ns", "uid": "set-agent", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "agent"}},
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": []}}},
    }));
    cluster.put_node(json!({"metadata": {"name": "a", "uid": "a"}}));
    cluster
}

/// Plans and carries out until a pod is created; the plan, and the name of the pod.
fn next_creation(cluster: &mut Cluster) -> (Plan, String) {
    for _ in 0..10 {
        let plan = cluster.plan();
        if let Some(name) = names(&plan).pop() {
            return (plan, name);
        }
        cluster.perform(&plan);
    }
    panic!("no pod is created");
}

#[test]
fn two_leaders_ask_for_the_same_name() {
    let (mut one, mut other) = (one_node(), one_node());
    other.now = other.now.plus_seconds(7);
    let (plan, name) = next_creation(&mut one);
    assert_eq!(name, next_creation(&mut other).1);
    // Also for the next pod of the node, if both saw the first one go: it has another name, since
    // clients wait until the name is gone.
    for cluster in [&mut one, &mut other] {
        cluster.perform(&plan);
        cluster.plan();
        cluster.drop_pod(&name);
    }
    let next = next_creation(&mut one).1;
    assert_ne!(name, next);
    assert_eq!(next, next_creation(&mut other).1);
    // Another revision has other names.
    let mut set = one.sets["agent"].clone();
    set["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
    set["metadata"]["generation"] = json!(2);
    let mut third = one_node();
    third.put_set(set);
    assert_ne!(name, next_creation(&mut third).1);
}

#[test]
fn a_name_that_belongs_to_another_pod_is_given_up_without_a_pause() {
    let (_, first) = next_creation(&mut one_node());
    let pod = |node: &str, uid: &str| {
        json!({
            "metadata": {"name": first, "namespace": "ns", "uid": "taken", "labels": {"app": "agent"},
                "ownerReferences": [{"kind": "DaemonSet", "uid": uid, "controller": true}]},
            "spec": {"nodeName": node},
        })
    };
    let mut deleted = pod("a", "set-agent");
    deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    deleted["status"] = json!({"phase": "Failed"});
    for taken in [pod("b", "set-agent"), pod("a", "other"), deleted] {
        let mut cluster = one_node();
        let (plan, name) = next_creation(&mut cluster);
        assert_eq!(name, first);
        // The planner has not heard of that pod.
        cluster.put_pod(taken.clone());
        cluster.events.clear();
        cluster.perform(&plan);
        let (plan, second) = next_creation(&mut cluster);
        assert_ne!(second, first, "{taken}");
        cluster.perform(&plan);
        assert!(cluster.pods.contains_key(&second), "{taken}");
    }
    // A pod of the set on that node is the one that was asked for.
    let mut cluster = one_node();
    let (plan, _) = next_creation(&mut cluster);
    cluster.put_pod(pod("a", "set-agent"));
    cluster.events.clear();
    cluster.perform(&plan);
    cluster.settle();
    assert_eq!(cluster.pods.len(), 1);
}

#[test]
fn nothing_is_planned_before_every_kind_was_listed() {
    let mut cluster = one_node();
    cluster.planner = Planner::new(Options::default());
    let names = |name: &str| std::collections::BTreeSet::from([Name::from(name)]);
    let key = SetKey {
        namespace: "ns".into(),
        name: "agent".into(),
    };
    let lists = [
        Listed::Sets([key].into()),
        Listed::Nodes(names("a")),
        Listed::Revisions([].into()),
        Listed::Pods {
            uids: [].into(),
            resource_version: 100,
        },
    ];
    for (position, list) in lists.into_iter().enumerate() {
        assert!(cluster.plan().actions.is_empty(), "after {position} lists");
        assert_eq!(cluster.planner.knows_all_but_pods(), position == 3);
        cluster.events.push(Event::Listed(list));
    }
    assert!(!cluster.plan().actions.is_empty());
}

#[test]
fn a_late_reply_to_a_status_does_not_hide_what_another_client_wrote_since() {
    let mut cluster = one_node();
    let write_of = |plan: &Plan| {
        let mut actions = plan.actions.iter();
        let found = actions.find(|action| matches!(action, Action::WriteStatus { .. }));
        found.cloned()
    };
    let plan = cluster.plan();
    cluster.perform(&plan);
    let write = write_of(&cluster.plan()).unwrap();
    drop(cluster.carry_out(&write));
    let reply = DaemonSetView::deserialize(&cluster.sets["agent"]).unwrap();
    // Another client writes a status of its own, and the watch delivers both versions before the
    // reply.
    let mut set = cluster.sets["agent"].clone();
    set["status"]["desiredNumberScheduled"] = json!(7);
    cluster.put_set(set);
    assert!(write_of(&cluster.plan()).is_none());
    cluster.report(&write, Ok(Reply::Set(Box::new(reply))));
    assert!(write_of(&cluster.plan()).is_some());
}

#[test]
fn an_outcome_of_an_earlier_set_does_not_speed_up_its_namesake() {
    let mut cluster = one_node();
    let (plan, _) = next_creation(&mut cluster);
    let creation = plan.actions.into_iter().next().unwrap();
    let mut set = cluster.sets["agent"].clone();
    set["metadata"]["uid"] = json!("another");
    cluster.drop_set("agent");
    cluster.put_set(set);
    for number in 0..4 {
        let name = format!("b{number}");
        cluster.put_node(json!({"metadata": {"name": name, "uid": name}}));
    }
    let (plan, _) = next_creation(&mut cluster);
    assert_eq!(names(&plan).len(), 1);
    let answered = cluster.carry_out(&creation);
    cluster.report(&creation, answered);
    assert_eq!(names(&cluster.plan()), [""; 0]);
}

#[test]
fn a_pod_that_lost_its_label_is_not_taken_for_the_one_to_be_created() {
    let mut cluster = one_node();
    let (plan, first) = next_creation(&mut cluster);
    cluster.perform(&plan);
    cluster.settle();
    let mut pod = cluster.pods[&first].clone();
    pod["metadata"]["labels"] = json!({});
    cluster.put_pod(pod);
    // The pod is still the set's, and has the name that a new pod would get.
    let plan = cluster.plan();
    assert_eq!(names(&plan), std::slice::from_ref(&first));
    let creates = |action: &&Action| matches!(action, Action::CreatePod { .. });
    let creation = plan.actions.iter().find(creates).unwrap();
    let answered = cluster.carry_out(creation);
    assert!(matches!(answered, Ok(Reply::ExistingPod(_))));
    cluster.report(creation, answered);
    assert_ne!(names(&cluster.plan()), [first]);
}

#[test]
fn a_revision_that_was_deleted_is_not_deleted_again_before_the_watch_tells() {
    let mut cluster = Cluster::new(Options::default());
    let set = |image: &str, generation: i64| {
        json!({
            "metadata": {"name": "agent", "namespace": "ns", "uid": "set-agent",
                "generation": generation},
            "spec": {"selector": {"matchLabels": {"app": "agent"}}, "revisionHistoryLimit": 0,
                "template": {"metadata": {"labels": {"app": "agent"}},
                    "spec": {"containers": [{"name": "c", "image": image}]}}},
        })
    };
    cluster.put_set(set("v1", 1));
    cluster.settle();
    cluster.put_set(set("v2", 2));
    let is_deletion = |action: &&Action| matches!(action, Action::DeleteRevision { .. });
    for _ in 0..3 {
        let plan = cluster.plan();
        let Some(deletion) = plan.actions.iter().find(is_deletion) else {
            cluster.perform(&plan);
            continue;
        };
        // The request succeeds, and the watch lags.
        cluster.report(deletion, Ok(Reply::Done));
        cluster.put_node(json!({"metadata": {"name": "a", "uid": "a"}}));
        let plan = cluster.plan();
        assert!(!plan.actions.iter().any(|action| is_deletion(&action)));
        return;
    }
    panic!("the old revision was never deleted");
}
