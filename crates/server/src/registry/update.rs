//! Changing objects: the one loop under PUT, all patches and all subresources that write.

use std::sync::Arc;

use pandaemon_machinery::{
    Status, decode::Decoded, defaults, managed_fields, status::Result, strategy, validation,
};
use pandaemon_store::{Expect, Op};
use serde_json::{Map, Value};

use super::{Call, CommitError, Registry, Written, create};
use crate::{admission, convert, meta, object::Object};

/// How often a change is tried again when somebody else was first.
const TRIES: usize = 32;

/// Kinds whose PUT makes the object if it is not there.
const CREATE_ON_UPDATE: [&str; 5] = [
    "endpoints",
    "events",
    "leases",
    "priorityclasses",
    "services",
];

/// A changed object, and how it came about.
#[derive(Debug)]
pub struct Change {
    /// What it shall be.
    pub value: Value,
    /// Texts for the client.
    pub warnings: Vec<String>,
    /// Ownership of fields is recorded already (server-side apply).
    pub is_applied: bool,
}

impl From<Decoded> for Change {
    fn from(decoded: Decoded) -> Self {
        Self {
            value: decoded.value,
            warnings: decoded.warnings,
            is_applied: false,
        }
    }
}

impl Registry {
    /// PUT: replaces an object.
    ///
    /// # Errors
    /// Whatever stands against it, as a `Status`.
    pub async fn update(&self, call: &Call, body: Decoded) -> Result<Written> {
        let Decoded {
            mut value,
            warnings,
        } = body;
        check_name(call, &mut value)?;
        create::take_namespace(call, &mut value)?;
        if self.find(call.kind, &call.namespace, &call.name).is_none()
            && call.subresource.is_empty()
            && CREATE_ON_UPDATE.contains(&call.kind.plural)
        {
            return self.create(call, Decoded { value, warnings }).await;
        }
        let version = meta::text(&value, "resourceVersion").to_owned();
        if version.is_empty() && call.kind.plural == "leases" {
            return Err(must_name_version(call));
        }
        self.change(call, |_| {
            Ok(Change {
                value: value.clone(),
                warnings: warnings.clone(),
                is_applied: false,
            })
        })
        .await
    }

    /// Changes an object by a function of what it is now, again when somebody else was first.
    ///
    /// # Errors
    /// Whatever stands against it, as a `Status`.
    pub async fn change(
        &self,
        call: &Call,
        make: impl Fn(&Value) -> Result<Change>,
    ) -> Result<Written> {
        self.change_but(call, false, make).await
    }

    /// [`Registry::change`], where the spec stays as it is whatever `make` says (`keeps_spec`). Then it is set
    /// aside meanwhile: it is most of a pod, and nodes report status all day.
    ///
    /// # Errors
    /// As [`Registry::change`].
    pub(super) async fn change_but(
        &self,
        call: &Call,
        keeps_spec: bool,
        make: impl Fn(&Value) -> Result<Change>,
    ) -> Result<Written> {
        for _ in 0..TRIES {
            let current = self.current(call)?;
            let (mut old, spec) = if keeps_spec {
                current.value_and_spec().map_err(super::unreadable)?
            } else {
                (current.value().map_err(super::unreadable)?, None)
            };
            convert::from_stored(call.kind, &mut old);
            let mut change = make(&old)?;
            Self::prepare(call, &old, &mut change, spec.is_some())?;
            let is_same = match spec {
                Some(spec) => {
                    let is_same = same(&old, &change.value);
                    self.check_beside(call, &mut old, &mut change, spec)?;
                    is_same
                }
                None => {
                    self.check(call, &old, &mut change)?;
                    same(&old, &change.value)
                }
            };
            if is_same {
                return Ok(Written {
                    object: current,
                    created: false,
                    warnings: change.warnings,
                });
            }
            match self.store_change(call, &current, &change.value, spec).await {
                Ok(object) => {
                    return Ok(Written {
                        object,
                        created: false,
                        warnings: change.warnings,
                    });
                }
                Err(CommitError::Failed(status)) => return Err(status),
                Err(CommitError::Conflict(_)) => {}
            }
        }
        Err(Status::modified_since_read(call.kind, &call.name))
    }

    /// [`Registry::check`] of objects without their spec: both get as much of it as a change of a pod's status
    /// is checked by.
    fn check_beside(
        &self,
        call: &Call,
        old: &mut Value,
        change: &mut Change,
        spec: &[u8],
    ) -> Result<()> {
        let short = super::spec_in_short(spec)?;
        put_spec(old, short.clone());
        put_spec(&mut change.value, short);
        self.check(call, old, change)?;
        cut_spec(&mut change.value);
        Ok(())
    }

    /// Everything between what the client wants and what is checked.
    fn prepare(call: &Call, old: &Value, change: &mut Change, without_spec: bool) -> Result<()> {
        let new = &mut change.value;
        check_identity(call, old, new)?;
        if without_spec {
            cut_spec(new);
        }
        defaults::apply_defaults(call.kind, new);
        if without_spec {
            cut_spec(new);
        }
        keep_system_metadata(old, new);
        strategy::prepare_update(call.kind, &call.subresource, old, new);
        if !change.is_applied {
            managed_fields::track_update(
                call.kind,
                Some(old),
                new,
                create::manager(call, &call.time()),
            );
        }
        Ok(())
    }

    fn check(&self, call: &Call, old: &Value, change: &mut Change) -> Result<()> {
        let new = &mut change.value;
        admission::admit_update(self, call, old, new, &mut change.warnings)?;
        let errors = validation::validate_update(call.kind, &call.subresource, old, new);
        if errors.is_empty() {
            return Ok(());
        }
        Err(Status::invalid(call.kind, &call.name, &errors))
    }

    async fn store_change(
        &self,
        call: &Call,
        current: &Arc<Object>,
        new: &Value,
        spec: Option<&[u8]>,
    ) -> Result<Arc<Object>, CommitError> {
        let bytes = Self::encode_with(call, new, spec).map_err(CommitError::Failed)?;
        let (key, expect) = (Arc::clone(&current.key), Expect::At(current.revision));
        let ends = meta::is_terminating(new)
            && meta::finalizers(new).is_empty()
            && meta::grace(new).unwrap_or(0) == 0
            && !super::delete::has_spec_finalizers(call.kind, new);
        let op = if ends {
            Op::Delete
        } else {
            Op::Put(bytes.clone())
        };
        let revision = match call.options.dry_run {
            true => current.revision,
            false => self.commit(call, Arc::clone(&key), expect, op).await?,
        };
        self.written(call, key, bytes, revision)
    }
}

fn cut_spec(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("spec");
    }
}

fn put_spec(object: &mut Value, spec: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert("spec".to_owned(), spec);
    }
}

/// The name and the namespace of the body are those of the path.
fn check_name(call: &Call, value: &mut Value) -> Result<()> {
    let namespace = meta::text(value, "namespace");
    if call.kind.is_namespaced() && !namespace.is_empty() && namespace != call.namespace {
        return Err(Status::bad_request(format!(
            "the namespace of the object ({namespace}) does not match the namespace on the request ({})",
            call.namespace
        )));
    }
    let given = meta::name(value).to_owned();
    if given.is_empty() {
        meta::set(value, "name", &call.name);
    } else if given != call.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            call.name
        )));
    }
    Ok(())
}

fn must_name_version(call: &Call) -> Box<Status> {
    let error = validation::FieldError {
        field: "metadata.resourceVersion".into(),
        error_type: validation::ErrorType::Invalid("0x0".into()),
        detail: "must be specified for an update".into(),
    };
    Status::invalid(call.kind, &call.name, &[error])
}

/// The client means the object that is there: its version and its uid, if it names them.
fn check_identity(call: &Call, old: &Value, new: &Value) -> Result<()> {
    let (wanted, found) = (meta::text(new, "uid"), meta::text(old, "uid"));
    if !wanted.is_empty() && wanted != found {
        let why = format!(
            "Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
        );
        return Err(Status::conflict(call.kind, &call.name, &why));
    }
    let version = meta::text(new, "resourceVersion");
    if !version.is_empty() && version != "0" && version != meta::text(old, "resourceVersion") {
        return Err(Status::modified_since_read(call.kind, &call.name));
    }
    Ok(())
}

/// What no client changes.
fn keep_system_metadata(old: &Value, new: &mut Value) {
    const KEPT: [&str; 7] = [
        "uid",
        "name",
        "namespace",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
    ];
    meta::edit(new, |metadata| {
        metadata.remove("selfLink");
        for field in KEPT {
            match meta::of(old).and_then(|m| m.get(field)) {
                Some(value) => metadata.insert(field.into(), value.clone()),
                None => metadata.remove(field),
            };
        }
    });
}

/// Whether nothing changed but the times in the books of field ownership.
fn same(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return old == new;
    };
    // Status and spec are where objects differ, and they come last: look there first.
    old.len() == new.len()
        && old
            .iter()
            .rev()
            .zip(new.iter().rev())
            .all(|((old_name, old), (new_name, new))| {
                old_name == new_name
                    && match old_name.as_str() {
                        "metadata" => same_but(old, new, "managedFields", same_books),
                        _ => old == new,
                    }
            })
}

fn same_books(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_array(), new.as_array()) else {
        return old == new;
    };
    let pairs = || old.iter().zip(new);
    old.len() == new.len() && pairs().all(|(old, new)| same_but(old, new, "time", |_, _| true))
}

/// Whether two objects are equal, with an equality of its own for one of their fields.
fn same_but(old: &Value, new: &Value, field: &str, equal: fn(&Value, &Value) -> bool) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return old == new;
    };
    let rest = |map: &Map<String, Value>| map.len() - usize::from(map.contains_key(field));
    rest(old) == rest(new)
        && old.iter().all(|(name, value)| match new.get(name) {
            Some(other) if name == field => equal(value, other),
            Some(other) => value == other,
            // Books that lack a time are as good as those that have one; books that are gone are not.
            None => name == field && equal(value, &Value::Null),
        })
        && (old.contains_key(field)
            || new
                .get(field)
                .is_none_or(|value| equal(&Value::Null, value)))
}
