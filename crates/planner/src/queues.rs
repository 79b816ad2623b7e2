//! The nodes of a set that wait for a request.

use pandaemon_types::{Name, Timestamp};

use crate::{
    candidates::CandidateQueue,
    ids::NodeId,
    node_state::{Due, UpdateStep},
    pacing::Pacer,
};

/// The nodes of a set by the request that they wait for.
#[derive(Debug, Default)]
pub(crate) struct NodeQueues {
    /// Nodes without a pod, and nodes with a creation that got no answer.
    pub(crate) create: CandidateQueue<NodeId>,
    /// Nodes with pods to delete regardless of the update budget.
    pub(crate) delete: CandidateQueue<NodeId>,
    pub(crate) replace: CandidateQueue<NodeId>,
    pub(crate) candidates: CandidateQueue<NodeId>,
    pub(crate) surge_now: CandidateQueue<NodeId>,
    pub(crate) surge_candidates: CandidateQueue<NodeId>,
    pub(crate) retire: CandidateQueue<NodeId>,
    pub(crate) retire_misplaced: CandidateQueue<NodeId>,
}

/// The ends of a node's back-offs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BackOffEnds {
    pub(crate) create: Option<Timestamp>,
    pub(crate) delete: Option<Timestamp>,
}

impl NodeQueues {
    /// Moves a node between the queues after what is due on it changed from `old` to `new`.
    pub(crate) fn update(
        &mut self,
        node: NodeId,
        name: impl Fn() -> Name,
        (old, new): (Due, Due),
        ends: BackOffEnds,
    ) {
        let create = (old.create, new.create);
        self.create.update(node, &name, create, ends.create);
        let delete = (old.delete, new.delete);
        self.delete.update(node, &name, delete, ends.delete);
        let is_same = std::mem::discriminant(&old.step) == std::mem::discriminant(&new.step);
        if !is_same && let Some(queue) = self.of(old.step) {
            queue.update(node, &name, (true, false), None);
        }
        let end = match new.step {
            UpdateStep::SurgeNow | UpdateStep::SurgeCandidate => ends.create,
            _ => ends.delete,
        };
        if let Some(queue) = self.of(new.step) {
            queue.update(node, &name, (is_same, true), end);
        }
    }

    const fn of(&mut self, step: UpdateStep) -> Option<&mut CandidateQueue<NodeId>> {
        Some(match step {
            UpdateStep::None | UpdateStep::Surging => return None,
            UpdateStep::Replace(_) => &mut self.replace,
            UpdateStep::Candidate(_) => &mut self.candidates,
            UpdateStep::SurgeNow => &mut self.surge_now,
            UpdateStep::SurgeCandidate => &mut self.surge_candidates,
            UpdateStep::Retire(_) => &mut self.retire,
            UpdateStep::RetireMisplaced(_) => &mut self.retire_misplaced,
        })
    }

    /// When the next creation or deletion is due without an event.
    pub(crate) fn wake_at(
        &self,
        creates: &Pacer<NodeId>,
        deletes: &Pacer<NodeId>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let created = [&self.create, &self.surge_now, &self.surge_candidates];
        let deleted = [
            &self.delete,
            &self.replace,
            &self.candidates,
            &self.retire,
            &self.retire_misplaced,
        ];
        let created = created.into_iter().map(|queue| queue.wake_at(creates, now));
        let deleted = deleted.into_iter().map(|queue| queue.wake_at(deletes, now));
        created.chain(deleted).flatten().min()
    }
}
