//! Checks of patches of pods: adoption, release, and the hash of an equal revision.

use serde_json::json;

use super::{
    KnownSet, Oracle,
    work::{Target, check_pause},
};
use crate::{
    api::PatchForm,
    objects::{HASH_LABEL, Pod},
    request::{Purpose, Request, Violation, ensure},
    value::{Text, list, text},
};

impl Oracle {
    /// Checks a patch of a pod and takes it in.
    pub(super) fn patch_pod(&mut self, request: &Request) -> Result<(), Violation> {
        let Request::PatchPod {
            set: key,
            set_uid,
            name,
            uid,
            purpose,
            form,
            body,
        } = request
        else {
            return Ok(());
        };
        let (set, work) = self.set_of(request)?;
        let Some(known) = self.known.pods.get(uid) else {
            return Err((
                "patch: unknown",
                format!("patches {name}, which is unknown"),
            ));
        };
        let pod = &known.pod;
        ensure!(
            !work.patching.contains(uid),
            "patch: twice",
            "patches {name} while a patch is under way"
        );
        check_pause(work, &Target::Patch(uid.clone()), self.now)?;
        ensure!(
            work.patching.len() < work.patch_window.0,
            "slow start",
            "patches {name} while {} patches are under way, {} may be",
            work.patching.len(),
            work.patch_window.0
        );
        ensure!(
            set.set.uid == *set_uid,
            "no set",
            "patches {name} for an earlier set named {key}"
        );
        let names_pod = text(body, "/metadata/uid") == &**uid;
        let legal = match purpose {
            Purpose::Adopt => names_pod && adopts(set, pod, *form, body),
            Purpose::Release => names_pod && releases(set, pod, *form, body),
            Purpose::Relabel => self.relabels(set, pod, body),
            Purpose::Renumber => false,
        };
        ensure!(
            legal,
            "patch: wrong",
            "{purpose:?} of {} by {key}, with owner {:?} and labels {:?}: {body}",
            pod.key,
            pod.owner,
            pod.labels
        );
        if let Some(work) = self.work_mut(key) {
            work.patching.insert(uid.clone());
        }
        Ok(())
    }

    /// The pod carries the hash of a revision that equals the current one, and gets that one's.
    fn relabels(&self, set: &KnownSet, pod: &Pod, body: &serde_json::Value) -> bool {
        let hashes = self.known.current_hashes(&set.set);
        let wanted = text(body, &format!("/metadata/labels/{HASH_LABEL}"));
        pod.is_owned_by(&set.set.uid)
            && pod.hash().is_some_and(|hash| hashes.contains(hash))
            && hashes.first().is_some_and(|hash| **hash == *wanted)
    }

    /// Whether a pod waits for its adoption or release.
    pub(super) fn is_to_patch(&self, set: &KnownSet, uid: &Text) -> bool {
        let Some(known) = self.known.pods.get(uid) else {
            return false;
        };
        let pod = &known.pod;
        match &pod.owner {
            None => set.claims(pod),
            Some(owner) => *owner == set.set.uid && !set.selector.matches(&pod.labels),
        }
    }
}

fn adopts(set: &KnownSet, pod: &Pod, form: PatchForm, body: &serde_json::Value) -> bool {
    let owner = list(body, "/metadata/ownerReferences");
    pod.owner.is_none()
        && set.claims(pod)
        // A merge patch would replace the owners that are no controllers.
        && form == PatchForm::Strategic
        && owner.len() == 1
        && text(&owner[0], "/uid") == &*set.set.uid
        && text(&owner[0], "/name") == &*set.set.key.name
        && text(&owner[0], "/kind") == "DaemonSet"
        && text(&owner[0], "/apiVersion") == "apps/v1"
        && owner[0]["controller"] == json!(true)
        && owner[0]["blockOwnerDeletion"] == json!(true)
}

fn releases(set: &KnownSet, pod: &Pod, form: PatchForm, body: &serde_json::Value) -> bool {
    let gone = json!({"$patch": "delete", "uid": &*set.set.uid});
    pod.is_owned_by(&set.set.uid)
        && !set.selector.matches(&pod.labels)
        && form == PatchForm::Strategic
        && list(body, "/metadata/ownerReferences") == [gone]
}
