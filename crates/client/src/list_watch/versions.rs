//! Which versions a list-watch has seen: it never goes back.
//!
//! Versions of a collection are numbers that grow with each change (KEP-5504). A list at version L
//! shows every object as of L, so an event of an unlisted object at L or before is about one that
//! was deleted by then.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
};

use pandaemon_types::Uid;

/// Deleted objects whose versions are remembered, to tell a late event of theirs from the first one
/// of a new object.
const DELETED: usize = 4_096;

/// Whether an event says that its object is there or that it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Applied,
    Deleted,
}

/// What has been seen of a collection.
#[derive(Debug, Default)]
pub(super) struct Versions {
    newest: u64,
    listed: u64,
    /// Hash of the uid to the version that was delivered: 16 bytes an object.
    delivered: HashMap<u64, u64>,
    /// The latest deletions: hash of the uid, and the version.
    deleted: VecDeque<(u64, u64)>,
    /// What the list that is being read holds.
    listing: HashMap<u64, u64>,
    hasher: RandomState,
}

impl Versions {
    /// The newest version seen: where a watch resumes. `None` before the first list.
    pub(super) fn newest(&self) -> Option<u64> {
        Some(self.newest).filter(|newest| *newest > 0)
    }

    /// Takes note of a version that belongs to no object that is delivered.
    pub(super) fn see(&mut self, version: u64) {
        self.newest = self.newest.max(version);
    }

    /// Forgets everything: the server has other versions now.
    pub(super) fn forget(&mut self) {
        let hasher = self.hasher.clone();
        *self = Self {
            hasher,
            ..Self::default()
        };
    }

    /// A list begins.
    pub(super) fn start_list(&mut self) {
        self.listing.clear();
    }

    /// The list has this object. False if a later state of it was delivered: the list is from an
    /// older server.
    #[must_use]
    pub(super) fn list(&mut self, uid: &Uid, version: u64) -> bool {
        if uid.is_empty() {
            return true;
        }
        let uid = self.hasher.hash_one(uid);
        self.listing.insert(uid, version);
        self.delivered
            .get(&uid)
            .is_none_or(|known| version >= *known)
    }

    /// The object was deleted while the list was read.
    pub(super) fn unlist(&mut self, uid: &Uid) {
        self.listing.remove(&self.hasher.hash_one(uid));
    }

    /// The list is complete at this version.
    pub(super) fn finish_list(&mut self, version: u64) {
        self.delivered = std::mem::take(&mut self.listing);
        self.deleted.clear();
        self.listed = version;
        self.see(version);
    }

    /// Whether an event is news. What is older than what was delivered of the object is not, nor is
    /// what was delivered.
    pub(super) fn accept(&mut self, change: Change, uid: &Uid, version: u64) -> bool {
        let is_newest = version > self.newest;
        self.see(version);
        if uid.is_empty() {
            return true;
        }
        let uid = self.hasher.hash_one(uid);
        let fresh = match (self.delivered.get(&uid), change) {
            _ if is_newest => true,
            (Some(known), Change::Applied) => version > *known,
            // Servers may send a deletion with the version of the last state.
            (Some(known), Change::Deleted) => {
                version >= *known && !self.deleted.contains(&(uid, *known))
            }
            (None, Change::Applied) => version > self.listed,
            (None, Change::Deleted) => false,
        };
        if fresh {
            self.delivered.insert(uid, version);
            if change == Change::Deleted {
                self.remember_deleted(uid, version);
            }
        }
        fresh
    }

    fn remember_deleted(&mut self, uid: u64, version: u64) {
        self.deleted.push_back((uid, version));
        if self.deleted.len() > DELETED
            && let Some((oldest, version)) = self.deleted.pop_front()
            // It may be selected again.
            && self.delivered.get(&oldest) == Some(&version)
        {
            self.delivered.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Change::*, *};

    fn listed() -> Versions {
        let mut versions = Versions::default();
        versions.start_list();
        assert!(versions.list(&Uid::from("a"), 3));
        versions.finish_list(5);
        versions
    }

    #[test]
    fn an_event_is_news_only_once_and_never_after_a_later_one() {
        let mut versions = listed();
        assert!(versions.accept(Applied, &Uid::from("a"), 7));
        assert!(!versions.accept(Applied, &Uid::from("a"), 7), "a duplicate");
        assert!(!versions.accept(Applied, &Uid::from("a"), 6), "older");
        assert!(
            !versions.accept(Deleted, &Uid::from("a"), 6),
            "an older deletion"
        );
        assert!(
            versions.accept(Deleted, &Uid::from("a"), 7),
            "with its last version"
        );
        assert!(
            !versions.accept(Deleted, &Uid::from("a"), 7),
            "a second deletion"
        );
        assert!(
            !versions.accept(Applied, &Uid::from("a"), 6),
            "after its deletion"
        );
        assert_eq!(versions.newest(), Some(7));
    }

    #[test]
    fn a_reordered_event_of_another_object_is_news() {
        let mut versions = listed();
        assert!(versions.accept(Applied, &Uid::from("b"), 9));
        assert!(versions.accept(Applied, &Uid::from("c"), 8));
        assert!(
            !versions.accept(Applied, &Uid::from("old"), 4),
            "gone before the list"
        );
        assert!(
            !versions.accept(Deleted, &Uid::from("old"), 6),
            "never delivered"
        );
        assert_eq!(versions.newest(), Some(9));
    }

    #[test]
    fn deleted_objects_are_forgotten_in_the_end() {
        let mut versions = listed();
        for version in 10..10_000 {
            let uid = Uid::from(&*version.to_string());
            assert!(versions.accept(Applied, &uid, version * 2));
            assert!(versions.accept(Deleted, &uid, version * 2 + 1));
        }
        assert_eq!(versions.delivered.len(), DELETED + 1);
    }

    #[test]
    fn a_list_replaces_what_was_known_and_a_reset_forgets_it() {
        let mut versions = listed();
        assert!(versions.accept(Applied, &Uid::from("b"), 9));
        versions.start_list();
        assert!(!versions.list(&Uid::from("b"), 8), "older than delivered");
        assert!(versions.list(&Uid::from("c"), 10));
        versions.finish_list(10);
        assert!(
            !versions.accept(Applied, &Uid::from("d"), 9),
            "not in the list"
        );
        versions.forget();
        assert_eq!(versions.newest(), None);
        assert!(versions.accept(Applied, &Uid::from("c"), 2));
    }
}
