//! Checks of requests about revisions: name, data, number, and that none in use is deleted.

use super::{
    KnownSet, Oracle,
    work::{Target, check_pause},
};
use crate::{
    objects::{HASH_LABEL, Revision},
    request::{Request, Violation, ensure},
    revisions::hash,
    value::{Key, Text},
};

impl Oracle {
    /// Checks a request about a revision and takes it in.
    pub(super) fn change_revision(&mut self, request: &Request) -> Result<(), Violation> {
        let (set, work) = self.set_of(request)?;
        check_pause(work, &Target::Revisions, self.now)?;
        match request {
            Request::CreateRevision { body, .. } => {
                self.check_new_revision(set, &Revision::read(body))?;
            }
            Request::DeleteRevision { name, .. } => self.check_old_revision(set, name)?,
            Request::PatchRevision { name, body, .. } => {
                let key = Key::new(&set.set.key.namespace, name);
                let number = body.get("revision").and_then(serde_json::Value::as_i64);
                let known = self.known.revisions.get(&key);
                ensure!(
                    known.is_some_and(|known| number.is_none_or(|number| number > known.number)),
                    "revision: number",
                    "numbers {name} {number:?}, which is {:?}",
                    known.map(|known| known.number)
                );
            }
            _ => {}
        }
        if let Some(work) = self.work_mut(request.set()) {
            work.revising += 1;
        }
        Ok(())
    }

    fn check_new_revision(&self, known: &KnownSet, new: &Revision) -> Result<(), Violation> {
        let set = &known.set;
        let equal = self.known.revisions_of(set).find(|r| r.data == set.data);
        ensure!(
            equal.is_none(),
            "revision: equal",
            "creates {}, which equals {:?}",
            new.key,
            equal.map(|equal| &equal.key)
        );
        let highest = self.known.revisions_of(set).map(|r| r.number).max();
        let wanted_hash = hash(&set.data, set.status.collisions);
        let wanted_name = format!("{}-{wanted_hash}", set.key.name);
        let fine = new.data == set.data
            && *new.key.name == *wanted_name
            && new.key.namespace == set.key.namespace
            && new.labels.get(HASH_LABEL).map(|hash| &**hash) == Some(&*wanted_hash)
            && known.selector.matches(&new.labels)
            && new.owner.as_ref() == Some(&set.uid)
            && new.number == highest.unwrap_or(0) + 1;
        ensure!(
            fine,
            "revision: wrong",
            "creates {new:?}, wanted {wanted_name} with number {} for {}",
            highest.unwrap_or(0) + 1,
            set.data
        );
        Ok(())
    }

    /// No revision is deleted that is current, or whose hash a pod carries.
    fn check_old_revision(&self, known: &KnownSet, name: &Text) -> Result<(), Violation> {
        let set = &known.set;
        let key = Key::new(&set.key.namespace, name);
        let Some(revision) = self.known.revisions.get(&key) else {
            return Ok(());
        };
        let mut pods = self.known.pods.values().map(|known| &known.pod);
        let live = pods.find(|pod| {
            pod.is_owned_by(&set.uid) && known.claims(pod) && pod.hash() == Some(revision.hash())
        });
        ensure!(
            live.is_none(),
            "revision: in use",
            "deletes {name}, whose hash {:?} carries",
            live.map(|pod| &pod.key)
        );
        let twin = |other: &&Revision| other.uid != revision.uid && other.data == revision.data;
        let spare = revision.data != set.data || self.known.revisions_of(set).any(|r| twin(&r));
        ensure!(
            spare,
            "revision: current",
            "deletes {name}, which is the current one"
        );
        let old = self.known.revisions_of(set).filter(|r| r.data != set.data);
        ensure!(
            revision.data == set.data || set.history_limit < old.count() + self.deleted_now(set),
            "revision: history",
            "deletes {name}, although no more than {} old ones are there",
            set.history_limit
        );
        Ok(())
    }

    /// Requests about revisions of this plan; each may be a deletion that the next one does not
    /// see.
    fn deleted_now(&self, set: &crate::objects::Set) -> usize {
        self.work.get(&set.uid).map_or(0, |work| work.revising)
    }

    /// Whether the set's newest template has a revision, and nothing about its revisions is under
    /// way, due or refused: then pods may be created and updated.
    pub(super) fn has_settled_revision(&self, known: &KnownSet) -> bool {
        let set = &known.set;
        let Some(work) = self.work.get(&set.uid) else {
            return false;
        };
        let to_claim = self.known.revisions.values().any(|revision| {
            let selected = known.selector.matches(&revision.labels);
            match &revision.owner {
                None => {
                    revision.key.namespace == set.key.namespace && selected && !revision.deleting
                }
                Some(owner) => *owner == set.uid && !selected,
            }
        });
        work.revising == 0
            && work.failures(&Target::Revisions).is_none()
            && !to_claim
            && !self.known.current_hashes(set).is_empty()
    }
}
