//! Deletions regardless of the update budget: pods that ended, surplus pods, and pods on wrong
//! nodes.

use pandaemon_types::{Name, Timestamp};

use crate::{
    action::{Action, DeleteReason, Plan, PodRef, Severity},
    back_off::BackOff,
    ids::{NodeId, PodId},
    node_state::DeleteCause,
    planner::Planner,
    pod_state::Deletion,
    set::Set,
};

impl Planner {
    /// Deletes pods that have to go regardless of the update budget.
    pub(super) fn plan_deletions(&mut self, set: &mut Set, now: Timestamp, plan: &mut Plan) {
        while let Some(node) = set.queues.delete.next(&set.deletes, now) {
            for (pod, cause) in self.refresh(set, node, now) {
                if !set.deletes.has_room() {
                    break;
                }
                self.record_delete(set, node, pod, cause, now);
                let reason = cause.reason(|| self.misplaced(set, node));
                self.delete(set, node, pod, reason, now, plan);
            }
            self.refresh(set, node, now);
        }
    }

    /// Records the event about a pod that ended, and extends the back-off of failed pods.
    fn record_delete(
        &self,
        set: &mut Set,
        node: NodeId,
        pod: PodId,
        cause: DeleteCause,
        now: Timestamp,
    ) {
        let Some(pod) = self.pods.get(pod) else {
            return;
        };
        let name = || format!("{}/{}", pod.namespace, pod.name);
        match cause {
            DeleteCause::Failed => {
                extend_back_off(set, node, now);
                let (name, node) = (name(), self.nodes.name(node));
                let message =
                    format!("Found failed daemon pod {name} on node {node}, will try to kill it");
                set.record_event(Severity::Warning, "FailedDaemonPod", message);
            }
            DeleteCause::Succeeded => {
                let (name, node) = (name(), self.nodes.name(node));
                let message = format!(
                    "Found succeeded daemon pod {name} on node {node}, will try to delete it"
                );
                set.record_event(Severity::Normal, "SucceededDaemonPod", message);
            }
            DeleteCause::Misplaced
            | DeleteCause::NoNode
            | DeleteCause::Duplicate
            | DeleteCause::Replaced => {}
        }
    }

    /// Requests the deletion of a pod.
    pub(super) fn delete(
        &mut self,
        set: &mut Set,
        node: NodeId,
        pod: PodId,
        reason: DeleteReason,
        now: Timestamp,
        plan: &mut Plan,
    ) {
        let Some(pod) = self.pods.get_mut(pod).filter(|pod| !pod.leaving(now)) else {
            return;
        };
        pod.deletion = Deletion::Requested;
        set.deletes.begin();
        plan.actions.push(Action::DeletePod {
            set: set.view.key.clone(),
            owner: set.view.uid.clone(),
            node: self.nodes.name(node),
            pod: PodRef {
                name: Name::clone(&pod.name),
                uid: pod.uid.clone(),
            },
            reason,
        });
    }
}

/// Extends the back-off of a node after a failed pod.
fn extend_back_off(set: &mut Set, node: NodeId, now: Timestamp) {
    let generation = set.view.generation;
    if let Some(state) = set.nodes.get_mut(node) {
        let last = state.back_off.as_deref().copied();
        state.back_off = Some(Box::new(BackOff::next(last, generation, now)));
    }
}
