//! What the controller has asked for and not settled yet, and how often it was refused: per set.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    request::{Failure, FailureKind, Violation, ensure},
    value::Text,
};

/// How long a creation without an answer may take effect, in milliseconds.
pub(crate) const MAY_TAKE_EFFECT: i64 = 120_000;

/// No more creations of a set than this are under way, and no more deletions.
pub(crate) const BURST: usize = 250;

/// What a request is about, within a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// The pod of a node.
    Create(Text),
    /// The pods of a node.
    Delete(Text),
    /// A pod by its uid.
    Patch(Text),
    Revisions,
    Status,
}

impl Target {
    /// The kind of requests among which targets are tried in turn.
    const fn kind(&self) -> usize {
        match self {
            Self::Create(_) => 0,
            Self::Delete(_) => 1,
            Self::Patch(_) => 2,
            Self::Revisions => 3,
            Self::Status => 4,
        }
    }
}

/// The longest pause of one target, and of targets that have not failed when others fail in a row,
/// in milliseconds, jitter included.
const LONGEST: (i64, i64) = (375_000, 38_000);

/// Failures in a row of requests about one target.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failures {
    pub(crate) count: u32,
    /// How many of them the controller counts at least.
    fewest: u32,
    /// When the last one was observed.
    at: i64,
    /// How long the last one makes the target wait at most, in milliseconds.
    longest: i64,
}

impl Failures {
    /// The next attempt comes no sooner: pauses double from 0.1 s, at least up to half a minute.
    fn earliest(&self) -> i64 {
        match self.fewest.checked_sub(1) {
            Some(times) => self.at + (100_i64 << times.min(10)).min(30_000),
            None => i64::MIN,
        }
    }

    /// And no later.
    pub(crate) fn latest(&self) -> i64 {
        self.at + (1_250_i64 << self.count.min(20)).min(self.longest) + 1_000
    }
}

/// How the requests of one kind of a set went.
#[derive(Debug, Default)]
struct Recent {
    /// The targets that have failed for the first time since the last success.
    failed: usize,
    /// Until when targets that have not failed may have to wait.
    paused_until: i64,
    /// Until when all targets wait, as the server asked for it.
    blocked_until: i64,
}

/// A pod that was asked for and has not been seen.
#[derive(Debug, Clone)]
pub(crate) struct Creating {
    pub(crate) name: Text,
    /// The request is under way; if not, its fate is unknown.
    pub(crate) sent: bool,
    /// An earlier request for the name was not answered: until then a refusal does not say that
    /// there is no pod.
    pub(crate) unclear_until: Option<i64>,
}

/// The back-off of failed pods on one node: 1 s, doubled with each up to 15 minutes (upstream's
/// `failedPodsBackoff`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct FailedPods {
    generation: i64,
    seconds: i64,
    since: i64,
}

const FAILED_PODS_MAX: i64 = 15 * 60;

impl FailedPods {
    /// After one more failed pod was deleted.
    pub(crate) const fn next(last: Option<Self>, generation: i64, now: i64) -> Self {
        let mut seconds = 1;
        if let Some(last) = last
            && last.generation == generation
            && now - last.since <= 2 * FAILED_PODS_MAX * 1000
        {
            seconds = last.seconds * 2;
            if seconds > FAILED_PODS_MAX {
                seconds = FAILED_PODS_MAX;
            }
        }
        Self {
            generation,
            seconds,
            since: now,
        }
    }

    /// Until when the next failed pod is kept; `None` in another generation.
    pub(crate) fn until(self, generation: i64) -> Option<i64> {
        (self.generation == generation).then_some(self.since + self.seconds * 1000)
    }
}

/// The work of one set.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// The pods that were asked for and not seen, by their node.
    pub(crate) creating: BTreeMap<Text, Creating>,
    pub(crate) deleting: usize,
    /// Pods with a patch under way, by uid.
    pub(crate) patching: BTreeSet<Text>,
    /// Requests about revisions under way.
    pub(crate) revising: usize,
    /// One has ended since the last plan.
    pub(crate) revised: bool,
    pub(crate) writing: bool,
    pub(crate) window: Window,
    /// No more patches of pods than this are under way: one, and one more for each success.
    pub(crate) patch_window: PatchWindow,
    pub(crate) delete_window: DeleteWindow,
    /// The hashes of the revisions that hold the template, the newest one's first.
    pub(crate) hashes: Vec<Text>,
    /// The same at the last plan; empty if the revision was missing.
    pub(crate) found: Vec<Text>,
    failures: BTreeMap<Target, Failures>,
    /// By the kind of requests, see [`Target::kind`].
    recent: [Recent; 5],
    pub(crate) failed_pods: BTreeMap<Text, FailedPods>,
    /// Events that are due: the reason, and a text that the message contains.
    pub(crate) events: Vec<(&'static str, String)>,
}

/// How many creations may be under way at once: one for a new template, one more for each success.
#[derive(Debug)]
pub(crate) struct Window {
    /// Which template it is about.
    pub(crate) data: Text,
    /// No more than this.
    pub(crate) most: usize,
    /// At least this, if so many are due: when different nodes fail in a row, each may halve it.
    pub(crate) least: usize,
}

/// How many deletions may be under way at least: when different nodes fail in a row, each may halve
/// it.
#[derive(Debug)]
pub(crate) struct DeleteWindow(usize);

impl Default for DeleteWindow {
    fn default() -> Self {
        Self(BURST)
    }
}

/// The slow start of patches.
#[derive(Debug)]
pub(crate) struct PatchWindow(pub(crate) usize);

impl Default for PatchWindow {
    fn default() -> Self {
        Self(1)
    }
}

impl Default for Window {
    fn default() -> Self {
        Self {
            data: "".into(),
            most: 1,
            least: 1,
        }
    }
}

impl Window {
    fn succeeded(&mut self) {
        self.most = (self.most + 1).min(BURST);
        self.least = (self.least + 1).min(BURST);
    }

    const fn halved(&mut self) {
        self.least = if self.least > 1 { self.least / 2 } else { 1 };
    }
}

impl Work {
    /// What was not answered for so long can no longer take effect.
    pub(crate) fn give_up_creations(&mut self, now: i64) {
        self.creating.retain(|_, creating| {
            creating.sent || creating.unclear_until.is_none_or(|until| now < until)
        });
    }

    /// How many creations are under way.
    pub(crate) fn creations(&self) -> usize {
        self.creating
            .values()
            .filter(|creating| creating.sent)
            .count()
    }

    /// Whether no more deletions have to be under way.
    pub(crate) const fn may_hold_deletions(&self) -> bool {
        self.delete_window.0 <= self.deleting
    }

    pub(crate) fn failures(&self, target: &Target) -> Option<&Failures> {
        self.failures.get(target)
    }

    /// A request about a target has failed.
    pub(crate) fn failed(&mut self, target: Target, failure: &Failure, now: i64) {
        let unanswered = failure.kind == FailureKind::Unclear;
        let failures = self.failures.entry(target.clone()).or_default();
        // Of several requests about revisions that were under way at once, the first counts.
        let is_batch = target == Target::Revisions && failures.count > 0;
        if !(is_batch && now < failures.earliest()) {
            failures.count += 1;
            failures.fewest += 1;
            failures.at = now;
        }
        failures.longest = if unanswered { LONGEST.1 } else { LONGEST.0 };
        let first = failures.count == 1;
        let recent = &mut self.recent[target.kind()];
        let terminating = failure.kind == FailureKind::NamespaceTerminating;
        let asked = if terminating {
            60_000
        } else {
            failure.retry_after
        };
        if asked > 0 {
            recent.blocked_until = recent.blocked_until.max(now + asked);
        }
        if first {
            recent.failed += 1;
            if recent.failed > 1 {
                recent.paused_until = now + LONGEST.1;
                match target {
                    Target::Create(_) => self.window.halved(),
                    Target::Delete(_) => self.delete_window.0 = (self.delete_window.0 / 2).max(1),
                    Target::Patch(_) | Target::Revisions | Target::Status => {}
                }
            }
        }
    }

    /// A request about a target has succeeded.
    pub(crate) fn succeeded(&mut self, target: &Target) {
        self.failures.remove(target);
        let recent = &mut self.recent[target.kind()];
        recent.failed = 0;
        recent.paused_until = 0;
        match target {
            Target::Create(_) => self.window.succeeded(),
            Target::Patch(_) => self.patch_window.0 = (self.patch_window.0 + 1).min(BURST),
            Target::Delete(_) => self.delete_window.0 = (self.delete_window.0 + 1).min(BURST),
            Target::Revisions | Target::Status => {}
        }
    }

    /// The object of a target is gone.
    pub(crate) fn forget(&mut self, target: &Target) {
        self.failures.remove(target);
    }

    /// Forgets the failures of nodes that nothing is kept for.
    pub(crate) fn forget_nodes(&mut self, is_kept: impl Fn(&Text) -> bool) {
        self.failed_pods.retain(|node, _| is_kept(node));
        let creating = &self.creating;
        self.failures.retain(|target, _| match target {
            Target::Create(node) | Target::Delete(node) => {
                creating.contains_key(node) || is_kept(node)
            }
            Target::Patch(_) | Target::Revisions | Target::Status => true,
        });
    }

    /// How many milliseconds too early a request about the target would be.
    pub(crate) fn too_early(&self, target: &Target, now: i64) -> Option<i64> {
        let own = self.failures(target).map_or(0, Failures::earliest);
        let all = self.recent[target.kind()].blocked_until;
        Some(own.max(all) - now).filter(|early| *early > 0)
    }

    /// Whether a request about the target is due by now at the latest, if there is a reason for it.
    pub(crate) fn is_due(&self, target: &Target, now: i64) -> bool {
        let recent = &self.recent[target.kind()];
        let own = self.failures(target);
        let own = own.map_or(recent.paused_until, Failures::latest);
        own.max(recent.blocked_until) < now
    }

    /// The creation for a node is settled.
    pub(crate) fn created(&mut self, node: &str, name: &str) {
        if self.creating.get(node).is_some_and(|c| *c.name == *name) {
            self.creating.remove(node);
        }
    }

    /// A pod was seen: if it was asked for, its creation has succeeded.
    pub(crate) fn seen(&mut self, node: &Text, name: &str) {
        // While a request is under way, it may be an earlier pod of the name.
        let creating = self.creating.get(node);
        if creating.is_some_and(|creating| !creating.sent && *creating.name == *name) {
            self.creating.remove(node);
            self.forget(&Target::Create(node.clone()));
        }
    }

    /// The set has another template: creations start slowly again.
    pub(crate) fn new_template(&mut self, data: &Text) {
        self.restart_creations();
        self.failures.remove(&Target::Revisions);
        self.recent[Target::Revisions.kind()] = Recent::default();
        self.hashes.clear();
        self.window = Window {
            data: data.clone(),
            ..Window::default()
        };
    }

    /// A request about revisions has ended: the controller may take it for another revision of the
    /// template, and forget what was refused.
    pub(crate) fn may_restart_creations(&mut self) {
        self.window.least = 1;
        for (target, failures) in &mut self.failures {
            if matches!(target, Target::Create(_)) {
                failures.fewest = 0;
            }
        }
    }

    /// The template has another revision, or none: creations start slowly again, and what was
    /// refused is forgotten.
    pub(crate) fn restart_creations(&mut self) {
        self.failures
            .retain(|target, _| !matches!(target, Target::Create(_)));
        self.recent[0].failed = 0;
        self.recent[0].paused_until = 0;
        self.window.least = 1;
    }

    /// The clock was set back by so much: pauses that have begun move along.
    pub(crate) fn set_clock_back(&mut self, back: i64) {
        for failures in self.failures.values_mut() {
            failures.at -= back;
        }
        for creating in self.creating.values_mut() {
            creating.unclear_until = creating.unclear_until.map(|until| until - back);
        }
        for recent in &mut self.recent {
            recent.paused_until -= back;
            recent.blocked_until -= back;
        }
        for failed in self.failed_pods.values_mut() {
            failed.since -= back;
        }
    }
}

/// A request that was refused is not repeated at once.
pub(crate) fn check_pause(work: &Work, target: &Target, now: i64) -> Result<(), Violation> {
    let early = work.too_early(target, now);
    ensure!(
        early.is_none(),
        "back-off",
        "{target:?} is tried {} ms too early after {} failures",
        early.unwrap_or_default(),
        work.failures(target).map_or(0, |failures| failures.count)
    );
    Ok(())
}
