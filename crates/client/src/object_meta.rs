//! The part of an object's metadata that loops keep, and the trait of objects that a list-watch carries.
//!
//! A projection is a struct with `#[derive(Deserialize)]` that names only the fields a loop needs; serde skips the
//! rest, so a pod costs some hundred bytes instead of some kilobytes. Every field has a default: a projection never
//! fails on a field it does not know.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

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
    pub labels: Arc<BTreeMap<String, String>>,
    /// Owner references; shared by objects that have the same.
    pub owner_references: Arc<[OwnerReference]>,
    /// The server keeps the object until these have been removed.
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

    /// The owner with `controller: true`.
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

/// An object, or a part of one, that a list-watch can carry. Upstream: `metav1.Object`.
pub trait Object: DeserializeOwned + Clone + fmt::Debug + Send + Sync + 'static {
    /// The object's metadata.
    fn meta(&self) -> &ObjectMeta;

    /// Points to the parts of `like` where they are equal: daemon pods differ in little more than their names.
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
