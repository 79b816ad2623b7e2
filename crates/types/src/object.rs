//! `ObjectMeta`: the fields that controllers read and keep.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Timestamp, Uid};

/// Namespace and name of an object, controller-runtime's `NamespacedName`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key {
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl Key {
    /// The key of a namespaced object.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// `metadata` of an object without annotations and managedFields, which can be large.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMeta {
    /// `metadata.name`.
    pub name: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// Unique among all objects of all time.
    pub uid: String,
    /// The version of this state of the object; versions of one kind can be compared as numbers.
    pub resource_version: String,
    /// The server raises it with each change of the spec.
    pub generation: i64,
    /// Labels; shared by objects that have the same.
    #[serde(deserialize_with = "or_default")]
    pub labels: Arc<BTreeMap<String, String>>,
    /// Owner references; shared by objects that have the same.
    #[serde(deserialize_with = "or_default")]
    pub owner_references: Arc<[OwnerReference]>,
    /// The server keeps the object until these have been removed.
    #[serde(deserialize_with = "or_default")]
    pub finalizers: Vec<String>,
    /// When it was created.
    pub creation_timestamp: Option<Timestamp>,
    /// Set once its deletion has been asked for.
    pub deletion_timestamp: Option<Timestamp>,
    /// How many seconds the object has to end, counted from the request to delete it.
    pub deletion_grace_period_seconds: Option<i64>,
}

impl ObjectMeta {
    /// The object's key.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(self.namespace.clone(), self.name.clone())
    }

    /// The resource version as a number; 0 if it is none.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.resource_version.parse().unwrap_or(0)
    }

    /// Whether deletion has been asked for.
    #[must_use]
    pub const fn is_deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    /// Points to the labels and owners of `like` where they are equal.
    pub fn share(&mut self, like: &Self) {
        share(&mut self.labels, &like.labels);
        share(&mut self.owner_references, &like.owner_references);
    }

    /// The managing owner, as upstream's `metav1.GetControllerOf`.
    #[must_use]
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references
            .iter()
            .find(|owner| owner.controller == Some(true))
    }
}

/// An owner reference.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// Group and version of the owner's kind.
    pub api_version: String,
    /// The owner's kind.
    pub kind: String,
    /// The owner's name.
    pub name: String,
    /// The owner's uid; the reference is to this very object, not to a later one of the name.
    pub uid: String,
    /// Whether it manages the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Whether a foreground deletion of the owner waits for the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

/// Points `mine` to `other` if they are equal.
pub fn share<T: PartialEq + ?Sized>(mine: &mut Arc<T>, other: &Arc<T>) {
    if *mine == *other {
        mine.clone_from(other);
    }
}

/// The managing owner (controller) of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The owner's uid.
    pub uid: Uid,
    /// Whether it is a DaemonSet.
    pub is_daemonset: bool,
}

impl From<&OwnerReference> for Owner {
    fn from(reference: &OwnerReference) -> Self {
        Self {
            uid: Uid::from(&*reference.uid),
            is_daemonset: reference.kind == "DaemonSet",
        }
    }
}

/// Deserializes `null` as the default of the type, for `#[serde(deserialize_with)]`.
///
/// # Errors
/// Those of the type.
pub fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
