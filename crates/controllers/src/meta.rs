//! The small part of an object's metadata that loops keep, and the trait of all projections.
//!
//! A projection is a struct with `#[derive(Deserialize)]` that names only the fields a loop needs; serde skips the
//! rest, so a pod costs some hundred bytes instead of some kilobytes. Every field has a default: a projection never
//! fails on a field it does not know.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Names one object of a kind. Cluster-scoped objects have an empty namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key {
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
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

/// What every object says about itself, without annotations and managed fields (they can be large).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// The name.
    pub name: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// Unique over all time.
    pub uid: String,
    /// The version of this state.
    pub resource_version: String,
    /// Counts changes of the spec.
    pub generation: i64,
    /// Labels; shared by objects that have the same.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Owners; shared by objects that have the same.
    pub owner_references: Arc<[Owner]>,
    /// What must be done before the object may go.
    pub finalizers: Vec<String>,
    /// When it was made.
    pub creation_timestamp: Option<Timestamp>,
    /// Set once its deletion has been asked for.
    pub deletion_timestamp: Option<Timestamp>,
    /// How long it may take to end.
    pub deletion_grace_period_seconds: Option<i64>,
}

impl Meta {
    /// The object's key.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(self.namespace.clone(), self.name.clone())
    }

    /// Whether deletion has been asked for.
    #[must_use]
    pub const fn is_deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    /// Keeps what is equal in another object's metadata once.
    pub fn share(&mut self, like: &Self) {
        share(&mut self.labels, &like.labels);
        share(&mut self.owner_references, &like.owner_references);
    }

    /// The owner that manages the object.
    #[must_use]
    pub fn controller(&self) -> Option<&Owner> {
        self.owner_references
            .iter()
            .find(|owner| owner.controller == Some(true))
    }
}

/// An owner reference.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Owner {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name.
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

/// A view of an object that a watch can carry.
pub trait Projected: DeserializeOwned + Clone + fmt::Debug + Send + Sync + 'static {
    /// The object's metadata.
    fn meta(&self) -> &Meta;

    /// Keeps what is equal in another object once: daemon pods differ in little more than their names.
    fn share(&mut self, _like: &Self) {}
}

/// A projection that keeps nothing but metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MetaOnly {
    /// The metadata.
    pub metadata: Meta,
}

impl Projected for MetaOnly {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl MetaOnly {
    /// What ownership is about in an object's metadata.
    #[must_use]
    pub fn of(meta: &Meta) -> Self {
        let labels = Arc::default();
        Self {
            metadata: Meta {
                labels,
                ..meta.clone()
            },
        }
    }
}
