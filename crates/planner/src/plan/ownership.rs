//! Ownership: adopts and releases pods, and adopts, releases, creates, numbers and deletes revisions.

use std::sync::Arc;

use pandaemon_types::{Name, Timestamp};
use serde_json::json;

use crate::{
    action::{Action, Patch, Plan, PodRef, Purpose},
    canonical::HASH_LABEL,
    ids::NodeId,
    owner::owner_reference,
    planner::Planner,
    pod_state::Ownership,
    pod_template::PodTemplate,
    revision::reconcile_revisions,
    set::{Current, Set},
};

impl Planner {
    pub(super) fn plan_ownership(&mut self, set: &mut Set, now: Timestamp, plan: &mut Plan) {
        if set.ownership_retry_at.is_some_and(|at| now < at) {
            return;
        }
        set.ownership_retry_at = None;
        for uid in std::mem::take(&mut set.ownership_due) {
            let id = self.pods.find(&uid);
            let Some(pod) = id.and_then(|id| self.pods.get_mut(id)) else {
                continue;
            };
            let reference = PodRef {
                name: Name::clone(&pod.name),
                uid: uid.clone(),
            };
            let (purpose, owners) = match &mut pod.set {
                Some((_, Ownership::Adopting { requested })) => {
                    *requested = true;
                    (Purpose::Adopt, json!([owner_reference(&set.view)]))
                }
                Some((_, Ownership::Owned)) => continue,
                None if pod.patching => continue,
                None => {
                    let gone = json!({"$patch": "delete", "uid": set.view.uid.to_string()});
                    (Purpose::Release, json!([gone]))
                }
            };
            pod.patching = true;
            let metadata = json!({"uid": uid.to_string(), "ownerReferences": owners});
            let patch = Patch::Strategic(json!({"metadata": metadata}));
            let set = set.view.key.clone();
            plan.actions.push(Action::PatchPod {
                set,
                pod: reference,
                purpose,
                patch,
            });
        }
    }

    // === revisions ===

    pub(super) fn plan_revisions(&mut self, set: &mut Set, now: Timestamp, plan: &mut Plan) {
        if !set.revisions_dirty || set.revising > 0 || !set.revise_retry.is_over(now) {
            return;
        }
        if set.collided {
            // The count is written with this status, and the next hash includes it.
            set.collided = false;
            let (key, uid) = (set.view.key.clone(), set.view.uid.clone());
            let status = set.view.status.clone();
            set.writing = Some(status.clone());
            plan.actions.push(Action::WriteStatus {
                set: key,
                uid,
                status,
            });
        }
        set.revisions_dirty = false;
        let patched = self.adopt_and_release_revisions(set, plan);
        if patched > 0 {
            set.revising += patched;
            return;
        }
        let hashes = &set.hashes;
        let live = |hash: &str| hashes.contains_key(hash);
        let conflicting_revision = self.conflicting_revision(set);
        let revision_plan = reconcile_revisions(
            &set.view,
            set.revisions.values(),
            conflicting_revision,
            live,
        );
        set.revising += revision_plan.actions.len();
        if revision_plan.actions.is_empty() {
            set.revise_retry.reset();
        }
        plan.actions.extend(revision_plan.actions);
        for hash in &revision_plan.duplicate_hashes {
            self.relabel(set, hash, revision_plan.current.as_ref(), plan);
        }
        let known = set
            .current
            .as_ref()
            .map(|current| (&current.hash, &current.aliases));
        if known
            == revision_plan
                .current
                .as_ref()
                .map(|hash| (hash, &revision_plan.duplicate_hashes))
        {
            return;
        }
        let aliases = revision_plan.duplicate_hashes;
        // The API server may refuse pods of the new template, so creations start slowly again.
        set.creates.restart();
        set.current = revision_plan.current.map(|hash| {
            let template = Arc::new(PodTemplate::new(&set.view, &hash));
            Current {
                hash,
                aliases,
                template,
            }
        });
        set.touch_all();
    }

    /// Adopts revisions without an owner that the set selects, and releases its own that it does not
    /// select. Returns the id of patches.
    fn adopt_and_release_revisions(&self, set: &Set, plan: &mut Plan) -> usize {
        let ours = owner_reference(&set.view);
        let gone = json!({"$patch": "delete", "uid": set.view.uid.to_string()});
        let adopted = self.orphan_revisions(set).into_iter();
        let adopted = adopted.map(|revision| (revision, &ours));
        let released = set.mismatched_revisions().map(|revision| (revision, &gone));
        let before = plan.actions.len();
        for (revision, owner) in adopted.chain(released) {
            let metadata = json!({"uid": revision.uid.to_string(), "ownerReferences": [owner]});
            plan.actions.push(Action::PatchRevision {
                set: set.view.key.clone(),
                name: Name::clone(&revision.name),
                patch: Patch::Strategic(json!({"metadata": metadata})),
            });
        }
        plan.actions.len() - before
    }

    /// Relabels the pods of a duplicate revision with the hash of the current one.
    fn relabel(&mut self, set: &Set, from: &str, to: Option<&Name>, plan: &mut Plan) {
        let Some(to) = to else { return };
        let states = set.nodes.iter::<NodeId>();
        for id in states.flat_map(|(_, state)| &state.pods) {
            let Some(pod) = self.pods.get_mut(*id) else {
                continue;
            };
            if pod.patching || pod.hash().map(|hash| &**hash) != Some(from) {
                continue;
            }
            pod.patching = true;
            let labels = json!({HASH_LABEL: &**to});
            plan.actions.push(Action::PatchPod {
                set: set.view.key.clone(),
                pod: PodRef {
                    name: Name::clone(&pod.name),
                    uid: pod.uid.clone(),
                },
                purpose: Purpose::Relabel,
                patch: Patch::Merge(json!({"metadata": {"labels": labels}})),
            });
        }
    }
}
