//! Tables of single nodes: pods, and what follows from them.

use std::collections::BTreeMap;

use pandaemon_types::LabelSet;

use super::*;
use crate::{
    canonical::HASH_LABEL,
    ids::Id as _,
    node_state::{Creating, DeleteCause::Duplicate, DeleteCause::Replaced},
    pod_state::Ownership,
};

const NOW: Timestamp = Timestamp(1_000_000_000);

/// A pod that has been ready for a long time.
fn ready(hash: &str) -> PodState {
    let labels = BTreeMap::from([(HASH_LABEL.to_owned(), hash.to_owned())]);
    PodState {
        uid: "uid".into(),
        namespace: "ns".into(),
        name: "pod".into(),
        labels: LabelSet::from(&labels),
        resources: std::sync::Arc::default(),
        owner: None,
        resource_version: 0,
        created: Timestamp(0),
        ready_since: Some(Timestamp(0)),
        place: None,
        bound: true,
        phase: Phase::Running,
        ready: true,
        deleting: false,
        patching: false,
        patch_queued: false,
        counted: false,
        set: None,
        deletion: Deletion::NotRequested,
    }
}

fn unready(hash: &str) -> PodState {
    PodState {
        ready: false,
        ..ready(hash)
    }
}

/// A pod that is ready, but not for as long as it has to be.
fn fresh(hash: &str) -> PodState {
    PodState {
        ready_since: Some(NOW),
        ..ready(hash)
    }
}

fn with(deletion: Deletion, pod: PodState) -> PodState {
    PodState { deletion, ..pod }
}

fn unadopted(pod: PodState) -> PodState {
    let key = crate::SetKey {
        namespace: "ns".into(),
        name: "set".into(),
    };
    let set = Some((key.into(), Ownership::Adopting { requested: true }));
    PodState { set, ..pod }
}

fn id(position: usize) -> PodId {
    PodId::from_index(position)
}

/// Assesses a node with these pods, the oldest first.
fn facts(mode: Mode) -> SetFacts<'static> {
    SetFacts {
        hash: Some("new"),
        aliases: &[],
        template_generation: None,
        generation: 1,
        min_ready_seconds: 10,
        mode,
        now: NOW,
    }
}

fn node(mode: Mode, placement: Placement, creating: bool, pods: &[PodState]) -> Assessment {
    let mut state = NodeState::new(placement);
    state.creating = creating.then(|| {
        Box::new(Creating {
            name: "new".into(),
            attempt: 0,
            sent: true,
            unclear_until: None,
            reserved: None,
        })
    });
    let facts = facts(mode);
    let pods: Vec<PodState> = (0..)
        .zip(pods)
        .map(|(position, pod)| PodState {
            created: Timestamp(position),
            ..pod.clone()
        })
        .collect();
    let pods: Vec<Pod<'_>> = pods
        .iter()
        .enumerate()
        .map(|(position, pod)| (id(position), pod))
        .collect();
    assess(&state, &pods, &facts)
}

fn surge(pods: &[PodState]) -> Assessment {
    node(Mode::Surge, Placement::Run, false, pods)
}

fn rolling(pods: &[PodState]) -> Assessment {
    node(Mode::Rolling, Placement::Run, false, pods)
}

const UNANSWERED: Deletion = Deletion::Unanswered(Timestamp(NOW.0 + 1));

#[test]
fn the_next_time_is_the_earliest_of_those_to_come() {
    let since = |millis| PodState {
        ready_since: Some(NOW.plus_millis(millis)),
        ..ready("new")
    };
    let until = |millis| with(Deletion::Unanswered(NOW.plus_millis(millis)), ready("new"));
    let wake = |pods: &[PodState]| rolling(pods).wake.map(|at| at.millis_since(NOW));
    // A pod is available a millisecond after ten seconds: times of readiness are whole seconds.
    for (pods, wanted) in [
        ([since(-10_001), since(-4_001)], Some(6_000)),
        ([since(-10_002), since(-10_001)], None),
        ([since(0), since(-1)], Some(10_000)),
        ([until(0), until(7_000)], Some(7_000)),
        ([until(8_000), until(7_000)], Some(7_000)),
        ([until(-1), since(-4_001)], Some(6_000)),
    ] {
        assert_eq!(wake(&pods), wanted);
    }
}

#[test]
fn without_surge_a_node_is_down_if_no_pod_serves_on_it() {
    let refused = |pod| with(Deletion::Refused, pod);
    let step = UpdateStep::None;
    for (pods, down, step) in [
        (&[ready("old")][..], false, UpdateStep::Candidate(id(0))),
        (&[fresh("old")], true, UpdateStep::Replace(id(0))),
        (&[ready("new")], false, step),
        (&[fresh("new")], true, step),
        (&[ready("old"), ready("new")], false, step),
        (&[ready("old"), ready("old")], true, step),
        (&[refused(ready("old")), unready("old")], false, step),
        (&[refused(unready("old")), unready("old")], true, step),
        (&[with(Deletion::Requested, ready("old"))], true, step),
    ] {
        let assessed = rolling(pods);
        assert_eq!((assessed.counts.down, assessed.due.step), (down, step));
    }
    let creating = node(Mode::Rolling, Placement::Run, true, &[ready("old")]);
    assert_eq!((creating.counts.down, creating.due.step), (true, step));
    // A node that should have no pod, and has none, is not down.
    assert!(rolling(&[]).counts.down);
    assert!(!node(Mode::Rolling, Placement::Keep, false, &[]).counts.down);
}

#[test]
fn with_surge_the_old_pod_goes_when_the_new_one_is_available_or_it_is_down() {
    let (run, keep) = (Placement::Run, Placement::Keep);
    let steps = [
        (run, false, &[ready("old")][..], UpdateStep::SurgeCandidate),
        (run, false, &[unready("old")], UpdateStep::SurgeNow),
        (run, false, &[fresh("old")], UpdateStep::SurgeNow),
        (
            keep,
            false,
            &[ready("old")],
            UpdateStep::RetireMisplaced(id(0)),
        ),
        (keep, false, &[unready("old")], UpdateStep::Retire(id(0))),
        (run, true, &[ready("old")], UpdateStep::Surging),
        (run, true, &[fresh("old")], UpdateStep::Surging),
        (run, true, &[unready("old")], UpdateStep::None),
        (
            run,
            false,
            &[ready("old"), fresh("new")],
            UpdateStep::Surging,
        ),
        (
            run,
            false,
            &[ready("old"), ready("new")],
            UpdateStep::Retire(id(0)),
        ),
        (
            run,
            false,
            &[ready("old"), ready("old")],
            UpdateStep::Surging,
        ),
        (
            run,
            false,
            &[with(Deletion::Refused, ready("old")), ready("old")],
            UpdateStep::None,
        ),
        (
            run,
            false,
            &[
                with(Deletion::Refused, ready("old")),
                ready("old"),
                fresh("new"),
            ],
            UpdateStep::Surging,
        ),
        (
            run,
            false,
            &[
                with(Deletion::Refused, ready("old")),
                ready("old"),
                ready("new"),
            ],
            UpdateStep::None,
        ),
        (run, false, &[ready("new")], UpdateStep::None),
    ];
    for (row, (placement, creating, pods, step)) in steps.into_iter().enumerate() {
        let assessed = node(Mode::Surge, placement, creating, pods);
        assert_eq!(assessed.due.step, step, "row {row}");
    }
    for (old, new, replaced) in [
        (ready("old"), ready("new"), true),
        (ready("old"), fresh("new"), false),
        (unready("old"), ready("new"), true),
        (unready("old"), fresh("new"), true),
    ] {
        let deletes: &[_] = if replaced { &[(id(0), Replaced)] } else { &[] };
        assert_eq!(surge(&[old, new]).deletes, deletes);
    }
}

#[test]
fn with_surge_a_pod_whose_deletion_may_fail_counts_as_one_that_runs() {
    let unanswered = |pod| with(UNANSWERED, pod);
    let requested = |pod| with(Deletion::Requested, pod);
    let steps = [
        (
            &[unanswered(ready("old")), fresh("new")][..],
            UpdateStep::Surging,
        ),
        (&[requested(ready("old")), fresh("new")], UpdateStep::None),
        (
            &[unanswered(unready("old")), fresh("new")],
            UpdateStep::None,
        ),
        (&[requested(unready("old")), ready("new")], UpdateStep::None),
        (&[unanswered(ready("old"))], UpdateStep::None),
        (
            &[unanswered(ready("old")), ready("old"), ready("new")],
            UpdateStep::Retire(id(1)),
        ),
        (
            &[ready("old"), requested(ready("new"))],
            UpdateStep::Surging,
        ),
        (
            &[unready("old"), requested(ready("new"))],
            UpdateStep::Surging,
        ),
    ];
    for (row, (pods, step)) in steps.into_iter().enumerate() {
        let assessed = surge(pods);
        assert_eq!(assessed.due.step, step, "row {row}");
        assert!(!assessed.counts.missing, "row {row}");
    }
}

#[test]
fn with_surge_a_pod_is_missing_once_the_last_one_is_confirmed_to_go() {
    let deleting = PodState {
        deleting: true,
        ..ready("old")
    };
    let failed = PodState {
        phase: Phase::Failed,
        ..unready("old")
    };
    let (run, keep) = (Placement::Run, Placement::Keep);
    for (placement, creating, pod, missing) in [
        (run, false, &deleting, true),
        (run, true, &deleting, false),
        (keep, false, &deleting, false),
        (run, false, &failed, false),
    ] {
        let assessed = node(Mode::Surge, placement, creating, std::slice::from_ref(pod));
        assert_eq!(assessed.counts.missing, missing);
    }
}

#[test]
fn of_two_pods_with_one_name_the_earlier_is_gone_already() {
    let version = |resource_version| PodState {
        resource_version,
        ..ready("new")
    };
    let other = PodState {
        name: "other".into(),
        ..version(9)
    };
    for (pods, deletes) in [
        ([version(7), version(8)], &[][..]),
        ([version(8), version(7)], &[]),
        ([version(8), other], &[(id(1), Duplicate)]),
    ] {
        assert_eq!(rolling(&pods).deletes, deletes);
    }
}

#[test]
fn the_later_of_two_pods_with_one_name_is_counted() {
    let version = |resource_version, pod| PodState {
        resource_version,
        ..pod
    };
    for (pods, ready) in [
        ([version(7, unready("new")), version(8, ready("new"))], true),
        (
            [version(7, ready("new")), version(8, unready("new"))],
            false,
        ),
        (
            [version(8, unready("new")), version(7, ready("new"))],
            false,
        ),
    ] {
        assert_eq!(rolling(&pods).counts.ready, ready);
    }
}

#[test]
fn a_creation_without_an_answer_is_given_up_when_it_can_no_longer_take_effect() {
    for (millis, wake) in [(0, None), (1, Some(NOW.plus_millis(1)))] {
        let mut state = NodeState::new(Placement::Run);
        state.creating = Some(Box::new(Creating {
            name: "new".into(),
            attempt: 0,
            sent: false,
            unclear_until: Some(NOW.plus_millis(millis)),
            reserved: None,
        }));
        let facts = facts(Mode::Rolling);
        assert_eq!(assess(&state, &[], &facts).wake, wake);
    }
}

#[test]
fn no_pod_is_deleted_before_its_adoption() {
    let (none, step) = (&[][..], UpdateStep::None);
    let new = || ready("new");
    for (pods, deletes) in [
        ([unadopted(new()), new()], &[(id(1), Duplicate)][..]),
        ([new(), unadopted(new())], none),
        ([new(), new()], &[(id(1), Duplicate)]),
    ] {
        assert_eq!(rolling(&pods).deletes, deletes);
    }
    assert_eq!(rolling(&[unadopted(ready("old"))]).due.step, step);
    assert_eq!(rolling(&[unadopted(unready("old"))]).due.step, step);
    let assessed = surge(&[unadopted(ready("old")), new()]);
    assert_eq!(
        (&*assessed.deletes, assessed.due.step),
        (none, UpdateStep::Surging)
    );
    let assessed = surge(&[ready("old"), unadopted(new())]);
    assert_eq!(assessed.deletes, [(id(0), Replaced)]);
    assert_eq!(assessed.due.step, UpdateStep::Retire(id(0)));
}
