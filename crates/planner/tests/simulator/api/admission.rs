//! What webhooks and quotas refuse, for as long as they are in force.

use std::collections::{BTreeMap, BTreeSet};

use super::requests::Refusal;
use crate::value::{Key, Text};

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    /// A webhook refuses pods of these sets (by the label `app`) on these nodes.
    pub(crate) create: BTreeSet<(Text, Text)>,
    /// A webhook refuses to delete pods of these sets on these nodes.
    pub(crate) delete: BTreeSet<(Text, Text)>,
    /// A webhook refuses changes of the metadata of pods of these sets on these nodes.
    pub(crate) patch: BTreeSet<(Text, Text)>,
    /// A webhook refuses revisions of these sets.
    pub(crate) revisions: BTreeSet<Text>,
    /// No more pods than this in a namespace, until a time.
    pub(crate) quotas: BTreeMap<Text, (usize, i64)>,
}

impl Admission {
    /// Whether a rule is in force that does not end by itself.
    pub(crate) fn is_sticky(&self) -> bool {
        !(self.create.is_empty()
            && self.delete.is_empty()
            && self.patch.is_empty()
            && self.revisions.is_empty())
    }

    /// Ends all rules.
    pub(crate) fn lift(&mut self) {
        *self = Self::default();
    }

    pub(super) fn webhook(
        rules: &BTreeSet<(Text, Text)>,
        app: Option<&Text>,
        node: Option<&Text>,
    ) -> Result<(), Refusal> {
        let hit = app
            .zip(node)
            .is_some_and(|(app, node)| rules.contains(&(app.clone(), node.clone())));
        refuse_if(
            hit,
            "admission webhook \"rules.example.com\" denied the request",
        )
    }

    pub(super) fn revision(&self, key: &Key, app: Option<&Text>) -> Result<(), Refusal> {
        let hit = app.is_some_and(|app| self.revisions.contains(app));
        refuse_if(
            hit,
            &format!("admission webhook denied revision {}", key.name),
        )
    }

    /// Upstream's resource quota: `used` pods count, whatever their state.
    pub(super) fn quota(&self, namespace: &str, used: usize, now: i64) -> Result<(), Refusal> {
        let quota = self.quotas.get(namespace);
        let hit = quota.is_some_and(|(limit, until)| now < *until && *limit <= used);
        refuse_if(hit, "exceeded quota: pods")
    }
}

fn refuse_if(hit: bool, message: &str) -> Result<(), Refusal> {
    if hit {
        Err(Refusal::new(403, "Forbidden", message))
    } else {
        Ok(())
    }
}
