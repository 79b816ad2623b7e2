//! ControllerRevision events: which set a revision belongs to, or may be adopted by.

use pandaemon_types::{Name, Uid};

use crate::{
    planner::{Planner, is_stale},
    revision::new_name,
    set::Set,
    view::RevisionView,
};

impl Planner {
    /// Applies a revision from a reply. It is newer than what the watch has delivered, unless the
    /// revision was deleted since.
    pub(crate) fn apply_revision_reply(&mut self, view: RevisionView) {
        let key = (Name::clone(&view.namespace), Name::clone(&view.name));
        let known = self
            .revisions
            .get(&key)
            .is_some_and(|old| old.uid == view.uid);
        if known || self.revisions_seen < view.resource_version {
            self.apply_revision(view);
        }
    }

    pub(crate) fn apply_revision(&mut self, view: RevisionView) {
        let key = (Name::clone(&view.namespace), Name::clone(&view.name));
        if let Some(old) = self.revisions.get(&key) {
            if old.uid == view.uid && is_stale(view.resource_version, old.resource_version) {
                return;
            }
            self.remove_revision(&key);
        }
        if let Some(owner) = &view.owner
            && let Some(set_key) = self.by_uid.get(&owner.uid).cloned()
            && let Some(set) = self.sets.get_mut(&set_key)
        {
            set.revisions.insert(Name::clone(&view.name), view.clone());
            set.revisions_dirty = true;
            self.mark_dirty(&set_key);
        }
        if view.owner.is_none() {
            self.orphan_revision(&view);
        }
        self.revisions.insert(key, view);
    }

    /// Marks the sets that may adopt a revision without an owner.
    fn orphan_revision(&mut self, view: &RevisionView) {
        for (key, set) in &mut self.sets {
            if key.namespace == view.namespace && set.view.selects(&view.labels) {
                set.revisions_dirty = true;
                self.dirty.insert(key.clone());
            }
        }
    }

    /// Removes a revision that was deleted, unless another one has its name since.
    pub(crate) fn remove_revision_of_uid(&mut self, key: &(Name, Name), uid: &Uid) {
        if self.revisions.get(key).is_some_and(|old| old.uid == *uid) {
            self.remove_revision(key);
        }
    }

    pub(crate) fn remove_revision(&mut self, key: &(Name, Name)) {
        let Some(old) = self.revisions.remove(key) else {
            return;
        };
        let owner = old
            .owner
            .as_ref()
            .and_then(|owner| self.by_uid.get(&owner.uid).cloned());
        if let Some(set_key) = owner
            && let Some(set) = self.sets.get_mut(&set_key)
        {
            set.revisions.remove(&key.1);
            set.revisions_dirty = true;
            self.mark_dirty(&set_key);
            return;
        }
        // A set may have used this revision as its current one, as both have the same name and
        // data.
        let of_namespace = self
            .sets
            .iter_mut()
            .filter(|(set_key, _)| set_key.namespace == key.0);
        for (set_key, set) in of_namespace {
            if set.current.as_ref().is_some_and(|c| c.hash == old.hash()) {
                set.revisions_dirty = true;
                self.dirty.insert(set_key.clone());
            }
        }
    }

    /// A revision that the set does not own, with the name that its new revision would get.
    pub(crate) fn conflicting_revision(&self, set: &Set) -> Option<&RevisionView> {
        let key = (Name::clone(&set.view.key.namespace), new_name(&set.view));
        self.revisions
            .get(&key)
            .filter(|revision| !set.revisions.contains_key(&revision.name))
    }

    /// Revisions without an owner that the set selects, and so will adopt.
    pub(crate) fn orphan_revisions(&self, set: &Set) -> Vec<&RevisionView> {
        let namespace = Name::clone(&set.view.key.namespace);
        self.revisions
            .range((Name::clone(&namespace), "".into())..)
            .take_while(|((ns, _), _)| *ns == namespace)
            .map(|(_, revision)| revision)
            .filter(|r| r.owner.is_none() && !r.deleting && set.view.selects(&r.labels))
            .collect()
    }
}
