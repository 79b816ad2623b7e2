//! Who owns what: pods are adopted and released, revisions made, numbered and deleted.

use std::sync::Arc;

use pandaemon_types::{Name, Timestamp};
use serde_json::json;

use crate::{
    action::{Action, Patch, Plan, PodRef, Purpose},
    cell::Claim,
    index::{NodeId, Planner},
    mould::Mould,
    revision::{HASH_LABEL, owner_reference, reckon},
    set::{Current, Set},
};

impl Planner {
    pub(super) fn plan_claims(&mut self, set: &mut Set, now: Timestamp, plan: &mut Plan) {
        if set.claim_after.is_some_and(|at| now < at) {
            return;
        }
        set.claim_after = None;
        for uid in std::mem::take(&mut set.claims) {
            let number = self.pods.find(&uid);
            let Some(pod) = number.and_then(|number| self.pods.get_mut(number)) else {
                continue;
            };
            let reference = PodRef {
                name: Name::clone(&pod.name),
                uid: uid.clone(),
            };
            let (purpose, owners) = match &mut pod.set {
                Some((_, Claim::Adopting { sent })) => {
                    *sent = true;
                    (Purpose::Adopt, json!([owner_reference(&set.view)]))
                }
                Some((_, Claim::Owned)) => continue,
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
        if !set.reckon || set.revising > 0 || set.revise_after.is_some_and(|at| now < at) {
            return;
        }
        if set.collided {
            // The count is written with the next status, and the next hash takes it in.
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
        set.reckon = false;
        set.revise_after = None;
        let claimed = self.claim_revisions(set, plan);
        if claimed > 0 {
            set.revising += claimed;
            return;
        }
        let hashes = &set.hashes;
        let live = |hash: &str| hashes.contains_key(hash);
        let namesake = self.namesake(set);
        let reckoning = reckon(&set.view, set.revisions.values(), namesake, live);
        set.revising += reckoning.actions.len();
        plan.actions.extend(reckoning.actions);
        for hash in &reckoning.renamed {
            self.relabel(set, hash, reckoning.current.as_ref(), plan);
        }
        let known = set
            .current
            .as_ref()
            .map(|current| (&current.hash, &current.aliases));
        if known
            == reckoning
                .current
                .as_ref()
                .map(|hash| (hash, &reckoning.renamed))
        {
            return;
        }
        let aliases = reckoning.renamed;
        // Nobody knows yet whether the new template is accepted.
        set.pace.window = 1;
        set.current = reckoning.current.map(|hash| {
            let mould = Arc::new(Mould::new(&set.view, &hash));
            Current {
                hash,
                aliases,
                mould,
            }
        });
        set.touch_all();
    }

    /// Adopts revisions that match and have no owner, and releases own ones that do not match; how
    /// many.
    fn claim_revisions(&self, set: &Set, plan: &mut Plan) -> usize {
        let ours = owner_reference(&set.view);
        let gone = json!({"$patch": "delete", "uid": set.view.uid.to_string()});
        let adopted = self.orphan_revisions(set).into_iter();
        let adopted = adopted.map(|revision| (revision, &ours));
        let released = set.foreign_revisions().map(|revision| (revision, &gone));
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

    /// Gives the pods of a duplicate revision the hash of the one that stays.
    fn relabel(&mut self, set: &Set, from: &str, to: Option<&Name>, plan: &mut Plan) {
        let Some(to) = to else { return };
        let cells = set.cells.iter::<NodeId>();
        for number in cells.flat_map(|(_, cell)| &cell.pods) {
            let Some(pod) = self.pods.get_mut(*number) else {
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
