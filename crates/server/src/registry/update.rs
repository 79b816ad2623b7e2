//! Updates: PUT, and the read-modify-write loop of all changes of objects.
//! Upstream: `registry/rest/update.go` and `GuaranteedUpdate` of `k8s.io/apiserver/pkg/storage`.

use std::sync::Arc;

use pandaemon_machinery::{
    Status, decode::Decoded, defaults, managed_fields, status::Result, strategy, validation,
};
use pandaemon_store::Expect;
use serde_json::{Map, Value};

use super::{Call, CommitError, ObjectWrite, Registry, Turn, Written, create};
use crate::{
    admission::{Operation, service},
    cache::object::{self, Object, Skip, Unparsed},
    registry::{convert, meta},
};

/// How often a change is tried when other writers change the object meanwhile.
const TRIES: usize = 32;

/// The result of a change function: a new state of the object.
#[derive(Debug)]
pub(crate) struct Change {
    /// The new state of the object.
    pub value: Value,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
    /// Whether managedFields are set already (server-side apply).
    pub is_applied: bool,
}

/// A new state that a program made.
impl From<Value> for Change {
    fn from(value: Value) -> Self {
        Self {
            value,
            warnings: Vec::new(),
            is_applied: false,
        }
    }
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
    /// The status of a failed check or write: 400, 403, 404, 409, 422 or 503.
    pub(crate) async fn update(&self, call: &Call, body: Decoded) -> Result<Written> {
        let Decoded {
            mut value,
            warnings,
        } = body;
        check_name(call, &mut value)?;
        create::set_namespace(call, &mut value)?;
        if self.find(&call.kind, &call.namespace, &call.name).is_none()
            && call.subresource.is_empty()
            && call.kind.strategy.allows_create_on_update()
        {
            call.check_may_create().await?;
            return self.create(call, Decoded { value, warnings }).await;
        }
        let version = meta::text(&value, "resourceVersion").to_owned();
        if version.is_empty() && !call.kind.strategy.allows_unconditional_update() {
            return Err(version_required(call));
        }
        self.guaranteed_update(call, |_| {
            Ok(Change {
                value: value.clone(),
                warnings: warnings.clone(),
                is_applied: false,
            })
        })
        .await
    }

    /// Changes an object with a function of its current state. Tries again when another writer
    /// changes the object meanwhile. Upstream: `GuaranteedUpdate`.
    ///
    /// # Errors
    /// The status of a failed check or write, and any error of `make`.
    pub(crate) async fn guaranteed_update(
        &self,
        call: &Call,
        make: impl Fn(&Value) -> Result<Change>,
    ) -> Result<Written> {
        self.guaranteed_update_with(call, None, make).await
    }

    /// As [`Registry::guaranteed_update`]. With `spec_fields` the spec is not changed, and only
    /// these fields of it are parsed, for admission and validation: it is most of a pod, and status
    /// updates are frequent. `make` then sees the object without its spec.
    ///
    /// # Errors
    /// As [`Registry::guaranteed_update`].
    pub(super) async fn guaranteed_update_with(
        &self,
        call: &Call,
        spec_fields: Option<&[&str]>,
        make: impl Fn(&Value) -> Result<Change>,
    ) -> Result<Written> {
        for _ in 0..TRIES {
            let current = self.current(call)?;
            let (mut old, unparsed) = if spec_fields.is_some() {
                current
                    .value_without(Skip::Spec)
                    .map_err(super::unreadable)?
            } else {
                let value = current.value().map_err(super::unreadable)?;
                (value, Unparsed::default())
            };
            convert::from_stored(&call.kind, &mut old);
            let mut change = make(&old)?;
            Self::prepare(call, &old, &mut change, unparsed.spec.is_some())?;
            if let Some(spec) = unparsed.spec {
                let fields = spec_fields.unwrap_or_default();
                let excerpt = object::pick(spec, fields).map_err(Status::internal)?;
                insert_spec(&mut old, excerpt.clone());
                insert_spec(&mut change.value, excerpt);
            }
            let turn = self.check(call, &old, &mut change).await?;
            if unparsed.spec.is_some() {
                remove_spec(&mut old);
                remove_spec(&mut change.value);
            }
            if same(&old, &change.value) {
                return Ok(Written {
                    object: current,
                    created: false,
                    warnings: change.warnings,
                });
            }
            match self
                .store_change(call, &current, &change.value, unparsed, turn)
                .await
            {
                Ok(object) => {
                    return Ok(Written {
                        object,
                        created: false,
                        warnings: change.warnings,
                    });
                }
                Err(CommitError::Failed(status)) => return Err(status),
                Err(CommitError::Conflict | CommitError::Outdated) => {}
            }
        }
        Err(Status::modified_since_read(&call.kind, &call.name))
    }

    /// Completes a changed object: defaults, system metadata, strategy and managedFields.
    fn prepare(call: &Call, old: &Value, change: &mut Change, without_spec: bool) -> Result<()> {
        let new = &mut change.value;
        check_identity(call, old, new)?;
        if without_spec {
            remove_spec(new);
        }
        defaults::apply_defaults(&call.kind, new);
        if without_spec {
            remove_spec(new);
        }
        keep_system_metadata(old, new);
        strategy::prepare_update(&call.kind, &call.subresource, old, new);
        if !change.is_applied {
            managed_fields::track_update(
                &call.kind,
                Some(old),
                new,
                create::manager(call, &call.time()),
            );
        }
        Ok(())
    }

    /// Runs admission and validation. Returns the turn that lasts until the object is stored.
    async fn check(&self, call: &Call, old: &Value, change: &mut Change) -> Result<Option<Turn>> {
        let new = &mut change.value;
        let admission = self.admission(Operation::Update, call, &call.name).of(old);
        admission.admit(new).await?;
        if self.admission.writes(call.request(Operation::Update)) {
            // A plugin changes no more than the client can: a write to the status keeps the spec.
            strategy::prepare_update(&call.kind, &call.subresource, old, new);
        }
        self.check_grant(call, Some(old), new).await?;
        let turn = self.turn(call).await;
        service::allocate(self, call, new)?;
        let errors = validation::validate_update(&call.kind, &call.subresource, old, new);
        if !errors.is_empty() {
            return Err(Status::invalid(&call.kind, &call.name, &errors));
        }
        if call.subresource.is_empty() {
            admission.add_warnings(call.kind.strategy.warnings_on_update(old, new));
        }
        admission.validate(new).await?;
        change.warnings.extend(admission.into_warnings());
        Ok(turn)
    }

    async fn store_change(
        &self,
        call: &Call,
        current: &Arc<Object>,
        new: &Value,
        unparsed: Unparsed<'_>,
        turn: Option<Turn>,
    ) -> Result<Arc<Object>, CommitError> {
        let encoded = Self::encode_with(call, new, unparsed).map_err(CommitError::Failed)?;
        let ends = meta::is_terminating(new)
            && meta::finalizers(new).is_empty()
            && meta::grace(new).unwrap_or(0) == 0
            && !call.kind.strategy.has_more_finalizers(new);
        let write = ObjectWrite {
            key: Arc::clone(&current.key),
            expect: Expect::At(current.revision),
            new: (!ends).then(|| encoded.clone()),
            depends_on: None,
            turn,
            dry_run: call.options.dry_run,
        };
        let committed = self.commit(call, write).await?;
        // The answer to an update that ends an object is what it would have become.
        let last = || Object::new(Arc::clone(&current.key), encoded, current.revision);
        Ok(committed.unwrap_or_else(|| Arc::new(last())))
    }
}

pub(super) fn remove_spec(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("spec");
    }
}

pub(super) fn insert_spec(object: &mut Value, spec: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert("spec".to_owned(), spec);
    }
}

/// Checks that name and namespace of the body are those of the path, and sets a missing name.
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

fn version_required(call: &Call) -> Box<Status> {
    let error = validation::FieldError {
        field: "metadata.resourceVersion".into(),
        error_type: validation::ErrorType::Invalid("0x0".into()),
        detail: "must be specified for an update".into(),
    };
    Status::invalid(&call.kind, &call.name, &[error])
}

/// Checks uid and resource version of the new object against the current one, if they are given.
fn check_identity(call: &Call, old: &Value, new: &Value) -> Result<()> {
    let wanted = meta::text(new, "uid");
    if !wanted.is_empty() {
        check_precondition(call, "UID", wanted, meta::text(old, "uid"))?;
    }
    let version = meta::text(new, "resourceVersion");
    if !version.is_empty() && version != "0" && version != meta::text(old, "resourceVersion") {
        return Err(Status::modified_since_read(&call.kind, &call.name));
    }
    Ok(())
}

/// Checks that the current object is the one that a write is about. Upstream:
/// `Preconditions.Check` of `k8s.io/apiserver/pkg/storage`.
///
/// # Errors
/// 409 if it is another one.
pub(crate) fn check_precondition(call: &Call, what: &str, wanted: &str, found: &str) -> Result<()> {
    if wanted == found {
        return Ok(());
    }
    let why = format!(
        "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
    );
    Err(Status::conflict(&call.kind, &call.name, &why))
}

/// Restores the fields of metadata that clients cannot change.
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

/// Whether two objects are equal except for the times in managedFields. Such a change is not
/// stored.
fn same(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return old == new;
    };
    // Most objects differ in spec or status, which come last: compare those first.
    old.len() == new.len()
        && old
            .iter()
            .rev()
            .zip(new.iter().rev())
            .all(|((old_name, old), (new_name, new))| {
                old_name == new_name
                    && match old_name.as_str() {
                        "metadata" => same_except(old, new, "managedFields", same_managed_fields),
                        _ => old == new,
                    }
            })
}

fn same_managed_fields(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_array(), new.as_array()) else {
        return old == new;
    };
    let pairs = || old.iter().zip(new);
    old.len() == new.len() && pairs().all(|(old, new)| same_except(old, new, "time", |_, _| true))
}

/// Whether two objects are equal, comparing one field with `equal`. A missing field counts as null.
fn same_except(old: &Value, new: &Value, field: &str, equal: fn(&Value, &Value) -> bool) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return old == new;
    };
    let rest = |map: &Map<String, Value>| map.len() - usize::from(map.contains_key(field));
    rest(old) == rest(new)
        && old.iter().all(|(name, value)| match new.get(name) {
            Some(other) if name == field => equal(value, other),
            Some(other) => value == other,
            // Entries may differ in `time`; missing managedFields differ.
            None => name == field && equal(value, &Value::Null),
        })
        && (old.contains_key(field)
            || new
                .get(field)
                .is_none_or(|value| equal(&Value::Null, value)))
}
