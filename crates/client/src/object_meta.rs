//! Objects that a list-watch carries.
//!
//! A projection is a struct with `#[derive(Deserialize)]` that names only the fields a loop needs;
//! serde skips the rest, so a pod costs some hundred bytes instead of some kilobytes. Every field
//! has a default: a projection never fails on a field it does not know.

use std::{fmt, sync::Arc};

pub use pandaemon_types::object::{Key, ObjectMeta, OwnerReference, share};
use serde::{Deserialize, de::DeserializeOwned};

/// An object, or a part of one, that a list-watch can carry. Upstream: `metav1.Object`.
pub trait Object: DeserializeOwned + Clone + fmt::Debug + Send + Sync + 'static {
    /// The object's metadata.
    fn meta(&self) -> &ObjectMeta;

    /// Points to the parts of `like` where they are equal: daemon pods differ in little more than
    /// their names.
    fn share(&mut self, _like: &Self) {}
}

/// An object's metadata and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PartialObjectMetadata {
    /// The object's `metadata`.
    pub metadata: ObjectMeta,
}

impl Object for PartialObjectMetadata {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl PartialObjectMetadata {
    /// Metadata without labels: what the garbage collector needs.
    #[must_use]
    pub fn of(meta: &ObjectMeta) -> Self {
        let labels = Arc::default();
        Self {
            metadata: ObjectMeta {
                labels,
                ..meta.clone()
            },
        }
    }
}
