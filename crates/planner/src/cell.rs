//! One node as one DaemonSet sees it: what runs there, what it counts for, and what is due.
//!
//! [`assess`] is the heart: a function of the node's pods alone. Everything about the whole set
//! (budgets, limits) is decided from the sums of these answers.

use std::sync::Arc;

use pandaemon_placement::{DaemonFit, Reason};
use pandaemon_types::{Claims, Labels as _, Name, Phase, PodView, Timestamp, Uid};

use crate::{
    action::Why,
    revision::{GENERATION_LABEL, HASH_LABEL},
    view::SetKey,
};

/// How a pod came to belong to a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It names the set as its owner.
    Owned,
    /// It matches the selector and has no owner; a request to adopt it is due, or under way.
    Adopting {
        /// Whether the request was handed out.
        sent: bool,
    },
}

/// Whether a pod's deletion was handed out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Doomed {
    #[default]
    No,
    /// It was.
    Sent,
    /// It was, and failed: the pod is left alone for a while.
    Failed(Timestamp),
}

/// A pod in the index.
#[derive(Debug, Clone)]
pub(crate) struct PodState {
    pub(crate) view: Arc<PodView>,
    /// The set it belongs to.
    pub(crate) set: Option<(SetKey, Claim)>,
    /// Whether a deletion was handed out.
    pub(crate) doomed: Doomed,
    /// Whether a release or relabelling was handed out.
    pub(crate) patching: bool,
    /// The node on whose account its claims are.
    pub(crate) counted_on: Option<Name>,
}

impl PodState {
    /// Whether it is on its way out, as far as is known or was asked for.
    pub(crate) fn leaving(&self) -> bool {
        self.view.deleting || self.doomed != Doomed::No
    }

    /// Whether its deletion was asked for and has not been seen to begin.
    fn unsettled(&self) -> bool {
        self.doomed != Doomed::No && !self.view.deleting
    }

    /// Whether it still takes its node's place: not if it ended and is being deleted.
    fn present(&self) -> bool {
        !(self.view.deleting && self.view.phase.is_terminal())
    }

    fn age(&self) -> (bool, Timestamp, &Name) {
        (self.view.node.is_none(), self.view.created, &self.view.name)
    }
}

/// Whether a set wants to run on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    Run,
    Keep,
    No,
    /// The node does not exist.
    Gone,
}

impl From<&DaemonFit> for Placement {
    fn from(fit: &DaemonFit) -> Self {
        match fit {
            DaemonFit::Run => Self::Run,
            DaemonFit::Keep(_) => Self::Keep,
            DaemonFit::No(_) => Self::No,
        }
    }
}

/// A pod that was asked for and has not been seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Creating {
    pub(crate) name: Name,
    /// Whether the request is under way; if not, its fate is unknown and it is asked again.
    pub(crate) sent: bool,
    /// What is on the node's account for it.
    pub(crate) reserved: Option<Arc<Claims>>,
    /// When to ask again.
    pub(crate) retry_at: Timestamp,
}

/// How long failed pods of one node are left alone: one second at first, doubled each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BackOff {
    pub(crate) generation: i64,
    pub(crate) seconds: i64,
    pub(crate) since: Timestamp,
}

const BACK_OFF_MAX: i64 = 15 * 60;

impl BackOff {
    /// The back-off after one more failed pod was deleted.
    pub(crate) fn next(last: Option<Self>, generation: i64, now: Timestamp) -> Self {
        let fresh = Self {
            generation,
            seconds: 1,
            since: now,
        };
        match last {
            Some(last)
                if last.generation == generation
                    && now.millis_since(last.since) <= 2 * BACK_OFF_MAX * 1000 =>
            {
                Self {
                    seconds: (last.seconds * 2).min(BACK_OFF_MAX),
                    ..fresh
                }
            }
            _ => fresh,
        }
    }

    pub(crate) const fn until(self) -> Timestamp {
        self.since.plus_seconds(self.seconds)
    }
}

/// What is kept per node and set.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) placement: Placement,
    pub(crate) pods: Vec<Uid>,
    pub(crate) creating: Option<Box<Creating>>,
    pub(crate) back_off: Option<Box<BackOff>>,
    pub(crate) counts: Counts,
    pub(crate) class: Class,
    pub(crate) wake: Option<Timestamp>,
}

impl Cell {
    pub(crate) fn new(placement: Placement) -> Self {
        Self {
            placement,
            pods: Vec::new(),
            creating: None,
            back_off: None,
            counts: Counts::default(),
            class: Class::None,
            wake: None,
        }
    }

    /// Whether nothing needs to be remembered.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.placement, Placement::No | Placement::Gone)
            && self.pods.is_empty()
            && self.creating.is_none()
    }
}

/// What a node adds to the sums of its set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) desired: bool,
    pub(crate) current: bool,
    pub(crate) misscheduled: bool,
    pub(crate) ready: bool,
    pub(crate) available: bool,
    pub(crate) updated: bool,
    /// A pod is due.
    pub(crate) missing: bool,
    /// It counts against the budget of a rolling update without surge.
    pub(crate) down: bool,
    /// Its old or, failing that, new pod is available (only counted with surge).
    pub(crate) serves: bool,
}

/// What a rolling update can do with a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nothing.
    #[default]
    None,
    /// Delete the old pod at once: it is down anyway.
    Replace(Uid),
    /// Delete the old pod if the budget allows.
    Candidate(Uid),
    /// With surge: two pods, the new one not available yet.
    Surging,
    /// With surge: start the new pod at once, the old one is down.
    SurgeNow,
    /// With surge: start the new pod if the limit allows.
    SurgeCandidate,
    /// With surge: delete the old pod, the new one is available or the old one down.
    Retire(Uid),
    /// With surge: delete the old pod once enough others serve; it should not be here.
    Sunset(Uid),
}

/// How a set replaces its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    OnDelete,
    Rolling,
    Surge,
}

/// What [`assess`] needs to know of the set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) hash: Option<&'a str>,
    pub(crate) aliases: &'a [Name],
    pub(crate) template_generation: Option<i64>,
    pub(crate) generation: i64,
    pub(crate) min_ready_seconds: i64,
    pub(crate) mode: Mode,
    pub(crate) now: Timestamp,
}

impl Facts<'_> {
    /// Whether the pod has the newest template.
    pub(crate) fn is_updated(&self, pod: &PodView) -> bool {
        let hash = pod.labels.label(HASH_LABEL);
        let generation = pod
            .labels
            .label(GENERATION_LABEL)
            .and_then(|text| text.parse().ok());
        (hash.is_some() && hash == self.hash)
            || self.aliases.iter().any(|alias| hash == Some(alias))
            || (generation.is_some() && generation == self.template_generation)
    }

    /// When the pod counts as available, if it stays ready.
    pub(crate) fn available_at(&self, pod: &PodView) -> Option<Timestamp> {
        if !pod.ready {
            None
        } else if self.min_ready_seconds == 0 {
            Some(Timestamp(i64::MIN))
        } else {
            pod.ready_since
                .map(|since| since.plus_seconds(self.min_ready_seconds).plus_millis(1))
        }
    }

    pub(crate) fn is_available(&self, pod: &PodView) -> bool {
        self.available_at(pod).is_some_and(|at| at <= self.now)
    }
}

/// What a node counts for and needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Assessment {
    pub(crate) counts: Counts,
    pub(crate) class: Class,
    /// Pods to delete, whatever the budget says.
    pub(crate) deletes: Vec<(Uid, Doom)>,
    /// When time alone changes the answer.
    pub(crate) wake: Option<Timestamp>,
}

/// Why a pod must go, before the reason is put into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doom {
    Misplaced,
    NoNode,
    Failed,
    Succeeded,
    Duplicate,
    Replaced,
}

impl Doom {
    pub(crate) fn why(self, misplaced: impl FnOnce() -> Option<Reason>) -> Why {
        match self {
            Self::Misplaced => misplaced().map_or(Why::NoNode, Why::Misplaced),
            Self::NoNode => Why::NoNode,
            Self::Failed => Why::Failed,
            Self::Succeeded => Why::Succeeded,
            Self::Duplicate => Why::Duplicate,
            Self::Replaced => Why::Replaced,
        }
    }
}

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
            return out;
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
    for pod in active {
        let uid = pod.view.uid.clone();
        match pod.view.phase {
            Phase::Failed => match cell.back_off.as_deref().copied() {
                Some(wait) if wait.generation == facts.generation && facts.now < wait.until() => {
                    out.wake = earliest(out.wake, Some(wait.until()));
                }
                _ => out.deletes.push((uid, Doom::Failed)),
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
        // A surge needs a pod that is not on its way out.
        out.counts.missing = out.counts.desired && cell.creating.is_none();
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
        (Some(_), false) => Class::Retire(uid),
        (Some(new), true) if facts.is_available(new) => Class::Retire(uid),
        (Some(_), true) => Class::Surging,
        (None, true) if cell.creating.is_some() => Class::Surging,
        (None, false) if cell.creating.is_some() => Class::None,
        (None, false) if should_run => Class::SurgeNow,
        (None, false) => Class::Retire(uid),
        (None, true) if should_run => Class::SurgeCandidate,
        (None, true) => Class::Sunset(uid),
    };
}
