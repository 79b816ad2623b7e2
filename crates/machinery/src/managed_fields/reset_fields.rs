//! Fields that have no owner: those that the server sets itself, and those that a write to this
//! resource or subresource cannot set.

use super::{field_set::FieldSet, path_element};
use crate::Kind;

/// Metadata that the server sets itself (upstream's `stripMeta`).
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

/// The fields without an owner in writes to one kind and subresource.
#[derive(Debug, Clone, Copy)]
pub(super) struct ResetFields {
    top_level: &'static [&'static str],
    metadata: &'static [&'static str],
}

impl ResetFields {
    /// What the strategy of the kind resets (upstream's `GetResetFields`): a write to the object
    /// cannot set its status, a write to `/status` cannot set the spec.
    pub(super) fn of(kind: &Kind, subresource: &str) -> Self {
        let (top_level, metadata): (&[&str], &[&str]) = match (subresource, kind.plural) {
            ("", _) if kind.subresource("status").is_some() => (&["status"], &[]),
            ("", _) => (&[], &[]),
            ("status", "pods") => (&["spec"], &["deletionTimestamp", "ownerReferences"]),
            ("status", _) => (&["spec"], &[]),
            (_, _) => (&[], &[]),
        };
        Self {
            top_level,
            metadata,
        }
    }

    /// Whether a field of the object has no owner.
    pub(super) fn has_top_level(&self, name: &str) -> bool {
        matches!(name, "apiVersion" | "kind") || self.top_level.contains(&name)
    }

    /// Whether a field of `metadata` has no owner.
    pub(super) fn has_metadata(&self, name: &str) -> bool {
        SERVER_METADATA.contains(&name) || self.metadata.contains(&name)
    }

    /// Removes these fields from a set.
    pub(super) fn remove_from(&self, set: &mut FieldSet) {
        for name in ["apiVersion", "kind"].iter().chain(self.top_level) {
            set.remove_branch(&path_element::field(name));
        }
        set.edit("f:metadata", |member, below| {
            *member = false;
            for name in SERVER_METADATA.iter().chain(self.metadata) {
                below.remove_branch(&path_element::field(name));
            }
        });
    }
}
