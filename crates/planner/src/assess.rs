//! The assessment of one node: its part of the totals, and the deletions and creations due on it.

use pandaemon_types::{Phase, Timestamp};

use crate::{
    ids::PodId,
    node_state::{Assessment, DeleteCause, Mode, NodeState, Placement, SetFacts, UpdateStep},
    pod_state::{Deletion, PodState},
};

/// A pod and its number.
type Pod<'a> = (PodId, &'a PodState);

/// Assesses one node from its pods.
pub(crate) fn assess(state: &NodeState, pods: &[Pod<'_>], facts: &SetFacts<'_>) -> Assessment {
    let mut out = Assessment::default();
    let mut present: Vec<Pod<'_>> = pods.to_vec();
    present.retain(|(_, pod)| pod.present() && !is_gone(pod, pods));
    present.sort_by(|(_, a), (_, b)| a.age().cmp(&b.age()));
    count(state, &present, facts, &mut out);
    let mut active = present.clone();
    active.retain(|(_, pod)| !pod.leaving(facts.now));
    match state.placement {
        Placement::NoNode => {
            let lost = active.iter().filter(|(_, pod)| !pod.bound);
            out.deletes
                .extend(lost.map(|(id, _)| (*id, DeleteCause::NoNode)));
        }
        Placement::No => {
            let misplaced = active.iter().map(|(id, _)| (*id, DeleteCause::Misplaced));
            out.deletes.extend(misplaced);
        }
        Placement::Run | Placement::Keep => find_ended_and_surplus(state, &active, facts, &mut out),
    }
    let has_pods = !present.is_empty() || state.creating.is_some();
    let has_pods = has_pods && (out.counts.desired || !present.is_empty());
    match facts.mode {
        Mode::OnDelete => {}
        Mode::Rolling if has_pods => classify_rolling(state, &active, facts, &mut out),
        Mode::Rolling => out.counts.down = out.counts.missing,
        Mode::Surge => classify_surge(state, &active, facts, &mut out),
    }
    if facts.mode == Mode::Surge {
        wait_for_deletions(&present, facts, &mut out);
    }
    keep_unadopted(&active, &mut out);
    for (_, pod) in &present {
        let due = facts.available_at(pod).filter(|at| facts.now < *at);
        out.wake = earliest(out.wake, due);
        if let Deletion::Unanswered(until) = pod.deletion {
            out.wake = earliest(out.wake, Some(until).filter(|at| facts.now < *at));
        }
    }
    // A creation without an answer is repeated where the pod is still wanted. Elsewhere it waits
    // until it is seen, or can no longer take effect.
    let unanswered = state.creating.as_ref().filter(|creating| !creating.sent);
    out.due.create = out.counts.missing || (unanswered.is_some() && out.counts.desired);
    let gives_up = unanswered.and_then(|creating| creating.unclear_until);
    out.wake = earliest(out.wake, gives_up.filter(|at| facts.now < *at));
    out.due.delete = !out.deletes.is_empty();
    out
}

/// Whether a later pod has the name: then this one is gone, whatever the watch has shown of it.
fn is_gone(pod: &PodState, pods: &[Pod<'_>]) -> bool {
    pods.iter()
        .any(|(_, other)| pod.resource_version < other.resource_version && pod.name == other.name)
}

/// With surge, no pod is created beside one whose deletion may still fail: it would be one too
/// many.
fn wait_for_deletions(present: &[Pod<'_>], facts: &SetFacts<'_>, out: &mut Assessment) {
    let unconfirmed = |pod: &PodState| pod.deletion_unconfirmed(facts.now);
    if !present.iter().any(|(_, pod)| unconfirmed(pod)) {
        return;
    }
    out.counts.missing = false;
    if matches!(
        out.due.step,
        UpdateStep::SurgeNow | UpdateStep::SurgeCandidate
    ) {
        out.due.step = UpdateStep::Surging;
    }
    // A pod whose deletion got no answer may still run, and the deletion of the other may have
    // failed, too.
    let may_run = |pod: &PodState| {
        unconfirmed(pod) && pod.deletion != Deletion::Requested && facts.is_available(pod)
    };
    if out.due.step == UpdateStep::None
        && present.len() > 1
        && present.iter().any(|(_, pod)| may_run(pod))
    {
        out.due.step = UpdateStep::Surging;
    }
}

/// Removes deletions of pods that are not adopted yet: they keep their node from getting another
/// pod, but the set does not own them.
fn keep_unadopted(active: &[Pod<'_>], out: &mut Assessment) {
    let is_unadopted = |id: PodId| {
        active
            .iter()
            .any(|(known, pod)| *known == id && !pod.is_owned())
    };
    if active.iter().all(|(_, pod)| pod.is_owned()) {
        return;
    }
    out.deletes.retain(|(id, _)| !is_unadopted(*id));
    if let UpdateStep::Replace(id)
    | UpdateStep::Candidate(id)
    | UpdateStep::Retire(id)
    | UpdateStep::RetireMisplaced(id) = out.due.step
        && is_unadopted(id)
    {
        out.due.step = match out.due.step {
            UpdateStep::Retire(_) => UpdateStep::Surging,
            _ => UpdateStep::None,
        };
    }
}

pub(crate) fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}

/// The node's part of the status, decided by its oldest pod, and whether a pod has to be created.
fn count(state: &NodeState, present: &[Pod<'_>], facts: &SetFacts<'_>, out: &mut Assessment) {
    let counts = &mut out.counts;
    counts.desired = state.placement == Placement::Run;
    let Some((_, oldest)) = present.first() else {
        counts.missing = counts.desired && state.creating.is_none();
        return;
    };
    if !counts.desired {
        counts.misscheduled = state.placement != Placement::NoNode;
        return;
    }
    counts.current = true;
    counts.ready = oldest.ready;
    counts.available = facts.is_available(oldest);
    counts.updated = facts.is_updated(oldest);
}

/// Finds pods that ended, and surplus pods.
fn find_ended_and_surplus(
    state: &NodeState,
    active: &[Pod<'_>],
    facts: &SetFacts<'_>,
    out: &mut Assessment,
) {
    let mut running: Vec<Pod<'_>> = Vec::with_capacity(active.len());
    let mut failed = false;
    for (id, pod) in active {
        match pod.phase {
            Phase::Failed => match state.back_off.as_deref().copied() {
                Some(wait) if wait.generation == facts.generation && facts.now < wait.until() => {
                    out.wake = earliest(out.wake, Some(wait.until()));
                }
                // One at a time: deleting the first sets the back-off of the next.
                _ if failed => {}
                _ => {
                    out.deletes.push((*id, DeleteCause::Failed));
                    failed = true;
                }
            },
            Phase::Succeeded => out.deletes.push((*id, DeleteCause::Succeeded)),
            Phase::Pending | Phase::Running | Phase::Unknown => running.push((*id, pod)),
        }
    }
    if facts.mode != Mode::Surge {
        let surplus = running.iter().skip(1);
        out.deletes
            .extend(surplus.map(|(id, _)| (*id, DeleteCause::Duplicate)));
        return;
    }
    if running.is_empty() {
        // A pod that ended keeps its place until its deletion is confirmed: a node on which pods
        // fail at once, or cannot be deleted, would get one after the other.
        let ended = !active.is_empty();
        out.counts.missing = out.counts.desired && state.creating.is_none() && !ended;
        return;
    }
    if facts.hash.is_none() {
        // Old and new pods cannot be told apart before the revision is written.
        return;
    }
    let (new, old): (Vec<Pod<'_>>, Vec<Pod<'_>>) = running
        .into_iter()
        .partition(|(_, pod)| facts.is_updated(pod));
    let surplus = new.iter().skip(1).chain(old.iter().skip(1));
    out.deletes
        .extend(surplus.map(|(id, _)| (*id, DeleteCause::Duplicate)));
    if let (Some((_, new)), Some((id, old))) = (new.first(), old.first())
        && (!old.ready || facts.is_available(new))
    {
        out.deletes.push((*id, DeleteCause::Replaced));
    }
}

/// The old and the new pod; `None` if there is more than one of either.
fn split<'a>(active: &[Pod<'a>], facts: &SetFacts<'_>) -> Option<[Option<Pod<'a>>; 2]> {
    let (mut old, mut new) = (None, None);
    for pod in active {
        let slot = if facts.is_updated(pod.1) {
            &mut new
        } else {
            &mut old
        };
        if slot.replace(*pod).is_some() {
            return None;
        }
    }
    Some([old, new])
}

/// Without surge: old pods are deleted, and missing ones are then created.
fn classify_rolling(
    state: &NodeState,
    active: &[Pod<'_>],
    facts: &SetFacts<'_>,
    out: &mut Assessment,
) {
    let available = |pod: &PodState| facts.is_available(pod);
    let (down, step) = match split(active, facts) {
        Some([_, Some((_, new))]) => (!available(new), UpdateStep::None),
        Some([Some((id, old)), None]) if state.creating.is_none() => {
            if available(old) {
                (false, UpdateStep::Candidate(id))
            } else {
                (true, UpdateStep::Replace(id))
            }
        }
        // More than one old or new pod. A surplus pod whose deletion is refused must not count for
        // ever.
        None => {
            let is_refused = active
                .iter()
                .any(|(_, pod)| pod.deletion == Deletion::Refused);
            let serves = active.iter().any(|(_, pod)| available(pod));
            (!(is_refused && serves), UpdateStep::None)
        }
        // Terminating, or being created: not a step of the rolling update.
        Some(_) => (true, UpdateStep::None),
    };
    out.counts.down = down;
    out.due.step = step;
}

/// With surge: the new pod is created first, and the old one deleted when the new one is available.
fn classify_surge(
    state: &NodeState,
    active: &[Pod<'_>],
    facts: &SetFacts<'_>,
    out: &mut Assessment,
) {
    let Some([old, new]) = split(active, facts) else {
        // A surplus pod whose deletion is refused must not use the limit for ever. While a new pod
        // is not available yet, the node surges like any other.
        let is_refused = |pod: &PodState| pod.deletion == Deletion::Refused;
        let mut new = active.iter().filter(|(_, pod)| facts.is_updated(pod));
        let waits = new.clone().next().is_some() && !new.any(|(_, pod)| facts.is_available(pod));
        if waits || !active.iter().any(|(_, pod)| is_refused(pod)) {
            out.due.step = UpdateStep::Surging;
        }
        return;
    };
    out.counts.serves = old.or(new).is_some_and(|(_, pod)| facts.is_available(pod));
    let Some((id, old)) = old else { return };
    let should_run = state.placement == Placement::Run;
    out.due.step = match (new, facts.is_available(old)) {
        (Some((_, new)), _) if facts.is_available(new) => UpdateStep::Retire(id),
        (Some(_), _) => UpdateStep::Surging,
        (None, _) if state.creating.is_some() && old.ready => UpdateStep::Surging,
        (None, _) if state.creating.is_some() => UpdateStep::None,
        (None, false) if should_run => UpdateStep::SurgeNow,
        (None, false) => UpdateStep::Retire(id),
        (None, true) if should_run => UpdateStep::SurgeCandidate,
        (None, true) => UpdateStep::RetireMisplaced(id),
    };
}

#[cfg(test)]
mod tests;
