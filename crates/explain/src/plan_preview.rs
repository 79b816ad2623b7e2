//! A preview of the planner's plan: the rollout's budget and order, and which pods would be
//! deleted.
//!
//! No action is executed. The only action that gets a reply is the creation of a revision: without
//! a revision the planner plans nothing else.

use std::collections::BTreeMap;

use pandaemon_planner::{
    Action, DaemonSetView, DeleteReason, Event, NodeStatus, Options, Planner, Reply, RevisionView,
    Rollout,
};
use pandaemon_types::{Name, Owner, PodView, Timestamp, Uid};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::snapshot::Snapshot;

/// At most this many plans: one that creates a revision, and one that uses it.
pub(crate) const ROUNDS: usize = 3;

/// What the planner would do with a snapshot.
#[derive(Debug)]
pub(crate) struct PlanPreview {
    pub(crate) view: DaemonSetView,
    pub(crate) rollout: Rollout,
    pub(crate) node_statuses: BTreeMap<Name, NodeStatus>,
    /// Pods that would be deleted now.
    pub(crate) deletions: BTreeMap<Uid, DeleteReason>,
    /// The nodes whose outdated pods would be replaced, in order.
    pub(crate) order: Vec<Name>,
}

impl PlanPreview {
    /// Feeds a planner with the snapshot and plans.
    ///
    /// # Errors
    /// When the object is no DaemonSet.
    pub(crate) fn compute(snapshot: &Snapshot) -> serde_json::Result<Self> {
        let view = snapshot.view()?;
        let mut planner = Planner::new(Options {
            explain: true,
            ..Options::default()
        });
        planner.mark_listed();
        for revision in snapshot.revisions_of(&view) {
            observe_revision(&mut planner, &view, &revision.view, snapshot.now);
        }
        observe_set(&mut planner, &view, snapshot.now);
        for node in &snapshot.nodes {
            planner.observe(Event::Node(node.view.clone()), snapshot.now);
        }
        for pod in snapshot.pods_of(&view) {
            planner.observe(Event::Pod(Box::new(pod.view.clone())), snapshot.now);
        }
        let mut preview = Self {
            rollout: Rollout::default(),
            node_statuses: BTreeMap::new(),
            deletions: BTreeMap::new(),
            order: Vec::new(),
            view,
        };
        for _ in 0..ROUNDS {
            if !preview.round(&mut planner, snapshot) {
                break;
            }
        }
        let key = &preview.view.key;
        preview.rollout = planner.rollout(key).unwrap_or_default();
        let explanations = planner.explain(key, snapshot.now).into_iter();
        preview.node_statuses = explanations.map(|v| (v.node, v.status)).collect();
        preview.order.extend(preview.rollout.next.iter().cloned());
        Ok(preview)
    }

    /// Plans once. Returns whether another plan will say more.
    fn round(&mut self, planner: &mut Planner, snapshot: &Snapshot) -> bool {
        let mut again = false;
        for action in planner.plan(snapshot.now).actions {
            match action {
                Action::DeletePod {
                    node, pod, reason, ..
                } => {
                    if matches!(
                        reason,
                        DeleteReason::Outdated { .. } | DeleteReason::OutdatedDown
                    ) {
                        self.order.push(node);
                    }
                    self.deletions.insert(pod.uid, reason);
                }
                action => {
                    again |= reply_to_revision(planner, action, snapshot.now).is_some();
                }
            }
        }
        again
    }

    /// Whether a pod has the newest template.
    pub(crate) fn is_newest(&self, pod: &PodView) -> bool {
        self.rollout.is_updated(pod)
    }
}

/// Shows the planner a DaemonSet.
pub(crate) fn observe_set(planner: &mut Planner, set: &DaemonSetView, now: Timestamp) {
    // The planner ignores a set that is being deleted, and with it its revisions.
    let set = DaemonSetView {
        deleting: false,
        ..set.clone()
    };
    planner.observe(Event::Set(Box::new(set)), now);
}

/// Shows the planner a revision that the DaemonSet owns or selects.
pub(crate) fn observe_revision(
    planner: &mut Planner,
    set: &DaemonSetView,
    revision: &RevisionView,
    now: Timestamp,
) {
    let owner = Owner {
        uid: set.uid.clone(),
        is_daemonset: true,
    };
    let revision = RevisionView {
        owner: Some(owner),
        ..revision.clone()
    };
    planner.observe(Event::Revision(Box::new(revision)), now);
}

/// The uid of a revision that exists only in the planner.
pub(crate) const PLANNED_UID: &str = "planned";

/// Replies to the creation of a revision as the server would. Returns the name of the revision if
/// the action was one.
pub(crate) fn reply_to_revision(
    planner: &mut Planner,
    action: Action,
    now: Timestamp,
) -> Option<Name> {
    let Action::CreateRevision { object, .. } = &action else {
        return None;
    };
    let view = stored(object)?;
    let name = Name::clone(&view.name);
    planner.observe(Event::Revision(Box::new(view)), now);
    let outcome = Event::Outcome {
        result: Ok(Reply::Done),
        action: Box::new(action),
    };
    planner.observe(outcome, now);
    Some(name)
}

/// The view of a revision as the server would return it.
fn stored(object: &Value) -> Option<RevisionView> {
    let mut object = object.clone();
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    metadata.insert("uid".to_owned(), json!(PLANNED_UID));
    RevisionView::deserialize(&object).ok()
}
