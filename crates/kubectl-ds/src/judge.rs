//! The verdict on one node.

use std::collections::BTreeMap;

use pandaemon_placement::{DaemonFit, PodNeeds, daemon_fit};
use pandaemon_planner::{Hold, Stance, Why};
use pandaemon_types::{Name, Phase, PodView, Timestamp};

use crate::{
    ailment::{Health, ago, diagnose, plural, restarts},
    failures::Failures,
    misfit::{misfits, shortages, shown},
    reason::{Kind, Reason, listed},
    report::{NodeReport, PodReport, Verdict},
    survey::Survey,
    world::{Daemon, Node, World},
};

/// Nodes that use up a budget and are named.
const NAMED: usize = 5;

/// What all nodes have in common.
pub(crate) struct Bench<'a> {
    pub(crate) world: &'a World,
    pub(crate) survey: &'a Survey,
    pub(crate) needs: &'a PodNeeds,
    pub(crate) failures: &'a Failures,
    /// Numbers of revisions by hash.
    pub(crate) numbers: &'a BTreeMap<Name, i64>,
    /// Whether this is a dry run.
    pub(crate) planned: bool,
}

/// A verdict in the making.
struct Draft {
    verdict: Verdict,
    reasons: Vec<Reason>,
    asks_neighbours: bool,
}

impl Draft {
    const fn new(verdict: Verdict, reasons: Vec<Reason>) -> Self {
        Self {
            verdict,
            reasons,
            asks_neighbours: false,
        }
    }
}

impl Bench<'_> {
    /// Judges a node that exists.
    pub(crate) fn judge(&self, node: &Node, pods: &[&Daemon]) -> NodeReport {
        let mut pods = pods.to_vec();
        pods.sort_by_key(|pod| {
            (
                self.rank(pod),
                pod.view.created,
                Name::clone(&pod.view.name),
            )
        });
        let fit = daemon_fit(self.needs, &node.view);
        let live = pods.first().copied().filter(|pod| !pod.view.deleting);
        let draft = match (&fit, live) {
            (DaemonFit::No(_), _) => self.misplaced(node, &pods),
            (DaemonFit::Keep(_), None) => self.misplaced(node, &pods),
            (DaemonFit::Keep(_), Some(pod)) => self.kept(node, pod),
            (DaemonFit::Run, Some(pod)) => self.present(node, pod, &pods),
            (DaemonFit::Run, None) => self.absent(node, pods.first().copied()),
        };
        let kept = matches!(fit, DaemonFit::Keep(_));
        let pods: Vec<PodReport> = pods.iter().map(|pod| self.pod(pod)).collect();
        let settled = match draft.verdict {
            Verdict::Runs => {
                pods.len() == 1 && pods.iter().all(|p| p.available && (p.newest || kept))
            }
            Verdict::MustNotRun => pods.is_empty(),
            Verdict::WillRun | Verdict::CannotRunYet => false,
        };
        NodeReport {
            name: Name::clone(&node.view.name),
            verdict: draft.verdict,
            settled,
            pods,
            reasons: draft.reasons,
            remarks: self.remarks(node),
            asks_neighbours: draft.asks_neighbours,
        }
    }

    /// Judges pods of a node that does not exist.
    pub(crate) fn judge_gone(&self, node: &Name, pods: &[&Daemon]) -> NodeReport {
        let text = "the node does not exist; its pods are removed by the pod garbage collector";
        NodeReport {
            name: Name::clone(node),
            verdict: Verdict::MustNotRun,
            settled: false,
            pods: pods.iter().map(|pod| self.pod(pod)).collect(),
            reasons: vec![Reason::new(Kind::NoNode, text)],
            remarks: Vec::new(),
            asks_neighbours: false,
        }
    }

    /// Which pod of a node counts: one that stays, has not ended, and is new.
    fn rank(&self, pod: &Daemon) -> u8 {
        let view = &pod.view;
        u8::from(view.deleting) * 4
            + u8::from(view.phase.is_terminal()) * 2
            + u8::from(!self.survey.is_newest(view))
    }

    fn pod(&self, pod: &Daemon) -> PodReport {
        let view = &pod.view;
        PodReport {
            name: Name::clone(&view.name),
            uid: view.uid.clone(),
            phase: match view.phase {
                _ if view.deleting => "Terminating",
                Phase::Pending => "Pending",
                Phase::Running => "Running",
                Phase::Succeeded => "Succeeded",
                Phase::Failed => "Failed",
                Phase::Unknown => "Unknown",
            },
            scheduled: view.node.is_some(),
            ready: view.ready,
            available: self.is_available(view),
            hash: pod.hash().map(str::to_owned),
            revision: pod.hash().and_then(|hash| self.numbers.get(hash)).copied(),
            newest: self.survey.is_newest(view),
            created: view.created,
            restarts: restarts(pod),
        }
    }

    fn is_available(&self, pod: &PodView) -> bool {
        let wait = self.survey.view.min_ready_seconds;
        let long_enough = |since: Timestamp| since.plus_seconds(wait) < self.world.now;
        pod.ready && !pod.deleting && (wait == 0 || pod.ready_since.is_some_and(long_enough))
    }

    // === the cases ===

    fn misplaced(&self, node: &Node, pods: &[&Daemon]) -> Draft {
        let mut reasons = misfits(self.needs, &node.view);
        for pod in pods {
            reasons.push(if pod.view.deleting {
                self.terminating(pod)
            } else {
                let text = format!("pod {} is here and is to be deleted", pod.view.name);
                Reason::new(Kind::Evicted, text).with_gist("its pod is to be deleted")
            });
        }
        Draft::new(Verdict::MustNotRun, reasons)
    }

    fn kept(&self, node: &Node, pod: &Daemon) -> Draft {
        let (health, mut reasons) = diagnose(pod, self.world.now);
        let taints = node.view.taints.iter();
        let taints = taints.filter(|taint| !self.needs.tolerations.iter().any(|t| t.covers(taint)));
        let taints: Vec<String> = taints.map(shown).collect();
        let text = format!(
            "taint {} keeps new pods away, but lets the one that is here stay",
            taints.join(" and ")
        );
        reasons.push(Reason::new(Kind::Keeps, text));
        Draft::new(verdict(health), reasons)
    }

    fn absent(&self, node: &Node, leaving: Option<&Daemon>) -> Draft {
        if let Some(pod) = leaving {
            let mut reason = self.terminating(pod);
            reason.message += "; a new one comes after it";
            return Draft::new(Verdict::WillRun, vec![reason]);
        }
        if let Some(draft) = self.idle() {
            return draft;
        }
        let mut draft = Draft::new(Verdict::CannotRunYet, self.shortages(node, None));
        draft.asks_neighbours = true;
        if let Some(failed) = &self.failures.create {
            let at = ago(failed.at, self.world.now);
            let text = format!("creating a pod failed {at} ago: {}", failed.message);
            draft.reasons.push(Reason::new(Kind::FailedCreate, text));
        }
        if draft.reasons.is_empty() {
            let text = if self.planned {
                "a pod would be created"
            } else {
                "the controller has not created it yet"
            };
            draft.reasons.push(Reason::new(Kind::NotCreated, text));
            draft.verdict = Verdict::WillRun;
        }
        draft
    }

    /// Why the controller makes no pods at all.
    fn idle(&self) -> Option<Draft> {
        if self.survey.view.deleting {
            let reason = Reason::new(Kind::Deleting, "the DaemonSet is being deleted");
            return Some(Draft::new(Verdict::MustNotRun, vec![reason]));
        }
        self.survey.view.selects_all().then(|| {
            let text = "the selector selects all pods, so the controller does nothing";
            let reason = Reason::new(Kind::NotCreated, text);
            Draft::new(Verdict::CannotRunYet, vec![reason])
        })
    }

    fn present(&self, node: &Node, pod: &Daemon, pods: &[&Daemon]) -> Draft {
        let (health, reasons) = diagnose(pod, self.world.now);
        let mut draft = Draft::new(verdict(health), reasons);
        if pod.view.node.is_none() && !pod.view.phase.is_terminal() {
            draft.asks_neighbours = true;
            // What is found here says more than the scheduler, which speaks of all nodes at once.
            draft.reasons.splice(0..0, self.shortages(node, Some(pod)));
        }
        if pod.view.phase.is_terminal() {
            draft.reasons.extend(self.back_off(node));
        }
        if health == Health::Runs && pod.view.ready && !self.is_available(&pod.view) {
            draft.reasons.extend(self.almost(pod));
        }
        draft.reasons.extend(self.outdated(node, pod));
        for other in pods.iter().skip(1) {
            draft.reasons.push(self.beside(other));
        }
        draft
    }

    // === sentences ===

    fn terminating(&self, pod: &Daemon) -> Reason {
        let since = pod.deleted_at().map(|at| self.due(at)).unwrap_or_default();
        let text = format!("pod {} is being deleted{since}", pod.view.name);
        Reason::new(Kind::Terminating, text).with_gist("its pod is being deleted")
    }

    /// When a deletion is due: its time stamp is that of the end of the grace period.
    fn due(&self, at: Timestamp) -> String {
        let now = self.world.now;
        if now < at {
            format!(" (at most {} more)", ago(now, at))
        } else {
            format!(" (due {} ago)", ago(at, now))
        }
    }

    /// What a pod lacks on the node, besides the pod itself.
    fn shortages(&self, node: &Node, own: Option<&Daemon>) -> Vec<Reason> {
        let Some(neighbours) = &self.world.neighbours else {
            return Vec::new();
        };
        let others = neighbours.get(&node.view.name).into_iter().flatten();
        let own = own.map(|pod| &pod.view.uid);
        // Own pods that came after the DaemonSet's were read are the very ones that are missing here.
        let set = &self.survey.view.uid;
        let is_news = |pod: &PodView| {
            let owned = pod.owner.as_ref().is_some_and(|owner| owner.uid == *set);
            owned
                && !self
                    .world
                    .pods
                    .iter()
                    .any(|known| known.view.uid == pod.uid)
        };
        let others: Vec<&PodView> = others
            .filter(|pod| Some(&pod.uid) != own && !is_news(pod))
            .collect();
        shortages(&self.needs.resources, &node.view, &others)
    }

    fn back_off(&self, node: &Node) -> Option<Reason> {
        let (count, until) = self.failures.back_off(&node.view.name)?;
        let pods = plural(count.into(), "pod");
        let text = if self.world.now < until {
            format!("back-off until about {until}: {pods} failed here")
        } else {
            format!("{pods} failed here; the next is due")
        };
        Some(Reason::new(Kind::BackOff, text).with_gist("back-off after failed pods"))
    }

    fn almost(&self, pod: &Daemon) -> Option<Reason> {
        let wait = self.survey.view.min_ready_seconds;
        let at = pod.view.ready_since?.plus_seconds(wait);
        let text = format!("ready, and counts as available at {at} (minReadySeconds {wait})");
        Some(Reason::new(Kind::NotReady, text).with_gist("ready for less than minReadySeconds"))
    }

    /// A further pod of the node.
    fn beside(&self, pod: &Daemon) -> Reason {
        let name = &pod.view.name;
        if pod.view.deleting {
            return self.terminating(pod);
        }
        let (kind, why) = match self.survey.ends.get(&pod.view.uid) {
            Some(Why::Replaced) => (Kind::Replaced, "its replacement is here"),
            Some(Why::Failed) => (Kind::PodEnded, "it failed"),
            Some(Why::Succeeded) => (Kind::PodEnded, "it ended"),
            Some(_) => (Kind::Duplicate, "one pod a node is enough"),
            None => {
                let text = format!("pod {name} stays until its replacement is available");
                return Reason::new(Kind::Replacement, text)
                    .with_gist("the old pod stays until its replacement is available");
            }
        };
        Reason::new(kind, format!("pod {name} is to be deleted: {why}"))
            .with_gist(format!("a further pod is to be deleted: {why}"))
    }

    fn outdated(&self, node: &Node, pod: &Daemon) -> Option<Reason> {
        let rollout = &self.survey.rollout;
        if self.survey.is_newest(&pod.view) || pod.view.phase.is_terminal() {
            return None;
        }
        let old = self.name_revision(pod);
        if let Some(why) = self.survey.ends.get(&pod.view.uid) {
            let why = match why {
                Why::OutdatedDown => " (it is down anyway)",
                _ => "",
            };
            let text = format!("{old}, to be replaced next{why}");
            return Some(Reason::new(Kind::Replaced, text));
        }
        let stance = self.survey.stances.get(&node.view.name);
        let (kind, why) = match stance {
            Some(Stance::Holds(Hold::OnDelete)) => (
                Kind::OnDelete,
                "replaced when somebody deletes it (OnDelete)".to_owned(),
            ),
            Some(Stance::Holds(Hold::Surge { .. })) => {
                let limit = rollout.limit_surge;
                (
                    Kind::Surge,
                    waits("surge", &rollout.surging, limit, "with two pods"),
                )
            }
            Some(Stance::Holds(Hold::Replacement)) => {
                let text = "stays until its replacement is available".to_owned();
                (Kind::Replacement, text)
            }
            Some(Stance::Creates) => (
                Kind::Replaced,
                "its replacement is to be created next".to_owned(),
            ),
            _ if self.survey.view.strategy == pandaemon_planner::Strategy::OnDelete => (
                Kind::OnDelete,
                "replaced when somebody deletes it (OnDelete)".to_owned(),
            ),
            _ => {
                let limit = rollout.limit_down;
                (
                    Kind::Budget,
                    waits("update budget", &rollout.down, limit, "unavailable"),
                )
            }
        };
        Some(Reason::new(kind, format!("{old}, {why}")))
    }

    fn name_revision(&self, pod: &Daemon) -> String {
        let number = |hash: Option<&str>| hash.and_then(|hash| self.numbers.get(hash)).copied();
        let newest = number(self.survey.rollout.current.as_deref());
        match (number(pod.hash()), newest) {
            (Some(old), Some(new)) => format!("outdated (revision {old}, newest {new})"),
            (Some(old), None) => format!("outdated (revision {old})"),
            (None, _) => "outdated".to_owned(),
        }
    }

    fn remarks(&self, node: &Node) -> Vec<Reason> {
        let mut remarks = Vec::new();
        if let Some(condition) = &node.not_ready {
            let since = condition.last_transition_time;
            let since = since.map(|at| format!(" since {}", ago(at, self.world.now)));
            let why = Some(&*condition.reason).filter(|reason| !reason.is_empty());
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            let text = format!("node is not ready{}{why}", since.unwrap_or_default());
            let gist = format!("node is not ready{why}");
            remarks.push(Reason::new(Kind::NodeNotReady, text).with_gist(gist));
        }
        if node.view.unschedulable {
            let text = "node is cordoned, which daemons ignore";
            remarks.push(Reason::new(Kind::Cordoned, text));
        }
        remarks
    }
}

const fn verdict(health: Health) -> Verdict {
    match health {
        Health::Runs => Verdict::Runs,
        Health::Starts => Verdict::WillRun,
        Health::Stuck => Verdict::CannotRunYet,
    }
}

fn waits(what: &str, using: &[Name], limit: usize, state: &str) -> String {
    let count = using.len();
    if count < limit {
        return format!("waits for its turn: {count} {state}, {limit} allowed");
    }
    let names = listed(using, NAMED);
    format!("waits for the {what}: {count} {state}, {limit} allowed ({names})")
}
