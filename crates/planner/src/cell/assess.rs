//! What one node counts for and needs, from its pods alone.

use pandaemon_types::{Phase, Timestamp};

use super::{Assessment, Cell, Class, Doom, Doomed, Facts, Mode, Placement, PodState};
use crate::index::PodId;

/// A pod and its number.
type Pod<'a> = (PodId, &'a PodState);

/// Decides what one node counts for and needs.
pub(crate) fn assess(cell: &Cell, pods: &[Pod<'_>], facts: &Facts<'_>) -> Assessment {
    let mut out = Assessment::default();
    let mut present: Vec<Pod<'_>> = pods.to_vec();
    present.retain(|(_, pod)| pod.present());
    present.sort_by(|(_, a), (_, b)| a.age().cmp(&b.age()));
    count(cell, &present, facts, &mut out);
    let mut active = present.clone();
    active.retain(|(_, pod)| !pod.leaving());
    match cell.placement {
        Placement::Gone => {
            let lost = active.iter().filter(|(_, pod)| !pod.bound);
            out.deletes.extend(lost.map(|(id, _)| (*id, Doom::NoNode)));
        }
        Placement::No => {
            let misplaced = active.iter().map(|(id, _)| (*id, Doom::Misplaced));
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
    if facts.mode == Mode::Surge && present.iter().any(|(_, pod)| pod.unsettled()) {
        // A deletion may fail yet: a further pod could be one too many.
        out.counts.missing = false;
        if matches!(out.class, Class::SurgeNow | Class::SurgeCandidate) {
            out.class = Class::Surging;
        }
        // One whose deletion has failed still runs beside the other, whose deletion may have failed, too.
        let lingers = |pod: &PodState| pod.doomed != Doomed::Sent && facts.is_available(pod);
        if out.class == Class::None
            && present.len() > 1
            && present
                .iter()
                .any(|(_, pod)| pod.unsettled() && lingers(pod))
        {
            out.class = Class::Surging;
        }
    }
    spare_strangers(&active, &mut out);
    for (_, pod) in &present {
        let due = facts.available_at(pod).filter(|at| facts.now < *at);
        out.wake = earliest(out.wake, due);
    }
    out
}

/// A pod that is still to be adopted takes its place, but is not ours to delete.
fn spare_strangers(active: &[Pod<'_>], out: &mut Assessment) {
    let strange = |id: PodId| {
        active
            .iter()
            .any(|(known, pod)| *known == id && !pod.is_owned())
    };
    if active.iter().all(|(_, pod)| pod.is_owned()) {
        return;
    }
    out.deletes.retain(|(id, _)| !strange(*id));
    if let Class::Replace(id) | Class::Candidate(id) | Class::Retire(id) | Class::Sunset(id) =
        out.class
        && strange(id)
    {
        out.class = match out.class {
            Class::Retire(_) => Class::Surging,
            _ => Class::None,
        };
    }
}

pub(crate) fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}

/// The node's part of the status, by its oldest pod; and whether a pod is due.
fn count(cell: &Cell, present: &[Pod<'_>], facts: &Facts<'_>, out: &mut Assessment) {
    let counts = &mut out.counts;
    counts.desired = cell.placement == Placement::Run;
    let Some((_, oldest)) = present.first() else {
        counts.missing = counts.desired && cell.creating.is_none();
        return;
    };
    if !counts.desired {
        counts.misscheduled = cell.placement != Placement::Gone;
        return;
    }
    counts.current = true;
    counts.ready = oldest.ready;
    counts.available = facts.is_available(oldest);
    counts.updated = facts.is_updated(oldest);
}

/// Finds pods that ended and pods that are too many.
fn tidy(cell: &Cell, active: &[Pod<'_>], facts: &Facts<'_>, out: &mut Assessment) {
    let mut running: Vec<Pod<'_>> = Vec::with_capacity(active.len());
    let (mut failed, mut held) = (false, false);
    for (id, pod) in active {
        match pod.phase {
            Phase::Failed => match cell.back_off.as_deref().copied() {
                Some(wait) if wait.generation == facts.generation && facts.now < wait.until() => {
                    out.wake = earliest(out.wake, Some(wait.until()));
                    held = true;
                }
                // One at a time: the first sets the back-off of the next.
                _ if failed => {}
                _ => {
                    out.deletes.push((*id, Doom::Failed));
                    failed = true;
                }
            },
            Phase::Succeeded => out.deletes.push((*id, Doom::Succeeded)),
            Phase::Pending | Phase::Running | Phase::Unknown => running.push((*id, pod)),
        }
    }
    if facts.mode != Mode::Surge {
        let surplus = running.iter().skip(1);
        out.deletes
            .extend(surplus.map(|(id, _)| (*id, Doom::Duplicate)));
        return;
    }
    if running.is_empty() {
        // A surge needs a pod that is not on its way out. A failed pod that is left alone for a while
        // keeps its place, so that a node that refuses pods is not flooded with them.
        out.counts.missing = out.counts.desired && cell.creating.is_none() && !held;
        return;
    }
    if facts.hash.is_none() {
        // Nobody can tell old from new until the revision is written.
        return;
    }
    let (new, old): (Vec<Pod<'_>>, Vec<Pod<'_>>) = running
        .into_iter()
        .partition(|(_, pod)| facts.is_updated(pod));
    let surplus = new.iter().skip(1).chain(old.iter().skip(1));
    out.deletes
        .extend(surplus.map(|(id, _)| (*id, Doom::Duplicate)));
    if let (Some((_, new)), Some((id, old))) = (new.first(), old.first())
        && (!old.ready || facts.is_available(new))
    {
        out.deletes.push((*id, Doom::Replaced));
    }
}

/// The one old and the one new pod; `None` if there are more of either.
fn split<'a>(active: &[Pod<'a>], facts: &Facts<'_>) -> Option<[Option<Pod<'a>>; 2]> {
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

/// Without surge: old pods are deleted, and the missing ones are then made.
fn classify_rolling(cell: &Cell, active: &[Pod<'_>], facts: &Facts<'_>, out: &mut Assessment) {
    let (down, class) = match split(active, facts) {
        Some([None, Some((_, new))]) => (!facts.is_available(new), Class::None),
        Some([Some((id, old)), None]) if cell.creating.is_none() => {
            if facts.is_available(old) {
                (false, Class::Candidate(id))
            } else {
                (true, Class::Replace(id))
            }
        }
        // Ending, being created, or more than one: the rest of the plan sees to it.
        Some(_) | None => (true, Class::None),
    };
    out.counts.down = down;
    out.class = class;
}

/// With surge: the new pod is made first, and the old one deleted when the new one is available.
fn classify_surge(cell: &Cell, active: &[Pod<'_>], facts: &Facts<'_>, out: &mut Assessment) {
    let Some([old, new]) = split(active, facts) else {
        out.class = Class::Surging;
        return;
    };
    out.counts.serves = old.or(new).is_some_and(|(_, pod)| facts.is_available(pod));
    let Some((id, old)) = old else { return };
    let should_run = cell.placement == Placement::Run;
    out.class = match (new, facts.is_available(old)) {
        (Some((_, new)), _) if facts.is_available(new) => Class::Retire(id),
        (Some(_), _) => Class::Surging,
        (None, _) if cell.creating.is_some() && old.ready => Class::Surging,
        (None, _) if cell.creating.is_some() => Class::None,
        (None, false) if should_run => Class::SurgeNow,
        (None, false) => Class::Retire(id),
        (None, true) if should_run => Class::SurgeCandidate,
        (None, true) => Class::Sunset(id),
    };
}
