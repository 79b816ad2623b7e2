//! Objects that were deleted and made again under their names: outcomes of requests of an earlier
//! DaemonSet, and deletions that are told late.

use pandaemon_planner::{
    Action, DeleteReason, Event, Failure, FailureKind, Options, Patch, Plan, PodRef, Purpose,
    Reply, SetKey,
};
use pandaemon_types::Uid;
use serde_json::{Value, json};

use crate::cluster::Cluster;

const EARLIER: &str = "set-earlier";

fn set(uid: &str) -> Value {
    json!({
        "metadata": {"name": "agent", "namespace": "ns", "uid": uid, "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "agent"}},
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": []}}},
    })
}

fn pod(name: &str, node: &str, owner: Option<&str>) -> Value {
    let owner = owner.map(|uid| json!({"kind": "DaemonSet", "uid": uid, "controller": true}));
    json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": "agent"},
            "ownerReferences": Vec::from_iter(owner)},
        "spec": {"nodeName": node},
    })
}

fn node(name: &str, taints: &Value) -> Value {
    json!({"metadata": {"name": name, "uid": name}, "spec": {"taints": taints}})
}

/// A set that has requested its revision.
fn without_revision() -> (Cluster, Plan) {
    let mut cluster = Cluster::new(Options::default());
    cluster.put_set(set("set-agent"));
    let plan = cluster.plan();
    (cluster, plan)
}

/// A set that has requested a creation, a deletion, an adoption and a status, and would request
/// more of each if one of them was over.
fn busy() -> (Cluster, Plan) {
    let (mut cluster, plan) = without_revision();
    cluster.perform(&plan);
    for name in ["new-1", "new-2", "orphan-1", "orphan-2"] {
        cluster.put_node(node(name, &json!([])));
    }
    let taints = json!([{"key": "x", "effect": "NoExecute"}]);
    cluster.put_node(node("tainted", &taints));
    for name in ["orphan-1", "orphan-2"] {
        cluster.put_pod(pod(name, name, None));
    }
    cluster.put_pod(pod("misplaced", "tainted", Some("set-agent")));
    let plan = cluster.plan();
    (cluster, plan)
}

/// One request of each kind of the earlier set.
fn requests(plan: &Plan, revision: &str) -> Vec<Action> {
    let set = SetKey {
        namespace: "ns".into(),
        name: "agent".into(),
    };
    let owner = Uid::from(EARLIER);
    let pod = PodRef {
        name: "gone".into(),
        uid: Uid::from("gone"),
    };
    let patch = Patch::Merge(json!({}));
    let mut requests = vec![
        Action::DeletePod {
            set: set.clone(),
            owner: owner.clone(),
            node: "new-1".into(),
            pod: pod.clone(),
            reason: DeleteReason::Failed,
        },
        Action::PatchPod {
            set: set.clone(),
            owner: owner.clone(),
            pod,
            purpose: Purpose::Adopt,
            patch: patch.clone(),
        },
        Action::CreateRevision {
            set: set.clone(),
            owner: owner.clone(),
            object: json!({}),
        },
        Action::PatchRevision {
            set: set.clone(),
            owner: owner.clone(),
            name: revision.into(),
            purpose: Purpose::Adopt,
            patch,
        },
        Action::DeleteRevision {
            set,
            owner,
            name: revision.into(),
            uid: Uid::from("gone"),
        },
    ];
    for action in &plan.actions {
        let mut action = action.clone();
        match &mut action {
            Action::CreatePod { uid, .. } | Action::WriteStatus { uid, .. } => {
                *uid = Uid::from(EARLIER);
                requests.push(action);
            }
            _ => {}
        }
    }
    requests
}

/// Reports each outcome of each request to a cluster of its own; nothing may become due.
fn check(cluster: impl Fn() -> (Cluster, Plan), kinds: usize) {
    let failed = |kind| {
        Err(Failure {
            kind,
            message: "no".to_owned(),
            retry_after: 60_000,
        })
    };
    let (known, plan) = cluster();
    let revision = known.revisions.keys().next().cloned().unwrap_or_default();
    let requests = requests(&plan, &revision);
    assert_eq!(requests.len(), kinds);
    for request in requests {
        let outcomes = [
            Ok(Reply::Done),
            failed(FailureKind::NotFound),
            failed(FailureKind::Refused),
            failed(FailureKind::Unclear),
            failed(FailureKind::NamespaceTerminating),
        ];
        for outcome in outcomes {
            let text = format!("{request:?}: {outcome:?}");
            let (mut cluster, _) = cluster();
            let before = cluster.plan();
            assert!(before.actions.is_empty(), "{:#?}", before.actions);
            cluster.report(&request, outcome);
            let after = cluster.plan();
            assert!(after.actions.is_empty(), "{text}: {:#?}", after.actions);
            assert_eq!(before.wake_at, after.wake_at, "{text}");
        }
    }
}

#[test]
fn no_outcome_of_an_earlier_set_counts_for_its_successor() {
    check(without_revision, 5);
    check(busy, 7);
}

#[test]
fn what_became_of_a_pod_counts_whichever_set_asked_for_it() {
    let mut cluster = Cluster::new(Options::default());
    cluster.put_set(set(EARLIER));
    let plan = cluster.plan();
    cluster.perform(&plan);
    let taints = json!([{"key": "x", "effect": "NoExecute"}]);
    cluster.put_node(node("a", &taints));
    cluster.put_pod(pod("misplaced", "a", Some(EARLIER)));
    let delete = deletion(&cluster.plan()).expect("a deletion of the earlier set");
    // The set is made again, and gets the pod.
    cluster.drop_set("agent");
    cluster.put_pod(pod("misplaced", "a", None));
    cluster.put_set(set("set-agent"));
    cluster.settle();
    cluster.report(
        &delete,
        Err(Failure {
            kind: FailureKind::Refused,
            message: "no".to_owned(),
            retry_after: 60_000,
        }),
    );
    let plan = cluster.plan();
    let delete = deletion(&plan).expect("the pod is not being deleted");
    assert_eq!(delete.set_uid(), &Uid::from("set-agent"));
    assert_eq!(plan.actions.len(), 1, "{:#?}", plan.actions);
}

fn deletion(plan: &Plan) -> Option<Action> {
    let mut actions = plan.actions.iter();
    let found = actions.find(|action| matches!(action, Action::DeletePod { .. }));
    found.cloned()
}

#[test]
fn a_late_deletion_of_an_earlier_object_leaves_its_successor() {
    let (mut cluster, plan) = busy();
    cluster.perform(&plan);
    cluster.settle();
    let (set, uid) = (requests(&plan, "")[0].set().clone(), Uid::from("earlier"));
    let revision = cluster.revisions.keys().next().expect("a revision").clone();
    for event in [
        Event::NodeGone {
            name: "new-1".into(),
            uid: uid.clone(),
        },
        Event::RevisionGone {
            namespace: "ns".into(),
            name: (*revision).into(),
            uid: uid.clone(),
        },
        Event::SetGone {
            key: set.clone(),
            uid,
        },
    ] {
        let (text, known) = (format!("{event:?}"), cluster.planner.known());
        cluster.events.push(event);
        assert!(cluster.plan().actions.is_empty(), "{text}");
        assert_eq!(cluster.planner.known(), known, "{text}");
        assert_eq!(
            cluster.planner.explain(&set, cluster.now).len(),
            5,
            "{text}"
        );
    }
}
