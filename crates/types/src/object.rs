//! `ObjectMeta`: the fields that controllers read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Timestamp, Uid};

/// The fields of `metadata` that controllers read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    /// The object's name.
    pub name: String,
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// `metadata.uid`.
    pub uid: Uid,
    /// The resource version; 0 if it is not a number.
    #[serde(deserialize_with = "revision")]
    pub resource_version: u64,
    /// The generation: the API server counts changes of the spec here.
    pub generation: i64,
    /// `metadata.labels`.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    #[serde(deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    /// The owner references.
    #[serde(deserialize_with = "or_default")]
    pub owner_references: Vec<OwnerReference>,
    /// When the object was created.
    pub creation_timestamp: Option<Timestamp>,
    /// When the deletion began; `None` unless the object is being deleted.
    pub deletion_timestamp: Option<Timestamp>,
}

/// One entry of `ownerReferences`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OwnerReference {
    /// The owner's API version, such as `apps/v1`.
    pub api_version: String,
    /// The owner's kind, such as `DaemonSet`.
    pub kind: String,
    /// The owner's name.
    pub name: String,
    /// The owner's uid.
    pub uid: String,
    /// Whether this is the managing owner; upstream's `metav1.GetControllerOf` looks for it.
    pub controller: Option<bool>,
}

/// The managing owner (controller) of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The owner's uid.
    pub uid: Uid,
    /// Whether it is a DaemonSet.
    pub is_daemonset: bool,
}

impl Meta {
    /// The managing owner, as upstream's `metav1.GetControllerOf`.
    #[must_use]
    pub fn controller(&self) -> Option<Owner> {
        let owner = self
            .owner_references
            .iter()
            .find(|owner| owner.controller == Some(true))?;
        Some(Owner {
            uid: Uid::from(&*owner.uid),
            is_daemonset: owner.kind == "DaemonSet",
        })
    }
}

/// Reads a resource version. Versions are opaque strings; one that is not a number reads as 0, which
/// counts as older than any other.
fn revision<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or_default())
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
