//! The graph after single events.

use pandaemon_client::{
    discovery::ApiResource,
    list_watch::Delta,
    object_meta::{ObjectMeta, OwnerReference, PartialObjectMetadata},
};

use super::*;

pub(in crate::garbage_collector) fn kind(plural: &str, kind: &str) -> Arc<ApiResource> {
    Arc::new(ApiResource {
        group: if plural == "daemonsets" {
            "apps".to_owned()
        } else {
            String::new()
        },
        version: "v1".to_owned(),
        plural: plural.to_owned(),
        kind: kind.to_owned(),
        namespaced: true,
        verbs: Vec::new(),
    })
}

fn set(uid: &str, finalizers: &[&str]) -> PartialObjectMetadata {
    let deletion_timestamp =
        (!finalizers.is_empty()).then_some(pandaemon_types::Timestamp::default());
    PartialObjectMetadata {
        metadata: ObjectMeta {
            name: "ds".to_owned(),
            namespace: "a".to_owned(),
            uid: uid.to_owned(),
            finalizers: finalizers.iter().map(|f| (*f).to_owned()).collect(),
            deletion_timestamp,
            ..ObjectMeta::default()
        },
    }
}

fn pod(uid: &str, owners: &[&str]) -> PartialObjectMetadata {
    let owner = |uid: &&str| OwnerReference {
        api_version: "apps/v1".to_owned(),
        kind: "DaemonSet".to_owned(),
        name: "ds".to_owned(),
        uid: (*uid).to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    PartialObjectMetadata {
        metadata: ObjectMeta {
            name: uid.to_owned(),
            namespace: "a".to_owned(),
            uid: uid.to_owned(),
            owner_references: owners.iter().map(owner).collect(),
            ..ObjectMeta::default()
        },
    }
}

#[test]
fn a_dependent_seen_before_its_owner_is_checked_until_the_owner_is_seen() {
    let (sets, pods) = (kind("daemonsets", "DaemonSet"), kind("pods", "Pod"));
    let mut graph = Graph::default();
    assert_eq!(
        graph
            .observe(&pods, Delta::Applied(pod("p", &["d"])))
            .attempt,
        ["p"]
    );
    assert_eq!(graph.objects_to_check(), ["p"]);
    graph.observe(&sets, Delta::Applied(set("d", &[])));
    assert!(graph.objects_to_check().is_empty());
    assert_eq!(
        graph.observe(&pods, Delta::Applied(pod("q", &["d"]))),
        Changes::default()
    );
    let attempt = graph.deletion_attempt("d", &BTreeSet::new()).unwrap();
    assert_eq!(
        attempt
            .dependents
            .iter()
            .map(|d| d.uid.as_str())
            .collect::<Vec<_>>(),
        ["p", "q"]
    );
}

#[test]
fn dependents_are_attempted_when_their_owner_is_gone() {
    let (sets, pods) = (kind("daemonsets", "DaemonSet"), kind("pods", "Pod"));
    let mut graph = Graph::default();
    graph.observe(&sets, Delta::Listed(vec![set("d", &[])]));
    graph.observe(&pods, Delta::Listed(vec![pod("p", &["d"]), pod("q", &[])]));
    let changes = graph.observe(&sets, Delta::Listed(Vec::new()));
    assert_eq!(
        changes,
        Changes {
            attempt: vec!["p".to_owned()],
            gone: vec!["d".to_owned()]
        }
    );
    let absent = BTreeSet::from(["d".to_owned()]);
    assert_eq!(
        graph.deletion_attempt("p", &absent).unwrap().owners[0].1,
        OwnerState::Absent
    );
    assert_eq!(
        graph
            .deletion_attempt("p", &BTreeSet::new())
            .unwrap()
            .owners[0]
            .1,
        OwnerState::Unknown
    );
}

#[test]
fn a_waiting_owner_is_attempted_when_its_last_dependent_is_gone_or_drops_the_reference() {
    let (sets, pods) = (kind("daemonsets", "DaemonSet"), kind("pods", "Pod"));
    let mut graph = Graph::default();
    graph.observe(&sets, Delta::Applied(set("d", &[])));
    for uid in ["p", "q"] {
        graph.observe(&pods, Delta::Applied(pod(uid, &["d"])));
    }
    let changes = graph.observe(&sets, Delta::Applied(set("d", &[FOREGROUND])));
    assert_eq!(changes.attempt, ["d"]);
    assert_eq!(
        graph
            .deletion_attempt("p", &BTreeSet::new())
            .unwrap()
            .owners[0]
            .1,
        OwnerState::WaitsForDependents
    );
    let changes = graph.observe(&pods, Delta::Deleted(pod("p", &["d"])));
    assert!(changes.attempt.is_empty(), "another one blocks");
    assert_eq!(
        graph.observe(&pods, Delta::Applied(pod("q", &[]))).attempt,
        ["d"]
    );
    assert!(
        graph
            .deletion_attempt("d", &BTreeSet::new())
            .unwrap()
            .dependents
            .is_empty()
    );
}

#[test]
fn a_reference_with_another_name_is_confirmed_by_a_get() {
    let (sets, pods) = (kind("daemonsets", "DaemonSet"), kind("pods", "Pod"));
    let mut graph = Graph::default();
    graph.observe(&sets, Delta::Applied(set("d", &[])));
    let mut wrong = pod("p", &["d"]);
    let mut owner = wrong.metadata.owner_references[0].clone();
    owner.name = "other".to_owned();
    wrong.metadata.owner_references = Arc::from([owner]);
    assert_eq!(graph.observe(&pods, Delta::Applied(wrong)).attempt, ["p"]);
}
