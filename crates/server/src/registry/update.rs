//! Updates: PUT, and the read-modify-write loop of all changes of objects.
//! Upstream: `registry/rest/update.go` and `GuaranteedUpdate` of `k8s.io/apiserver/pkg/storage`.

use std::sync::Arc;

use pandaemon_machinery::{
    Status, decode::Decoded, defaults, managed_fields, status::Result, strategy, validation,
};
use pandaemon_store::Expect;
use serde_json::{Map, Value};

use super::{Call, Change, CommitError, ObjectWrite, Registry, Turn, Written, create};
use crate::{
    admission::{Operation, service},
    cache::object::{self, Object, Skip, Unparsed},
    registry::{convert, meta},
};

/// How often a change is tried when other writers change the object meanwhile.
const TRIES: usize = 32;

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
        check_name(call, &value)?;
        create::set_namespace(call, &mut value)?;
        let may_create =
            call.subresource.is_empty() && call.kind.strategy.allows_create_on_update();
        let uid = meta::text(&value, "uid");
        let replace = |old: &Value| {
            if !uid.is_empty() {
                check_precondition(call, "UID", uid, meta::text(old, "uid"))?;
            }
            Ok(Change {
                value: value.clone(),
                warnings: warnings.clone(),
                is_applied: false,
            })
        };
        self.update_or_create(
            call,
            may_create,
            || self.guaranteed_update(call, replace),
            || self.create_on_update(call, &value, &warnings),
        )
        .await
    }

    /// Updates an object, or creates it if it does not exist and this may create it. Starts again
    /// if the object comes or goes meanwhile.
    pub(super) async fn update_or_create<U, C>(
        &self,
        call: &Call,
        may_create: bool,
        update: impl Fn() -> U,
        create: impl Fn() -> C,
    ) -> Result<Written>
    where
        U: Future<Output = Result<Written>>,
        C: Future<Output = Result<Written>>,
    {
        if !may_create {
            return update().await;
        }
        for _ in 0..TRIES {
            let exists = self.exists(call);
            let written = match exists {
                true => update().await,
                false => create().await,
            };
            if !self.has_come_or_gone(call, exists, &written) {
                return written;
            }
        }
        Err(Status::modified_since_read(&call.kind, &call.name))
    }

    /// Whether the object of a call exists.
    fn exists(&self, call: &Call) -> bool {
        self.find(&call.kind, &call.namespace, &call.name).is_some()
    }

    /// Whether a write has failed because the object that existed is gone, or one that did not has
    /// been created meanwhile. Then a write that may do both starts again.
    fn has_come_or_gone(&self, call: &Call, existed: bool, written: &Result<Written>) -> bool {
        let Err(status) = written else {
            return false;
        };
        match existed {
            true => status.code == 404 && !self.exists(call),
            false => status.reason == "AlreadyExists" && self.exists(call),
        }
    }

    /// Creates the object of a PUT. Its version is not looked at, as upstream.
    async fn create_on_update(
        &self,
        call: &Call,
        value: &Value,
        warnings: &[String],
    ) -> Result<Written> {
        let uid = meta::text(value, "uid");
        if !uid.is_empty() {
            check_precondition(call, "UID", uid, "")?;
        }
        call.check_may_create().await?;
        let mut value = value.clone();
        meta::set(&mut value, "resourceVersion", "");
        let warnings = warnings.to_vec();
        self.create(call, Decoded { value, warnings }).await
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
        check_version(call, old, new)?;
        if without_spec {
            remove_spec(new);
        }
        defaults::apply_defaults(&call.kind, new);
        if without_spec {
            remove_spec(new);
        }
        meta::set(new, "resourceVersion", meta::text(old, "resourceVersion"));
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

/// Checks that a new object has the name and the namespace of the path. Upstream: `checkName` of
/// `endpoints/handlers/rest.go`.
pub(super) fn check_name(call: &Call, value: &Value) -> Result<()> {
    let (wanted, name) = (&call.name, meta::name(value));
    let namespace = meta::text(value, "namespace");
    let is_elsewhere = !namespace.is_empty() && namespace != call.namespace;
    let why = if call.kind.is_namespaced() && is_elsewhere {
        format!(
            "the namespace of the object ({namespace}) does not match the namespace on the request ({})",
            call.namespace
        )
    } else if name.is_empty() {
        format!(
            "the name of the object ({wanted} based on URL) was undeterminable: name must be provided"
        )
    } else if name != wanted {
        format!("the name of the object ({name}) does not match the name on the URL ({wanted})")
    } else {
        return Ok(());
    };
    Err(Status::bad_request(why))
}

fn version_required(call: &Call) -> Box<Status> {
    let error = validation::FieldError {
        field: "metadata.resourceVersion".into(),
        error_type: validation::ErrorType::Invalid("0x0".into()),
        detail: "must be specified for an update".into(),
    };
    // As upstream, with the name of the resource.
    Status::invalid_kind(&call.kind.group, &call.kind.plural, &call.name, &[error])
}

/// Checks that a new object was made from the current one, if it names a version. No version, or
/// version 0, is an unconditional update.
fn check_version(call: &Call, old: &Value, new: &Value) -> Result<()> {
    let version = meta::version(new)?;
    if version == 0 {
        return match call.kind.strategy.allows_unconditional_update() {
            true => Ok(()),
            false => Err(version_required(call)),
        };
    }
    match version == meta::version(old)? {
        true => Ok(()),
        false => Err(Status::modified_since_read(&call.kind, &call.name)),
    }
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
