//! The explanation of one node: its verdict, and the reasons for it.

mod rollout;
mod sentences;

use std::collections::{BTreeMap, BTreeSet};

use pandaemon_placement::{DaemonFit, PodNeeds, daemon_fit, mismatches, shortages};
use pandaemon_planner::{is_available, pod_order};
use pandaemon_types::{Name, Phase, PodView, Uid};

use crate::{
    event_failures::EventFailures,
    plan_preview::PlanPreview,
    pod_health::{Health, pod_health, restarts},
    reason::{Reason, ReasonKind},
    report::{NodeReport, PodReport, Verdict},
    snapshot::{DaemonPod, Node, Snapshot},
    text::ago,
};

/// Inputs shared by all node explanations.
pub(crate) struct ExplainContext<'a> {
    snapshot: &'a Snapshot,
    preview: &'a PlanPreview,
    needs: PodNeeds,
    failures: EventFailures,
    /// Revision numbers by hash.
    numbers: BTreeMap<Name, i64>,
    /// The DaemonSet's pods that the snapshot holds.
    known_pods: BTreeSet<&'a Uid>,
    /// Whether this is a dry run of a manifest.
    dry_run: bool,
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

    fn of_pod(health: Health, reasons: Vec<Reason>) -> Self {
        let verdict = match health {
            Health::Runs => Verdict::Runs,
            Health::Starts => Verdict::WillRun,
            Health::Stuck => Verdict::CannotRunYet,
        };
        Self::new(verdict, reasons)
    }
}

impl<'a> ExplainContext<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, preview: &'a PlanPreview, dry_run: bool) -> Self {
        let revisions = snapshot.revisions_of(&preview.view);
        let numbers = revisions.map(|revision| (revision.view.hash(), revision.view.revision));
        Self {
            snapshot,
            preview,
            needs: snapshot.needs(),
            failures: EventFailures::of(&snapshot.events, snapshot.now),
            numbers: numbers.collect(),
            known_pods: snapshot.pods.iter().map(|pod| &pod.view.uid).collect(),
            dry_run,
        }
    }

    /// The number of the revision with this hash, if the revision exists.
    pub(crate) fn revision_number(&self, hash: Option<&str>) -> Option<i64> {
        hash.and_then(|hash| self.numbers.get(hash)).copied()
    }

    /// Explains a node that exists.
    pub(crate) fn explain_node(&self, node: &Node, pods: &[&DaemonPod]) -> NodeReport {
        let mut pods = pods.to_vec();
        pods.sort_by(|a, b| pod_order(&a.view).cmp(&pod_order(&b.view)));
        let fit = daemon_fit(&self.needs, &node.view);
        let live = pods.first().copied().filter(|pod| !pod.view.deleting);
        let draft = match (&fit, live) {
            (DaemonFit::No(_), _) | (DaemonFit::Keep(_), None) => self.misplaced(node, &pods),
            (DaemonFit::Keep(_), Some(pod)) => self.kept(node, pod, &pods),
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
            reasons: vec![Reason::new(ReasonKind::NoNode, text)],
            remarks: Vec::new(),
            needs_node_pods: false,
        }
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
            revision: self.revision_number(pod.hash()),
            newest: self.preview.is_newest(view),
            created: view.created,
            restarts: restarts(pod),
        }
    }

    fn is_available(&self, pod: &PodView) -> bool {
        is_available(pod, self.preview.view.min_ready_seconds, self.snapshot.now)
    }

    fn misplaced(&self, node: &Node, pods: &[&DaemonPod]) -> Draft {
        let mut reasons = self.mismatches(node);
        for pod in pods {
            reasons.push(if pod.view.deleting {
                self.terminating(pod)
            } else {
                let text = format!("pod {} is here and is to be deleted", pod.view.name);
                Reason::new(ReasonKind::Evicted, text).with_group_key("its pod is to be deleted")
            });
        }
        Draft::new(Verdict::MustNotRun, reasons)
    }

    /// Why the DaemonSet should not run on the node.
    fn mismatches(&self, node: &Node) -> Vec<Reason> {
        let reasons = mismatches(&self.needs, &node.view);
        let reason = |reason| Reason::from_placement(reason, &self.needs);
        reasons.iter().map(reason).collect()
    }

    fn kept(&self, node: &Node, pod: &DaemonPod, pods: &[&DaemonPod]) -> Draft {
        let (health, mut reasons) = pod_health(pod, self.snapshot.now);
        let mismatches = self.mismatches(node);
        let texts: Vec<&str> = mismatches.iter().map(|r| &*r.message).collect();
        let text = format!(
            "{}: no new pod is created here, but the one that runs may stay",
            texts.join(", ")
        );
        reasons.push(Reason::new(ReasonKind::Keeps, text));
        reasons.extend(self.extra_pods(pods));
        Draft::of_pod(health, reasons)
    }

    fn absent(&self, node: &Node, leaving: Option<&DaemonPod>) -> Draft {
        if let Some(pod) = leaving {
            let mut reason = self.terminating(pod);
            reason.message += "; a new one is created after it";
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
            draft
                .reasons
                .push(Reason::new(ReasonKind::FailedCreate, text));
        }
        if draft.reasons.is_empty() {
            let text = if self.dry_run {
                "a pod would be created"
            } else {
                "the controller has not created it yet"
            };
            draft
                .reasons
                .push(Reason::new(ReasonKind::NotCreated, text));
            draft.verdict = Verdict::WillRun;
        }
        draft
    }

    /// Why the controller creates no pods at all.
    fn idle(&self) -> Option<Draft> {
        if self.preview.view.deleting {
            let reason = Reason::new(ReasonKind::Deleting, "the DaemonSet is being deleted");
            return Some(Draft::new(Verdict::MustNotRun, vec![reason]));
        }
        self.preview.view.selects_all().then(|| {
            let text = "the selector selects all pods, so the controller does nothing";
            let reason = Reason::new(ReasonKind::NotCreated, text);
            Draft::new(Verdict::CannotRunYet, vec![reason])
        })
    }

    fn present(&self, node: &Node, pod: &DaemonPod, pods: &[&DaemonPod]) -> Draft {
        let (health, reasons) = pod_health(pod, self.snapshot.now);
        let mut draft = Draft::of_pod(health, reasons);
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
        draft.reasons.extend(self.extra_pods(pods));
        draft
    }

    /// What a pod of the DaemonSet lacks on the node beside the node's other pods.
    fn shortages(&self, node: &Node, own: Option<&DaemonPod>) -> Vec<Reason> {
        let Some(node_pods) = &self.snapshot.node_pods else {
            return Vec::new();
        };
        let others = node_pods.get(&node.view.name).into_iter().flatten();
        let own = own.map(|pod| &pod.view.uid);
        // Pods of the DaemonSet that were created after its pods were read must not count against
        // it.
        let set = &self.preview.view.uid;
        let is_newer = |pod: &PodView| {
            let owned = pod.owner.as_ref().is_some_and(|owner| owner.uid == *set);
            owned && !self.known_pods.contains(&pod.uid)
        };
        let others: Vec<&PodView> = others
            .filter(|pod| Some(&pod.uid) != own && !is_newer(pod))
            .collect();
        let reasons = shortages(&node.view, &self.needs.resources, &others);
        let reason = |reason| Reason::from_placement(reason, &self.needs);
        reasons.iter().map(reason).collect()
    }
}
