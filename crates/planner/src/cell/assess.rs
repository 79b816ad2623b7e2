//! What one node counts for and needs, from its pods alone.

use pandaemon_types::{Phase, PodView, Timestamp};

use super::{Assessment, Cell, Class, Doom, Facts, Mode, Placement, PodState};

/// Decides what one node counts for and needs.
pub(crate) fn assess(cell: &Cell, pods: &[&PodState], facts: &Facts<'_>) -> Assessment {
    let mut out = Assessment::default();
    let mut present: Vec<&PodState> = pods.iter().copied().filter(|pod| pod.present()).collect();
    present.sort_by(|a, b| a.age().cmp(&b.age()));
    count(cell, &present, facts, &mut out);
    let active: Vec<&PodState> = present
        .iter()
        .copied()
        .filter(|pod| !pod.leaving())
        .collect();
    match cell.placement {
        Placement::Gone => {
            let lost = active.iter().filter(|pod| pod.view.node.is_none());
            out.deletes
                .extend(lost.map(|pod| (pod.view.uid.clone(), Doom::NoNode)));
        }
        Placement::No => {
            let misplaced = active
                .iter()
                .map(|pod| (pod.view.uid.clone(), Doom::Misplaced));
            out.deletes.extend(misplaced);
        }
        Placement::Run | Placement::Keep => tidy(cell, &active, facts, &mut out),
    }
    let has_pods = !present.is_empty() || cell.creating.is_some();
    match facts.mode {
        Mode::OnDelete => {}
        Mode::Rolling if has_pods => classify_rolling(cell, &active, facts, &mut out),
        Mode::Rolling => out.counts.down = out.counts.missing,
        Mode::Surge => classify_surge(cell, &active, facts, &mut out),
    }
    if facts.mode == Mode::Surge && present.iter().any(|pod| pod.unsettled()) {
        // A deletion may fail yet: a further pod could be one too many.
        out.counts.missing = false;
        if matches!(out.class, Class::SurgeNow | Class::SurgeCandidate) {
            out.class = Class::Surging;
        }
    }
    for pod in &present {
        let due = facts.available_at(&pod.view).filter(|at| facts.now < *at);
        out.wake = earliest(out.wake, due);
    }
    out
}

pub(crate) fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}

/// The node's part of the status, by its oldest pod; and whether a pod is due.
fn count(cell: &Cell, present: &[&PodState], facts: &Facts<'_>, out: &mut Assessment) {
    let counts = &mut out.counts;
    counts.desired = cell.placement == Placement::Run;
    let Some(oldest) = present.first() else {
        counts.missing = counts.desired && cell.creating.is_none();
        return;
    };
    if !counts.desired {
        counts.misscheduled = cell.placement != Placement::Gone;
        return;
    }
    counts.current = true;
    counts.ready = oldest.view.ready;
    counts.available = facts.is_available(&oldest.view);
    counts.updated = facts.is_updated(&oldest.view);
}

/// Finds pods that ended and pods that are too many.
fn tidy(cell: &Cell, active: &[&PodState], facts: &Facts<'_>, out: &mut Assessment) {
    let mut running: Vec<&PodState> = Vec::with_capacity(active.len());
    let (mut failed, mut held) = (false, false);
    for pod in active {
        let uid = pod.view.uid.clone();
        match pod.view.phase {
            Phase::Failed => match cell.back_off.as_deref().copied() {
                Some(wait) if wait.generation == facts.generation && facts.now < wait.until() => {
                    out.wake = earliest(out.wake, Some(wait.until()));
                    held = true;
                }
                // One at a time: the first sets the back-off of the next.
                _ if failed => {}
                _ => {
                    out.deletes.push((uid, Doom::Failed));
                    failed = true;
                }
            },
            Phase::Succeeded => out.deletes.push((uid, Doom::Succeeded)),
            Phase::Pending | Phase::Running | Phase::Unknown => running.push(pod),
        }
    }
    if facts.mode != Mode::Surge {
        let surplus = running.iter().skip(1);
        out.deletes
            .extend(surplus.map(|pod| (pod.view.uid.clone(), Doom::Duplicate)));
        return;
    }
    if running.is_empty() {
        // A surge needs a pod that is not on its way out. A failed pod that is left alone for a while
        // keeps its place, so that a node that refuses pods is not flooded with them.
        out.counts.missing = out.counts.desired && cell.creating.is_none() && !held;
        return;
    }
    let (new, old): (Vec<&PodState>, Vec<&PodState>) = running
        .into_iter()
        .partition(|pod| facts.is_updated(&pod.view));
    let surplus = new.iter().skip(1).chain(old.iter().skip(1));
    out.deletes
        .extend(surplus.map(|pod| (pod.view.uid.clone(), Doom::Duplicate)));
    if let (Some(new), Some(old)) = (new.first(), old.first())
        && (!old.view.ready || facts.is_available(&new.view))
    {
        out.deletes.push((old.view.uid.clone(), Doom::Replaced));
    }
}

/// The one old and the one new pod; `None` if there are more of either.
fn split<'a>(active: &[&'a PodState], facts: &Facts<'_>) -> Option<[Option<&'a PodView>; 2]> {
    let (mut old, mut new) = (None, None);
    for pod in active {
        let slot = if facts.is_updated(&pod.view) {
            &mut new
        } else {
            &mut old
        };
        if slot.replace(&*pod.view).is_some() {
            return None;
        }
    }
    Some([old, new])
}

/// Without surge: old pods are deleted, and the missing ones are then made.
fn classify_rolling(cell: &Cell, active: &[&PodState], facts: &Facts<'_>, out: &mut Assessment) {
    let (down, class) = match split(active, facts) {
        Some([None, Some(new)]) => (!facts.is_available(new), Class::None),
        Some([Some(old), None]) if cell.creating.is_none() => {
            if facts.is_available(old) {
                (false, Class::Candidate(old.uid.clone()))
            } else {
                (true, Class::Replace(old.uid.clone()))
            }
        }
        // Ending, being created, or more than one: the rest of the plan sees to it.
        Some(_) | None => (true, Class::None),
    };
    out.counts.down = down;
    out.class = class;
}

/// With surge: the new pod is made first, and the old one deleted when the new one is available.
fn classify_surge(cell: &Cell, active: &[&PodState], facts: &Facts<'_>, out: &mut Assessment) {
    let Some([old, new]) = split(active, facts) else {
        out.class = Class::Surging;
        return;
    };
    let available = |pod: Option<&PodView>| pod.is_some_and(|pod| facts.is_available(pod));
    out.counts.serves = available(old.or(new));
    let Some(old) = old else { return };
    let should_run = cell.placement == Placement::Run;
    let uid = old.uid.clone();
    out.class = match (new, available(Some(old))) {
        (Some(new), _) if facts.is_available(new) => Class::Retire(uid),
        (Some(_), _) => Class::Surging,
        (None, _) if cell.creating.is_some() && old.ready => Class::Surging,
        (None, _) if cell.creating.is_some() => Class::None,
        (None, false) if should_run => Class::SurgeNow,
        (None, false) => Class::Retire(uid),
        (None, true) if should_run => Class::SurgeCandidate,
        (None, true) => Class::Sunset(uid),
    };
}
