//! Ownership: adopts and releases pods, and adopts, releases, creates, numbers and deletes
//! revisions.

use std::sync::Arc;

use pandaemon_types::{Name, Timestamp};
use serde_json::{Value, json};

use crate::{
    action::{Action, Patch, Plan, PodRef, Purpose},
    canonical::HASH_LABEL,
    ids::{NodeId, PodId},
    owner::owner_reference,
    planner::Planner,
    pod_state::{Ownership, PodState},
    pod_template::PodTemplate,
    revision::reconcile_revisions,
    set::{Current, Set},
};

impl Planner {
    /// Adopts, releases and relabels pods, as many at once as the window of patches allows.
    pub(super) fn plan_patches(&mut self, set: &mut Set, now: Timestamp, plan: &mut Plan) {
        while let Some(id) = set.patch_queue.next(&set.patches, now) {
            set.unqueue_patch(id, &mut self.pods);
            let Some(pod) = self.pods.get_mut(id) else {
                continue;
            };
            let Some(purpose) = set.due_patch(pod) else {
                continue;
            };
            if let Some((_, Ownership::Adopting { requested })) = &mut pod.set {
                *requested = true;
            }
            pod.patching = true;
            set.patches.begin();
            plan.actions.push(Action::PatchPod {
                set: set.view.key.clone(),
                owner: set.view.uid.clone(),
                pod: PodRef {
                    name: Name::clone(&pod.name),
                    uid: pod.uid.clone(),
                },
                purpose,
                patch: patch_of(set, pod, purpose),
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
        set.name_attempts.clear();
        set.current = revision_plan.current.map(|hash| {
            let template = Arc::new(PodTemplate::new(&set.view, &hash));
            Current {
                hash,
                aliases,
                template,
            }
        });
        set.touch_all();
        self.queue_relabelling(set);
    }

    /// Adopts revisions without an owner that the set selects, and releases its own that it does
    /// not select. Returns the id of patches.
    fn adopt_and_release_revisions(&self, set: &Set, plan: &mut Plan) -> usize {
        let ours = owner_reference(&set.view);
        let gone = json!({"$patch": "delete", "uid": set.view.uid.to_string()});
        let adopted = self.orphan_revisions(set).into_iter();
        let adopted = adopted.map(|revision| (revision, Purpose::Adopt, &ours));
        let released = set
            .mismatched_revisions()
            .map(|revision| (revision, Purpose::Release, &gone));
        let before = plan.actions.len();
        for (revision, purpose, owner) in adopted.chain(released) {
            let metadata = json!({"uid": revision.uid.to_string(), "ownerReferences": [owner]});
            plan.actions.push(Action::PatchRevision {
                set: set.view.key.clone(),
                owner: set.view.uid.clone(),
                name: Name::clone(&revision.name),
                purpose,
                patch: Patch::Strategic(json!({"metadata": metadata})),
            });
        }
        plan.actions.len() - before
    }

    /// Queues the pods of duplicate revisions to be relabelled.
    fn queue_relabelling(&mut self, set: &mut Set) {
        let has_aliases = set.current.as_ref().is_some_and(|c| !c.aliases.is_empty());
        if !has_aliases {
            return;
        }
        let states = set.nodes.iter::<NodeId>();
        let pods: Vec<PodId> = states.flat_map(|(_, state)| state.pods.clone()).collect();
        pods.into_iter()
            .for_each(|id| set.queue_patch(id, &mut self.pods));
    }
}

/// The patch of a pod for a purpose.
fn patch_of(set: &Set, pod: &PodState, purpose: Purpose) -> Patch {
    let owned = |owner: Value| {
        let metadata = json!({"uid": pod.uid.to_string(), "ownerReferences": [owner]});
        Patch::Strategic(json!({"metadata": metadata}))
    };
    match purpose {
        Purpose::Adopt => owned(owner_reference(&set.view)),
        Purpose::Release => owned(json!({"$patch": "delete", "uid": &*set.uid})),
        Purpose::Relabel | Purpose::Renumber => {
            let hash = set.current.as_ref().map(|current| &*current.hash);
            let labels = json!({HASH_LABEL: hash});
            Patch::Merge(json!({"metadata": {"labels": labels}}))
        }
    }
}
