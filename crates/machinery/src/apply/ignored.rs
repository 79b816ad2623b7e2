//! Fields that nobody owns, or that a write to this resource cannot set.

use super::set::FieldSet;
use crate::Kind;

/// What the server itself keeps in `metadata` (upstream's list).
const SERVER_METADATA: &[&str] = &[
    "clusterName",
    "creationTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The fields that ownership leaves out for one kind and subresource.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ignored {
    top: &'static [&'static str],
    meta: &'static [&'static str],
}

impl Ignored {
    /// A write to the main resource cannot set the status, one to `/status` cannot set the spec: the
    /// `GetResetFields` of upstream's strategies.
    pub(super) fn of(kind: &Kind, subresource: &str) -> Self {
        let (top, meta): (&[&str], &[&str]) = match (subresource, kind.plural) {
            ("", _) if kind.subresource("status").is_some() => (&["status"], &[]),
            ("", _) => (&[], &[]),
            ("status", "pods") => (&["spec"], &["deletionTimestamp", "ownerReferences"]),
            ("status", _) => (&["spec"], &[]),
            (_, _) => (&[], &[]),
        };
        Self { top, meta }
    }

    pub(super) fn is_top(&self, name: &str) -> bool {
        matches!(name, "apiVersion" | "kind") || self.top.contains(&name)
    }

    pub(super) fn is_meta(&self, name: &str) -> bool {
        SERVER_METADATA.contains(&name) || self.meta.contains(&name)
    }

    /// Takes these fields out of a set.
    pub(super) fn strip(&self, set: &mut FieldSet) {
        for name in ["apiVersion", "kind"].iter().chain(self.top) {
            set.remove_branch(&super::path::field(name));
        }
        set.edit("f:metadata", |member, below| {
            *member = false;
            for name in SERVER_METADATA.iter().chain(self.meta) {
                below.remove_branch(&super::path::field(name));
            }
        });
    }
}
