//! What the planner would do next, were it in charge: the rollout's budget and order, and which pods go.
//!
//! Nothing is carried out. The one action that is answered is the creation of a revision, as without one
//! the planner would not say more.

use std::collections::BTreeMap;

use pandaemon_planner::{
    Action, DaemonSetView, Event, Options, Planner, Reply, RevisionView, Rollout, Stance, Why,
};
use pandaemon_types::{Name, Owner, PodView, Uid};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::world::World;

/// Rounds of planning: one that makes a revision, and one that uses it.
const ROUNDS: usize = 3;

/// The planner's answers about a world.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) view: DaemonSetView,
    pub(crate) rollout: Rollout,
    pub(crate) stances: BTreeMap<Name, Stance>,
    /// Pods that would be deleted now.
    pub(crate) ends: BTreeMap<Uid, Why>,
    /// The nodes whose outdated pods would be replaced, in order.
    pub(crate) order: Vec<Name>,
    /// Whether the newest template has no revision in the cluster yet.
    pub(crate) revision_is_due: bool,
}

impl Survey {
    /// Asks the planner about a world.
    ///
    /// # Errors
    /// When the object is no DaemonSet.
    pub(crate) fn take(world: &World) -> serde_json::Result<Self> {
        let view = world.view()?;
        let mut planner = Planner::new(Options {
            verdicts: true,
            ..Options::default()
        });
        feed(&mut planner, world, &view);
        let mut survey = Self {
            rollout: Rollout::default(),
            stances: BTreeMap::new(),
            ends: BTreeMap::new(),
            order: Vec::new(),
            revision_is_due: false,
            view,
        };
        for _ in 0..ROUNDS {
            if !survey.round(&mut planner, world) {
                break;
            }
        }
        let key = &survey.view.key;
        survey.rollout = planner.rollout(key).unwrap_or_default();
        let verdicts = planner.explain(key, world.now).into_iter();
        survey.stances = verdicts.map(|v| (v.node, v.stance)).collect();
        survey.order.extend(survey.rollout.next.iter().cloned());
        Ok(survey)
    }

    /// Plans once; whether another round will say more.
    fn round(&mut self, planner: &mut Planner, world: &World) -> bool {
        let mut again = false;
        for action in planner.plan(world.now).actions {
            match action {
                Action::DeletePod { node, pod, why, .. } => {
                    if matches!(why, Why::Outdated { .. } | Why::OutdatedDown) {
                        self.order.push(node);
                    }
                    self.ends.insert(pod.uid, why);
                }
                Action::CreateRevision { ref object, .. } => {
                    self.revision_is_due = true;
                    if let Some(view) = stored(object) {
                        again = true;
                        planner.observe(Event::Revision(Box::new(view)), world.now);
                        let outcome = Event::Outcome {
                            result: Ok(Reply::Done),
                            action: Box::new(action),
                        };
                        planner.observe(outcome, world.now);
                    }
                }
                _ => {}
            }
        }
        again
    }

    /// Whether a pod has the newest template.
    pub(crate) fn is_newest(&self, pod: &PodView) -> bool {
        self.rollout.is_updated(pod)
    }
}

fn feed(planner: &mut Planner, world: &World, view: &DaemonSetView) {
    let now = world.now;
    for revision in world.revisions_of(view) {
        let owner = Owner {
            uid: view.uid.clone(),
            is_daemonset: true,
        };
        let revision = RevisionView {
            owner: Some(owner),
            ..revision.view.clone()
        };
        planner.observe(Event::Revision(Box::new(revision)), now);
    }
    // One that is being deleted is planned no more, and its revisions would not be known.
    let set = DaemonSetView {
        deleting: false,
        ..view.clone()
    };
    planner.observe(Event::Set(Box::new(set)), now);
    for node in &world.nodes {
        planner.observe(Event::Node(node.view.clone()), now);
    }
    for pod in world.pods_of(view) {
        planner.observe(Event::Pod(Box::new(pod.view.clone())), now);
    }
}

/// A revision as the server would answer.
fn stored(object: &Value) -> Option<RevisionView> {
    let mut object = object.clone();
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    metadata.insert("uid".to_owned(), json!("planned"));
    RevisionView::deserialize(&object).ok()
}
