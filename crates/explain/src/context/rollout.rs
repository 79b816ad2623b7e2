//! The reasons about outdated pods and about further pods of a node, from the preview of the plan.

use pandaemon_planner::{BlockedBy, DeleteReason, NodeStatus, Strategy};
use pandaemon_types::Name;

use super::ExplainContext;
use crate::{
    pod_health::pod_health,
    reason::{Reason, ReasonKind},
    snapshot::{DaemonPod, Node},
    text::join_limited,
};

/// At most this many of the nodes that use up a budget are named.
const NAMED: usize = 5;

impl ExplainContext<'_> {
    /// The reasons about the pods beside the one that counts.
    pub(super) fn extra_pods(&self, pods: &[&DaemonPod]) -> Vec<Reason> {
        let extra = pods.iter().skip(1);
        extra.flat_map(|pod| self.extra_pod(pod)).collect()
    }

    fn extra_pod(&self, pod: &DaemonPod) -> Vec<Reason> {
        let name = &pod.view.name;
        if pod.view.deleting {
            return vec![self.terminating(pod)];
        }
        let (kind, why) = match self.preview.deletions.get(&pod.view.uid) {
            Some(DeleteReason::Replaced) => (ReasonKind::Replaced, "its replacement is here"),
            Some(DeleteReason::Failed) => (ReasonKind::PodEnded, "it failed"),
            Some(DeleteReason::Succeeded) => (ReasonKind::PodEnded, "it ended"),
            Some(_) => (ReasonKind::Duplicate, "one pod a node is enough"),
            None => return self.replacement(pod),
        };
        let reason = Reason::new(kind, format!("pod {name} is to be deleted: {why}"));
        vec![reason.with_group_key(format!("a further pod is to be deleted: {why}"))]
    }

    /// A pod that is created before the old one is deleted (`maxSurge`), or the old one itself.
    fn replacement(&self, pod: &DaemonPod) -> Vec<Reason> {
        let name = &pod.view.name;
        if !self.preview.is_newest(&pod.view) {
            let text = format!("pod {name} stays until its replacement is available");
            let reason = Reason::new(ReasonKind::Replacement, text);
            return vec![reason.with_group_key("its old pod stays beside the new one")];
        }
        let (_, mut reasons) = pod_health(pod, self.snapshot.now);
        if pod.view.ready && !self.is_available(&pod.view) {
            reasons.extend(self.not_yet_available(pod));
        }
        for reason in &mut reasons {
            reason.message = format!("its replacement {name}: {}", reason.message);
            reason.group_key = format!("its replacement: {}", reason.group_key);
        }
        reasons
    }

    /// Why an outdated pod is not replaced yet; `None` if it is not outdated.
    pub(super) fn outdated(&self, node: &Node, pod: &DaemonPod) -> Option<Reason> {
        if self.preview.is_newest(&pod.view) || pod.view.phase.is_terminal() {
            return None;
        }
        let old = self.revision_text(pod);
        if let Some(why) = self.preview.deletions.get(&pod.view.uid) {
            let why = match why {
                DeleteReason::OutdatedDown => " (it is down anyway)",
                DeleteReason::Replaced => " (its replacement is here)",
                _ => "",
            };
            let text = format!("{old}, to be replaced next{why}");
            return Some(Reason::new(ReasonKind::Replaced, text));
        }
        let (kind, why) = self.blocked(node);
        Some(Reason::new(kind, format!("{old}, {why}")))
    }

    fn blocked(&self, node: &Node) -> (ReasonKind, String) {
        let rollout = &self.preview.rollout;
        let on_delete = || {
            let text = "replaced once it is deleted (OnDelete)";
            (ReasonKind::OnDelete, text.to_owned())
        };
        match self.preview.node_statuses.get(&node.view.name) {
            Some(NodeStatus::Outdated(BlockedBy::OnDelete)) => on_delete(),
            Some(NodeStatus::Outdated(BlockedBy::Surge { .. })) => {
                let limit = rollout.limit_surge;
                let text = waits("surge", &rollout.surging, limit, "with two pods");
                (ReasonKind::Surge, text)
            }
            Some(NodeStatus::Outdated(BlockedBy::Replacement)) => {
                let text = "stays until its replacement is available".to_owned();
                (ReasonKind::Replacement, text)
            }
            Some(NodeStatus::Creates) => {
                let text = "its replacement is to be created next".to_owned();
                (ReasonKind::Replaced, text)
            }
            _ if self.preview.view.strategy == Strategy::OnDelete => on_delete(),
            _ => {
                let limit = rollout.limit_down;
                let text = waits("update budget", &rollout.down, limit, "unavailable");
                (ReasonKind::Budget, text)
            }
        }
    }

    fn revision_text(&self, pod: &DaemonPod) -> String {
        let newest = self.revision_number(self.preview.rollout.current.as_deref());
        match (self.revision_number(pod.hash()), newest) {
            (Some(old), Some(new)) => format!("outdated (revision {old}, newest {new})"),
            (Some(old), None) => format!("outdated (revision {old})"),
            (None, _) => "outdated".to_owned(),
        }
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
