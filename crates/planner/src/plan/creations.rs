//! Creations: pods on nodes that have none.

use std::sync::Arc;

use pandaemon_types::{Name, Timestamp};

use crate::{
    action::{Action, Plan},
    ids::NodeId,
    node_state::Creating,
    planner::Planner,
    set::{Current, Set},
};

impl Planner {
    /// Creates missing pods, and repeats creations that got no answer.
    pub(super) fn plan_creations(&mut self, set: &mut Set, now: Timestamp, plan: &mut Plan) {
        while set.current.is_some()
            && let Some(node) = set.queues.create.next(&set.creates, now)
        {
            self.create(set, node, now, plan);
        }
    }

    /// Requests a pod on a node: a new one, or again the one whose creation got no answer.
    pub(super) fn create(&mut self, set: &mut Set, node: NodeId, now: Timestamp, plan: &mut Plan) {
        let Some(current) = set.current.clone() else {
            return;
        };
        let is_new = set
            .nodes
            .get(node)
            .is_some_and(|state| state.creating.is_none());
        if is_new {
            let creating = self.new_creation(set, node, &current);
            if let Some(state) = set.nodes.get_mut(node) {
                state.creating = Some(Box::new(creating));
            }
        }
        let state = set.nodes.get_mut(node);
        let Some(creating) = state.and_then(|state| state.creating.as_mut()) else {
            return;
        };
        creating.sent = true;
        let (name, bind) = (Name::clone(&creating.name), creating.reserved.is_some());
        set.creates.begin();
        self.refresh(set, node, now);
        plan.actions.push(Action::CreatePod {
            set: set.view.key.clone(),
            uid: set.view.uid.clone(),
            node: self.nodes.name(node),
            name,
            bind,
            template: current.template,
        });
    }

    /// Chooses the name of a new pod, and counts its resources on the node if it is bound at
    /// creation.
    fn new_creation(&mut self, set: &Set, node: NodeId, current: &Current) -> Creating {
        let (name, attempt) = self.free_name(set, node, current);
        let bind = self.options.bind && self.has_room(set, node);
        if let Some(usage) = self.nodes.usage_mut(node).filter(|_| bind) {
            usage.add(&set.needs.resources);
        }
        Creating {
            name,
            attempt,
            sent: false,
            unclear_until: None,
            reserved: bind.then(|| Arc::clone(&set.needs.resources)),
        }
    }

    /// The first pod name of a set, node and revision that no known pod on the node has, with its
    /// attempt number. Two leaders that know the same pods choose the same name.
    fn free_name(&self, set: &Set, node: NodeId, current: &Current) -> (Name, u32) {
        let mut attempt = set.next_attempt(node);
        let place = self.nodes.name(node);
        let state = set.nodes.get(node);
        let pods = state.map(|state| self.pods_of(state)).unwrap_or_default();
        loop {
            let name = current.pod_name(&set.uid, &place, attempt);
            if pods.iter().all(|(_, pod)| *pod.name != *name) {
                return (name.into(), attempt);
            }
            attempt = attempt.wrapping_add(1);
        }
    }

    /// Whether one more pod of the set can start on the node now.
    fn has_room(&self, set: &Set, node: NodeId) -> bool {
        let (view, usage) = (self.nodes.node(node), self.nodes.usage(node));
        view.zip(usage)
            .is_some_and(|(view, usage)| usage.has_room(view, &set.needs.resources))
    }
}
