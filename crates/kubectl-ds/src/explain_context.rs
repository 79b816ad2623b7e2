//! The verdict on one node.

use std::collections::BTreeMap;

use pandaemon_placement::{DaemonFit, PodNeeds, daemon_fit};
use pandaemon_planner::{BlockedBy, DeleteReason, NodeStatus};
use pandaemon_types::{Name, Phase, PodView, Timestamp};

use crate::{
    event_failures::EventFailures,
    node_placement::{placement_reasons, shortages, shown},
    plan_preview::PlanPreview,
    pod_health::{Health, ago, plural, pod_health, restarts},
    reason::{Kind, Reason, join_limited},
    report::{NodeReport, PodReport, Verdict},
    snapshot::{DaemonPod, Node, Snapshot},
};

/// At most this many of the nodes that use up a budget are named.
const NAMED: usize = 5;

/// Inputs shared by all node explanations.
pub(crate) struct ExplainContext<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) preview: &'a PlanPreview,
    pub(crate) needs: &'a PodNeeds,
    pub(crate) failures: &'a EventFailures,
    /// Revision numbers by hash.
    pub(crate) numbers: &'a BTreeMap<Name, i64>,
    /// Whether this is a dry run of a manifest.
    pub(crate) planned: bool,
}

/// The verdict and reasons of a node, before its pods and remarks are added.
struct Draft {
    verdict: Verdict,
    reasons: Vec<Reason>,
    needs_node_pods: bool,
}

impl Draft {
    const fn new(verdict: Verdict, reasons: Vec<Reason>) -> Self {
        Self {
            verdict,
            reasons,
            needs_node_pods: false,
        }
    }
}

impl ExplainContext<'_> {
    /// Explains a node that exists.
    pub(crate) fn explain_node(&self, node: &Node, pods: &[&DaemonPod]) -> NodeReport {
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
            needs_node_pods: draft.needs_node_pods,
        }
    }

    /// Explains pods of a node that does not exist.
    pub(crate) fn explain_missing_node(&self, node: &Name, pods: &[&DaemonPod]) -> NodeReport {
        let text = "the node does not exist; its pods are removed by the pod garbage collector";
        NodeReport {
            name: Name::clone(node),
            verdict: Verdict::MustNotRun,
            settled: false,
            pods: pods.iter().map(|pod| self.pod(pod)).collect(),
            reasons: vec![Reason::new(Kind::NoNode, text)],
            remarks: Vec::new(),
            needs_node_pods: false,
        }
    }

    /// The sort key of a node's pods: those that stay, have not ended and are newest come first.
    fn rank(&self, pod: &DaemonPod) -> u8 {
        let view = &pod.view;
        u8::from(view.deleting) * 4
            + u8::from(view.phase.is_terminal()) * 2
            + u8::from(!self.preview.is_newest(view))
    }

    fn pod(&self, pod: &DaemonPod) -> PodReport {
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
            newest: self.preview.is_newest(view),
            created: view.created,
            restarts: restarts(pod),
        }
    }

    fn is_available(&self, pod: &PodView) -> bool {
        let wait = self.preview.view.min_ready_seconds;
        let long_enough = |since: Timestamp| since.plus_seconds(wait) < self.snapshot.now;
        pod.ready && !pod.deleting && (wait == 0 || pod.ready_since.is_some_and(long_enough))
    }

    fn misplaced(&self, node: &Node, pods: &[&DaemonPod]) -> Draft {
        let mut reasons = placement_reasons(self.needs, &node.view);
        for pod in pods {
            reasons.push(if pod.view.deleting {
                self.terminating(pod)
            } else {
                let text = format!("pod {} is here and is to be deleted", pod.view.name);
                Reason::new(Kind::Evicted, text).with_group_key("its pod is to be deleted")
            });
        }
        Draft::new(Verdict::MustNotRun, reasons)
    }

    fn kept(&self, node: &Node, pod: &DaemonPod) -> Draft {
        let (health, mut reasons) = pod_health(pod, self.snapshot.now);
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

    fn absent(&self, node: &Node, leaving: Option<&DaemonPod>) -> Draft {
        if let Some(pod) = leaving {
            let mut reason = self.terminating(pod);
            reason.message += "; a new one comes after it";
            return Draft::new(Verdict::WillRun, vec![reason]);
        }
        if let Some(draft) = self.idle() {
            return draft;
        }
        let mut draft = Draft::new(Verdict::CannotRunYet, self.shortages(node, None));
        draft.needs_node_pods = true;
        if let Some(failed) = &self.failures.create {
            let at = ago(failed.at, self.snapshot.now);
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

    /// Why the controller creates no pods at all.
    fn idle(&self) -> Option<Draft> {
        if self.preview.view.deleting {
            let reason = Reason::new(Kind::Deleting, "the DaemonSet is being deleted");
            return Some(Draft::new(Verdict::MustNotRun, vec![reason]));
        }
        self.preview.view.selects_all().then(|| {
            let text = "the selector selects all pods, so the controller does nothing";
            let reason = Reason::new(Kind::NotCreated, text);
            Draft::new(Verdict::CannotRunYet, vec![reason])
        })
    }

    fn present(&self, node: &Node, pod: &DaemonPod, pods: &[&DaemonPod]) -> Draft {
        let (health, reasons) = pod_health(pod, self.snapshot.now);
        let mut draft = Draft::new(verdict(health), reasons);
        if pod.view.node.is_none() && !pod.view.phase.is_terminal() {
            draft.needs_node_pods = true;
            // These reasons are about this node; the scheduler's message sums up all nodes.
            draft.reasons.splice(0..0, self.shortages(node, Some(pod)));
        }
        if pod.view.phase.is_terminal() {
            draft.reasons.extend(self.back_off(node));
        }
        if health == Health::Runs && pod.view.ready && !self.is_available(&pod.view) {
            draft.reasons.extend(self.not_yet_available(pod));
        }
        draft.reasons.extend(self.outdated(node, pod));
        for other in pods.iter().skip(1) {
            draft.reasons.push(self.extra_pod(other));
        }
        draft
    }

    fn terminating(&self, pod: &DaemonPod) -> Reason {
        let since = pod.deleted_at().map(|at| self.due(at)).unwrap_or_default();
        let text = format!("pod {} is being deleted{since}", pod.view.name);
        Reason::new(Kind::Terminating, text).with_group_key("its pod is being deleted")
    }

    /// Time until a deletion is due: `deletionTimestamp` is the end of the grace period.
    fn due(&self, at: Timestamp) -> String {
        let now = self.snapshot.now;
        if now < at {
            format!(" (at most {} more)", ago(now, at))
        } else {
            format!(" (due {} ago)", ago(at, now))
        }
    }

    /// What a pod of the DaemonSet lacks on the node beside the node's other pods.
    fn shortages(&self, node: &Node, own: Option<&DaemonPod>) -> Vec<Reason> {
        let Some(node_pods) = &self.snapshot.node_pods else {
            return Vec::new();
        };
        let others = node_pods.get(&node.view.name).into_iter().flatten();
        let own = own.map(|pod| &pod.view.uid);
        // Pods of the DaemonSet that were created after its pods were read must not count against it.
        let set = &self.preview.view.uid;
        let is_newer = |pod: &PodView| {
            let owned = pod.owner.as_ref().is_some_and(|owner| owner.uid == *set);
            owned
                && !self
                    .snapshot
                    .pods
                    .iter()
                    .any(|known| known.view.uid == pod.uid)
        };
        let others: Vec<&PodView> = others
            .filter(|pod| Some(&pod.uid) != own && !is_newer(pod))
            .collect();
        shortages(&self.needs.resources, &node.view, &others)
    }

    fn back_off(&self, node: &Node) -> Option<Reason> {
        let (count, until) = self.failures.back_off(&node.view.name)?;
        let pods = plural(count.into(), "pod");
        let text = if self.snapshot.now < until {
            format!("back-off until about {until}: {pods} failed here")
        } else {
            format!("{pods} failed here; the next is due")
        };
        Some(Reason::new(Kind::BackOff, text).with_group_key("back-off after failed pods"))
    }

    fn not_yet_available(&self, pod: &DaemonPod) -> Option<Reason> {
        let wait = self.preview.view.min_ready_seconds;
        let at = pod.view.ready_since?.plus_seconds(wait);
        let text = format!("ready, and counts as available at {at} (minReadySeconds {wait})");
        Some(
            Reason::new(Kind::NotReady, text).with_group_key("ready for less than minReadySeconds"),
        )
    }

    /// The reason about a pod beside the one that counts.
    fn extra_pod(&self, pod: &DaemonPod) -> Reason {
        let name = &pod.view.name;
        if pod.view.deleting {
            return self.terminating(pod);
        }
        let (kind, why) = match self.preview.deletions.get(&pod.view.uid) {
            Some(DeleteReason::Replaced) => (Kind::Replaced, "its replacement is here"),
            Some(DeleteReason::Failed) => (Kind::PodEnded, "it failed"),
            Some(DeleteReason::Succeeded) => (Kind::PodEnded, "it ended"),
            Some(_) => (Kind::Duplicate, "one pod a node is enough"),
            None => {
                let text = format!("pod {name} stays until its replacement is available");
                return Reason::new(Kind::Replacement, text)
                    .with_group_key("the old pod stays until its replacement is available");
            }
        };
        Reason::new(kind, format!("pod {name} is to be deleted: {why}"))
            .with_group_key(format!("a further pod is to be deleted: {why}"))
    }

    fn outdated(&self, node: &Node, pod: &DaemonPod) -> Option<Reason> {
        let rollout = &self.preview.rollout;
        if self.preview.is_newest(&pod.view) || pod.view.phase.is_terminal() {
            return None;
        }
        let old = self.revision_text(pod);
        if let Some(why) = self.preview.deletions.get(&pod.view.uid) {
            let why = match why {
                DeleteReason::OutdatedDown => " (it is down anyway)",
                _ => "",
            };
            let text = format!("{old}, to be replaced next{why}");
            return Some(Reason::new(Kind::Replaced, text));
        }
        let status = self.preview.node_statuses.get(&node.view.name);
        let (kind, why) = match status {
            Some(NodeStatus::Outdated(BlockedBy::OnDelete)) => (
                Kind::OnDelete,
                "replaced when somebody deletes it (OnDelete)".to_owned(),
            ),
            Some(NodeStatus::Outdated(BlockedBy::Surge { .. })) => {
                let limit = rollout.limit_surge;
                (
                    Kind::Surge,
                    waits("surge", &rollout.surging, limit, "with two pods"),
                )
            }
            Some(NodeStatus::Outdated(BlockedBy::Replacement)) => {
                let text = "stays until its replacement is available".to_owned();
                (Kind::Replacement, text)
            }
            Some(NodeStatus::Creates) => (
                Kind::Replaced,
                "its replacement is to be created next".to_owned(),
            ),
            _ if self.preview.view.strategy == pandaemon_planner::Strategy::OnDelete => (
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

    fn revision_text(&self, pod: &DaemonPod) -> String {
        let number = |hash: Option<&str>| hash.and_then(|hash| self.numbers.get(hash)).copied();
        let newest = number(self.preview.rollout.current.as_deref());
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
            let since = since.map(|at| format!(" since {}", ago(at, self.snapshot.now)));
            let why = Some(&*condition.reason).filter(|reason| !reason.is_empty());
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            let text = format!("node is not ready{}{why}", since.unwrap_or_default());
            let group_key = format!("node is not ready{why}");
            remarks.push(Reason::new(Kind::NodeNotReady, text).with_group_key(group_key));
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
    let names = join_limited(using, NAMED);
    format!("waits for the {what}: {count} {state}, {limit} allowed ({names})")
}
