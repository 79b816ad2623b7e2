//! Fields that have no owner: those that the server sets itself, and those that a write to this
//! resource or subresource cannot set.

use super::{field_set::FieldSet, path_element};
use crate::kind::ResetFields;

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

impl ResetFields {
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
