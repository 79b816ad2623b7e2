//! The fast path of lease renewals.
//!
//! Each node renews its Lease every ten seconds, which is most of the writes of a large cluster. A
//! renewal changes two strings of the stored object: `spec.renewTime` and the time of the writer's
//! entry in
//! `managedFields`. This module replaces them in the stored bytes. Nothing is defaulted or
//! validated, and no field set is compared.
//!
//! The result is that of the full path, and whatever this module does not recognize takes the full
//! path; a property test compares both. Two forms are recognized: a JSON merge patch of `spec`,
//! which our agents and hollow nodes send, and a PUT of the JSON object, which leader election
//! clients send.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use pandaemon_machinery::{Status, status::Result};
use pandaemon_store::Expect;
use pandaemon_types::time::rfc3339_micros;
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{Call, CommitError, ObjectWrite, Registry, Written};
use crate::{
    admission::Operation,
    cache::object::{Encoded, Head, Object},
};

const STORAGE: &str = "coordination.k8s.io/leases";
const API_VERSION: &str = "coordination.k8s.io/v1";

/// A Lease, stored or in the body of a PUT. Strings with escapes and unknown fields are errors.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Lease<'a> {
    #[serde(borrow)]
    api_version: &'a str,
    kind: &'a str,
    metadata: Metadata<'a>,
    spec: Spec<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
    #[serde(default, deserialize_with = "not_null")]
    uid: Option<&'a str>,
    #[serde(default, deserialize_with = "not_null")]
    resource_version: Option<&'a str>,
    #[serde(default, deserialize_with = "not_null")]
    creation_timestamp: Option<&'a str>,
    #[serde(default, deserialize_with = "not_null")]
    managed_fields: Option<[Entry<'a>; 1]>,
    #[serde(default, deserialize_with = "not_null")]
    owner_references: Option<Vec<OwnerReference<'a>>>,
    #[serde(default, deserialize_with = "not_null")]
    labels: Option<BTreeMap<&'a str, &'a str>>,
    #[serde(default, deserialize_with = "not_null")]
    annotations: Option<BTreeMap<&'a str, &'a str>>,
}

/// An entry of `managedFields`. One with a subresource is an error.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry<'a> {
    manager: &'a str,
    operation: &'a str,
    api_version: &'a str,
    time: &'a str,
    fields_type: &'a str,
    #[serde(borrow)]
    fields_v1: &'a RawValue,
}

impl PartialEq for Entry<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.api_version == other.api_version
            && self.time == other.time
            && self.fields_type == other.fields_type
            && self.fields_v1.get() == other.fields_v1.get()
    }
}

impl Entry<'_> {
    /// Whether a write of this manager is recorded in this entry, which owns `spec.renewTime`.
    fn records_renewals_of(&self, manager: &str) -> bool {
        self.manager == manager
            && self.operation == "Update"
            && self.api_version == API_VERSION
            && serde_json::from_str::<OwnedFields>(self.fields_v1.get()).is_ok()
    }
}

/// The members of `fieldsV1` that an entry must have.
#[derive(Deserialize)]
struct OwnedFields {
    #[serde(rename = "f:spec")]
    _spec: OwnedSpecFields,
}

#[derive(Deserialize)]
struct OwnedSpecFields {
    #[serde(rename = "f:renewTime")]
    _renew_time: IgnoredAny,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OwnerReference<'a> {
    api_version: &'a str,
    kind: &'a str,
    name: &'a str,
    uid: &'a str,
    #[serde(default, deserialize_with = "not_null")]
    controller: Option<bool>,
    #[serde(default, deserialize_with = "not_null")]
    block_owner_deletion: Option<bool>,
}

/// The spec of a Lease, or the part of it in a merge patch. Null, which removes a field, is an
/// error.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec<'a> {
    renew_time: &'a str,
    #[serde(default, deserialize_with = "not_null")]
    holder_identity: Option<&'a str>,
    #[serde(default, deserialize_with = "not_null")]
    lease_duration_seconds: Option<i32>,
    #[serde(default, deserialize_with = "not_null")]
    acquire_time: Option<&'a str>,
    #[serde(default, deserialize_with = "not_null")]
    lease_transitions: Option<i32>,
}

/// The body of a merge patch that renews a Lease.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MergePatch<'a> {
    #[serde(borrow)]
    spec: Spec<'a>,
}

fn not_null<'de, T, D>(deserializer: D) -> std::result::Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// How a request renews a Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RenewalForm {
    /// A JSON merge patch.
    MergePatch,
    /// A PUT of JSON.
    Put,
}

impl<'a> Spec<'a> {
    /// Whether a merge patch with this spec changes no field of `stored` but `renewTime`.
    fn is_patch_of_renew_time(&self, stored: &Self) -> bool {
        fn unchanged<T: PartialEq>(patch: Option<T>, stored: Option<T>) -> bool {
            patch.is_none() || patch == stored
        }
        unchanged(self.holder_identity, stored.holder_identity)
            && unchanged(self.lease_duration_seconds, stored.lease_duration_seconds)
            && unchanged(self.acquire_time, stored.acquire_time)
            && unchanged(self.lease_transitions, stored.lease_transitions)
    }

    /// Whether no field but `renewTime` differs.
    fn equals_but_renew_time(&self, stored: &Self) -> bool {
        self.holder_identity == stored.holder_identity
            && self.lease_duration_seconds == stored.lease_duration_seconds
            && self.acquire_time == stored.acquire_time
            && self.lease_transitions == stored.lease_transitions
    }
}

impl Metadata<'_> {
    /// Whether a PUT with this metadata, of the stored revision, changes nothing of `stored`.
    fn is_of(&self, stored: &Self, revision: &str) -> bool {
        fn unchanged<T: PartialEq>(given: &Option<T>, stored: &Option<T>) -> bool {
            given.is_none() || given == stored
        }
        self.resource_version == Some(revision)
            && self.name == stored.name
            && self.namespace == stored.namespace
            && unchanged(&self.uid, &stored.uid)
            && unchanged(&self.creation_timestamp, &stored.creation_timestamp)
            && unchanged(&self.managed_fields, &stored.managed_fields)
            && self.owner_references == stored.owner_references
            && self.labels == stored.labels
            && self.annotations == stored.annotations
    }
}

/// Whether the full path would store this `renewTime` as it is.
fn is_canonical(time: &str) -> bool {
    let parsed = time.parse::<Timestamp>();
    parsed.is_ok_and(|parsed| rfc3339_micros(parsed) == time)
}

/// The stored bytes of a Lease after a renewal: the current ones if its time is the same. `None` if
/// the request is no plain renewal.
fn renewed(
    current: &Object,
    form: RenewalForm,
    body: &[u8],
    manager: &str,
    now: &str,
) -> Option<Bytes> {
    let stored: Lease<'_> = serde_json::from_slice(&current.bytes).ok()?;
    let renew_time = match form {
        RenewalForm::MergePatch => {
            let patch: MergePatch<'_> = serde_json::from_slice(body).ok()?;
            let is_plain = patch.spec.is_patch_of_renew_time(&stored.spec);
            is_plain.then_some(patch.spec.renew_time)?
        }
        RenewalForm::Put => {
            let lease: Lease<'_> = serde_json::from_slice(body).ok()?;
            let is_plain = lease.api_version == API_VERSION
                && lease.kind == stored.kind
                && lease
                    .metadata
                    .is_of(&stored.metadata, &current.revision.to_string())
                && lease.spec.equals_but_renew_time(&stored.spec);
            is_plain.then_some(lease.spec.renew_time)?
        }
    };
    let [entry] = stored.metadata.managed_fields.as_ref()?;
    if !entry.records_renewals_of(manager) || !is_canonical(renew_time) {
        return None;
    }
    if renew_time == stored.spec.renew_time {
        return Some(current.bytes.clone());
    }
    let replacements = [(entry.time, now), (stored.spec.renew_time, renew_time)];
    replace(&current.bytes, replacements)
}

/// Replaces parts of a text, in order of their position. Each part is a slice of the text.
fn replace(text: &[u8], replacements: [(&str, &str); 2]) -> Option<Bytes> {
    let mut out = Vec::with_capacity(text.len() + 16);
    let mut copied = 0;
    for (part, new) in replacements {
        let start = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
        out.extend_from_slice(text.get(copied..start)?);
        out.extend_from_slice(new.as_bytes());
        copied = start + part.len();
    }
    out.extend_from_slice(text.get(copied..)?);
    Some(out.into())
}

impl Registry {
    /// Renews a Lease on the fast path. Returns `None` if the request is no plain renewal, if a
    /// plugin concerns it, or if another writer changed the Lease meanwhile: then it takes the full
    /// path.
    ///
    /// # Errors
    /// 503 when the store refuses the write.
    pub(crate) async fn renew_lease(
        &self,
        call: &Call,
        form: RenewalForm,
        body: &[u8],
    ) -> Result<Option<Written>> {
        if call.kind.storage != STORAGE || !call.subresource.is_empty() || call.options.dry_run {
            return Ok(None);
        }
        if self.admission.concerns(call.request(Operation::Update)) {
            return Ok(None);
        }
        let Some(current) = self.find(&call.kind, &call.namespace, &call.name) else {
            return Ok(None);
        };
        let Some(bytes) = renewed(&current, form, body, &call.manager, &call.time()) else {
            return Ok(None);
        };
        let object = if bytes == current.bytes {
            current
        } else {
            // Times in managedFields have one length, so no field has moved if no byte was added.
            let head = if bytes.len() == current.bytes.len() {
                Ok(current.head)
            } else {
                Head::read(&bytes, None)
            };
            debug_assert_eq!(head.as_ref().ok(), Head::read(&bytes, None).ok().as_ref());
            let write = ObjectWrite {
                key: Arc::clone(&current.key),
                expect: Expect::At(current.revision),
                new: Some(Encoded {
                    head: head.map_err(Status::internal)?,
                    bytes,
                }),
                depends_on: None,
                turn: None,
                dry_run: false,
            };
            match self.commit_object(call, write).await {
                Ok(object) => object,
                Err(CommitError::Conflict | CommitError::Outdated) => return Ok(None),
                Err(CommitError::Failed(status)) => return Err(status),
            }
        };
        Ok(Some(Written {
            object,
            created: false,
            warnings: Vec::new(),
        }))
    }
}

#[cfg(test)]
mod tests;
