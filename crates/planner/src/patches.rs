//! Which pods of a set wait for a patch: an adoption, a release or a new hash label.

use pandaemon_types::Name;

use crate::{
    action::Purpose,
    ids::PodId,
    planner::Planner,
    pod_state::{Ownership, PodState},
    set::Set,
    tables::PodTable,
};

impl Set {
    /// The patch that a pod needs from this set.
    pub(crate) fn due_patch(&self, pod: &PodState) -> Option<Purpose> {
        if pod.patching {
            return None;
        }
        let is_owner = || {
            pod.owner
                .as_ref()
                .is_some_and(|owner| owner.uid == self.view.uid)
        };
        match &pod.set {
            Some((key, _)) if **key != self.view.key => None,
            Some((_, Ownership::Adopting { .. })) => Some(Purpose::Adopt),
            Some((_, Ownership::Owned)) => {
                let aliases = self.current.as_ref().map(|current| &current.aliases);
                let is_alias = aliases?.iter().any(|alias| pod.hash() == Some(alias));
                is_alias.then_some(Purpose::Relabel)
            }
            None => is_owner().then_some(Purpose::Release),
        }
    }

    /// Queues a pod for the patch that it needs, if any.
    pub(crate) fn queue_patch(&mut self, id: PodId, pods: &mut PodTable) {
        if let Some(pod) = pods.get_mut(id)
            && self.due_patch(pod).is_some()
        {
            let (was, end) = (pod.patch_queued, self.patches.back_off_end(id));
            let name = || Name::clone(&pod.name);
            self.patch_queue.update(id, name, (was, true), end);
            pod.patch_queued = true;
        }
    }

    /// Takes a pod out of the queue.
    pub(crate) fn unqueue_patch(&mut self, id: PodId, pods: &mut PodTable) {
        if let Some(pod) = pods.get_mut(id) {
            let name = || Name::clone(&pod.name);
            let was = pod.patch_queued;
            self.patch_queue.update(id, name, (was, false), None);
            pod.patch_queued = false;
        }
    }
}

impl Planner {
    /// The set that owns or adopts a pod, or has to release it.
    fn patching_set(&mut self, id: PodId) -> Option<(&mut Set, &mut PodTable)> {
        let pod = self.pods.get(id)?;
        let owner = || self.by_uid.get(&pod.owner.as_ref()?.uid);
        let key = match &pod.set {
            Some((key, _)) => &**key,
            None => owner()?,
        };
        Some((self.sets.get_mut(key)?, &mut self.pods))
    }

    /// Queues a pod for the patch that it needs from its set, if any.
    pub(crate) fn queue_patch(&mut self, id: PodId) {
        let Some((set, pods)) = self.patching_set(id) else {
            return;
        };
        set.queue_patch(id, pods);
        let key = set.view.key.clone();
        self.mark_dirty(&key);
    }

    /// Takes a pod that changes or is gone out of the queue of its set.
    pub(crate) fn unqueue_patch(&mut self, id: PodId) {
        if let Some((set, pods)) = self.patching_set(id) {
            set.unqueue_patch(id, pods);
        }
    }
}
