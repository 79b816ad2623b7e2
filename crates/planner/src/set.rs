//! One DaemonSet in the index: its nodes, the sums over them, and what is under way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pandaemon_placement::PodNeeds;
use pandaemon_types::{Name, Timestamp, Uid};

use crate::{
    action::Action,
    cell::{Assessment, Cell, Class, Counts, Facts, Mode},
    index::{NodeId, Numbered, Roster},
    mould::Mould,
    view::{DaemonSetView, RevisionView, SetKey, Status, Strategy},
};

/// How many creations (and how many deletions) of one set may be under way at once.
pub(crate) const BURST: usize = 250;

/// The sums over all nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) desired: usize,
    pub(crate) current: usize,
    pub(crate) misscheduled: usize,
    pub(crate) ready: usize,
    pub(crate) available: usize,
    pub(crate) updated: usize,
    pub(crate) down: usize,
    pub(crate) serves: usize,
    pub(crate) surging: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, counts: Counts, class: Class) {
        for (sum, flag) in self.fields(counts, class) {
            *sum += usize::from(flag);
        }
    }

    fn subtract(&mut self, counts: Counts, class: Class) {
        for (sum, flag) in self.fields(counts, class) {
            *sum -= usize::from(flag);
        }
    }

    fn fields(&mut self, counts: Counts, class: Class) -> [(&mut usize, bool); 9] {
        [
            (&mut self.desired, counts.desired),
            (&mut self.current, counts.current),
            (&mut self.misscheduled, counts.misscheduled),
            (&mut self.ready, counts.ready),
            (&mut self.available, counts.available),
            (&mut self.updated, counts.updated),
            (&mut self.down, counts.down),
            (&mut self.serves, counts.serves),
            (&mut self.surging, class == Class::Surging),
        ]
    }
}

/// Nodes by what a rolling update can do with them.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    pub(crate) missing: BTreeMap<Name, NodeId>,
    pub(crate) replace: BTreeMap<Name, NodeId>,
    pub(crate) candidates: BTreeMap<Name, NodeId>,
    pub(crate) surge_now: BTreeMap<Name, NodeId>,
    pub(crate) surge_candidates: BTreeMap<Name, NodeId>,
    pub(crate) retire: BTreeMap<Name, NodeId>,
    pub(crate) sunset: BTreeMap<Name, NodeId>,
}

impl Classes {
    fn of(&mut self, class: Class) -> Option<&mut BTreeMap<Name, NodeId>> {
        Some(match class {
            Class::None | Class::Surging => return None,
            Class::Replace(_) => &mut self.replace,
            Class::Candidate(_) => &mut self.candidates,
            Class::SurgeNow => &mut self.surge_now,
            Class::SurgeCandidate => &mut self.surge_candidates,
            Class::Retire(_) => &mut self.retire,
            Class::Sunset(_) => &mut self.sunset,
        })
    }
}

/// Requests that are under way, and how fast further ones may follow.
#[derive(Debug)]
pub(crate) struct Pace {
    pub(crate) creating: usize,
    pub(crate) deleting: usize,
    /// How many creations may be under way: one at first, one more for each that succeeds.
    pub(crate) window: usize,
    pub(crate) failures: u32,
    pub(crate) retry_at: Option<Timestamp>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            creating: 0,
            deleting: 0,
            window: 1,
            failures: 0,
            retry_at: None,
        }
    }
}

impl Pace {
    pub(crate) fn may_create(&self, now: Timestamp) -> bool {
        self.creating < self.window && self.retry_at.is_none_or(|at| at <= now)
    }

    pub(crate) fn may_delete(&self) -> bool {
        self.deleting < BURST
    }

    pub(crate) fn succeeded(&mut self) {
        self.window = (self.window + 1).min(BURST);
        self.failures = 0;
        self.retry_at = None;
    }

    /// One creation failed: start slowly again, after a pause that doubles up to a minute. `spread`
    /// keeps sets that failed together from coming back together.
    pub(crate) fn failed(&mut self, now: Timestamp, at_least: i64, spread: u64) {
        self.window = 1;
        if self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        let pause = 100_i64 << self.failures.min(10);
        let jitter = i64::try_from(spread % 64).unwrap_or(0) * pause / 256;
        self.failures += 1;
        self.retry_at = Some(now.plus_millis(pause.min(60_000).max(at_least) + jitter));
    }
}

/// The newest template, once its revision exists.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) hash: Name,
    /// Hashes of revisions with the same template: their pods are as good as new.
    pub(crate) aliases: Vec<Name>,
    pub(crate) mould: Arc<Mould>,
}

/// One DaemonSet in the index.
#[derive(Debug)]
pub(crate) struct Set {
    /// Its name, shared by all its pods.
    pub(crate) key: Arc<SetKey>,
    /// Its identity in writing.
    pub(crate) uid: Box<str>,
    /// Its turn among the sets: critical ones first.
    pub(crate) rank: u8,
    pub(crate) view: DaemonSetView,
    pub(crate) needs: Arc<PodNeeds>,
    pub(crate) revisions: BTreeMap<Name, RevisionView>,
    pub(crate) current: Option<Current>,
    pub(crate) cells: Numbered<Cell>,
    pub(crate) tally: Tally,
    pub(crate) classes: Classes,
    pub(crate) pace: Pace,
    /// Nodes to look at.
    pub(crate) touched: BTreeSet<NodeId>,
    pub(crate) timers: BTreeSet<(Timestamp, NodeId)>,
    /// Live pods by hash label.
    pub(crate) hashes: BTreeMap<Name, usize>,
    /// Whether the revisions must be looked at.
    pub(crate) reckon: bool,
    /// Whether the collision count must be written before a revision can be made.
    pub(crate) collided: bool,
    /// Requests about revisions that are under way.
    pub(crate) revising: usize,
    pub(crate) revise_after: Option<Timestamp>,
    /// Pods whose ownership must be looked at.
    pub(crate) claims: BTreeSet<Uid>,
    pub(crate) claim_after: Option<Timestamp>,
    /// The status that is being written.
    pub(crate) writing: Option<Status>,
    pub(crate) write_after: Option<Timestamp>,
    /// Events to hand out with the next plan.
    pub(crate) notes: Vec<Action>,
    /// The generation that was warned about.
    pub(crate) warned: Option<i64>,
    /// Counts creations, so that no two pods get the same name.
    pub(crate) serial: u64,
    /// When the planner is to wake for it.
    pub(crate) wake: Option<Timestamp>,
}

impl Set {
    pub(crate) fn new(view: DaemonSetView) -> Self {
        let spec = view.template.get("spec").cloned().unwrap_or_default();
        Self {
            key: Arc::new(view.key.clone()),
            uid: view.uid.to_string().into(),
            rank: view.rank(),
            needs: Arc::new(PodNeeds::for_daemon(&spec)),
            view,
            revisions: BTreeMap::new(),
            current: None,
            cells: Numbered::default(),
            tally: Tally::default(),
            classes: Classes::default(),
            pace: Pace::default(),
            touched: BTreeSet::new(),
            timers: BTreeSet::new(),
            hashes: BTreeMap::new(),
            reckon: true,
            collided: false,
            revising: 0,
            revise_after: None,
            claims: BTreeSet::new(),
            claim_after: None,
            writing: None,
            write_after: None,
            notes: Vec::new(),
            warned: None,
            serial: 0,
            wake: None,
        }
    }

    /// Own revisions whose labels do not match any more.
    pub(crate) fn foreign_revisions(&self) -> impl Iterator<Item = &RevisionView> {
        let matches = |revision: &RevisionView| {
            let selector = self.view.selector.as_ref();
            selector.is_none_or(|selector| selector.matches(&revision.labels))
        };
        self.revisions
            .values()
            .filter(move |revision| !matches(revision))
    }

    pub(crate) fn mode(&self) -> Mode {
        match self.view.strategy {
            Strategy::OnDelete => Mode::OnDelete,
            Strategy::RollingUpdate { max_surge, .. } if max_surge.of_rounded_up(1) > 0 => {
                Mode::Surge
            }
            Strategy::RollingUpdate { .. } => Mode::Rolling,
        }
    }

    /// How many nodes may be down, and how many may surge.
    pub(crate) fn limits(&self) -> (usize, usize) {
        let Strategy::RollingUpdate {
            max_unavailable,
            max_surge,
        } = self.view.strategy
        else {
            return (0, 0);
        };
        let desired = self.tally.desired;
        let surge = max_surge.of_rounded_up(desired);
        match max_unavailable.of_rounded_up(desired) {
            0 if surge == 0 && desired > 0 => (1, 0),
            unavailable => (unavailable, surge),
        }
    }

    pub(crate) fn facts(&self, now: Timestamp) -> Facts<'_> {
        Facts {
            hash: self.current.as_ref().map(|current| &*current.hash),
            aliases: self
                .current
                .as_ref()
                .map_or(&[], |current| &current.aliases),
            template_generation: self.view.template_generation,
            generation: self.view.generation,
            min_ready_seconds: self.view.min_ready_seconds,
            mode: self.mode(),
            now,
        }
    }

    /// Looks at a node again with the next plan.
    pub(crate) fn touch(&mut self, node: NodeId) {
        self.touched.insert(node);
    }

    /// Looks at every node again.
    pub(crate) fn touch_all(&mut self) {
        self.touched
            .extend(self.cells.iter::<NodeId>().map(|(node, _)| node));
    }

    /// Files a node under its new answer.
    pub(crate) fn file(
        &mut self,
        node: NodeId,
        roster: &Roster,
        answer: &Assessment,
        wake: Option<Timestamp>,
    ) {
        let Some(cell) = self.cells.get_mut(node) else {
            return;
        };
        let (counts, class) = (answer.counts, answer.class);
        self.tally.subtract(cell.counts, cell.class);
        self.tally.add(counts, class);
        if cell.class != class || cell.counts.missing != counts.missing {
            let name = roster.name(node);
            if let Some(filed) = self.classes.of(cell.class) {
                filed.remove(&name);
            }
            if let Some(file) = self.classes.of(class) {
                file.insert(Name::clone(&name), node);
            }
            if counts.missing {
                self.classes.missing.insert(name, node);
            } else if cell.counts.missing {
                self.classes.missing.remove(&name);
            }
        }
        if cell.wake != wake {
            if let Some(old) = cell.wake {
                self.timers.remove(&(old, node));
            }
            self.timers.extend(wake.map(|new| (new, node)));
        }
        (cell.counts, cell.class, cell.wake) = (counts, class, wake);
        if cell.is_idle() {
            self.cells.take(node);
        }
    }

    /// What the status should say.
    pub(crate) fn status(&self) -> Status {
        let Tally {
            desired,
            current,
            misscheduled,
            ready,
            available,
            updated,
            ..
        } = self.tally;
        Status {
            current_number_scheduled: current,
            desired_number_scheduled: desired,
            number_misscheduled: misscheduled,
            number_ready: ready,
            number_available: available,
            number_unavailable: desired.saturating_sub(available),
            updated_number_scheduled: updated,
            observed_generation: self.view.generation,
            collision_count: self.view.status.collision_count,
        }
    }

    /// When the set must be planned again, if nothing happens.
    pub(crate) fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        if self.view.deleting {
            return None;
        }
        let timer = self.timers.iter().map(|(at, _)| *at).find(|at| now < *at);
        let due = !self.classes.missing.is_empty()
            || !self.classes.surge_now.is_empty()
            || !self.classes.surge_candidates.is_empty();
        let retry = self.pace.retry_at.filter(|at| due && now < *at);
        let revise = self.revise_after.filter(|at| self.reckon && now < *at);
        let write = self.write_after.filter(|at| now < *at);
        let claim = self.claim_after.filter(|at| now < *at);
        [timer, retry, revise, write, claim]
            .into_iter()
            .flatten()
            .min()
    }

    /// Counts a live pod's hash; a revision may be deleted when its last pod is gone.
    pub(crate) fn count_hash(&mut self, hash: Option<&Name>, came: bool) {
        let Some(hash) = hash else { return };
        match self.hashes.get_mut(hash) {
            Some(count) if came => *count += 1,
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => {
                self.hashes.remove(hash);
                self.reckon = true;
            }
            None if came => {
                self.hashes.insert(Name::clone(hash), 1);
            }
            None => {}
        }
    }
}
