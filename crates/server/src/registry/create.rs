//! Creation of objects (POST). Upstream: `registry/rest/create.go`.

use std::sync::Arc;

use pandaemon_machinery::{
    Status, decode::Decoded, defaults, managed_fields, status::Result, strategy, validation,
};
use pandaemon_store::{Expect, Key, Revision};
use serde_json::Value;

use super::{Call, Change, CommitError, ObjectWrite, Registry, Turn, Written};
use crate::{
    admission::{Operation, service},
    cache::{object::Object, watch_cache::key},
    registry::{kinds, meta, suffix},
};

/// Maximum length of `generateName` in a generated name; the rest is cut off.
const MAX_PREFIX_LENGTH: usize = 63 - suffix::LENGTH;
/// How often a creation is tried when a generated name exists already, or the namespace has
/// changed.
const TRIES: usize = 8;

impl Registry {
    /// Creates an object from a decoded body.
    ///
    /// # Errors
    /// The status of a failed check or write: 400, 403, 404, 409, 422 or 503.
    pub(crate) async fn create(&self, call: &Call, body: Decoded) -> Result<Written> {
        let Decoded {
            mut value,
            warnings,
        } = body;
        set_namespace(call, &mut value)?;
        // As upstream, what is no number is none.
        if meta::version(&value).unwrap_or(0) != 0 {
            return Err(Status::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        defaults::apply_defaults(&call.kind, &mut value);
        let new = Change {
            value,
            warnings,
            is_applied: false,
        };
        self.create_new(call, new).await
    }

    /// Creates an object whose defaults are set.
    ///
    /// # Errors
    /// As [`Registry::create`].
    pub(super) async fn create_new(&self, call: &Call, new: Change) -> Result<Written> {
        let Change {
            mut value,
            mut warnings,
            is_applied,
        } = new;
        let generates =
            meta::name(&value).is_empty() && !meta::text(&value, "generateName").is_empty();
        let name = meta_name_for_errors(&value);
        strategy::prepare_create(&call.kind, &mut value);
        fill_system_metadata(call, &mut value);
        if !is_applied {
            managed_fields::track_update(&call.kind, None, &mut value, manager(call, &call.time()));
        }
        let admission = self.admission(Operation::Create, call, &name);
        admission.admit(&mut value).await?;
        if self.admission.writes(call.request(Operation::Create)) {
            // What depends on fields that plugins changed, such as the QoS class.
            call.kind.strategy.prepare_for_create(&mut value);
        }
        self.check_grant(call, None, &value).await?;
        // Held until the object is stored, also while validating plugins look at it: they see the
        // allocated values, which the next creation must see, too.
        let turn = self.turn(call).await;
        service::allocate(self, call, &mut value)?;
        for _ in 0..TRIES {
            if generates {
                let name = generated_name(meta::text(&value, "generateName"));
                meta::set(&mut value, "name", &name);
            }
            let errors = validation::validate_create(&call.kind, &value);
            if !errors.is_empty() {
                return Err(Status::invalid(
                    &call.kind,
                    &meta_name_for_errors(&value),
                    &errors,
                ));
            }
            admission.add_warnings(call.kind.strategy.warnings_on_create(&value));
            // Read before the plugins look at the namespace once more.
            let namespace = self.namespace_guard(call)?;
            admission.validate(&value).await?;
            match self.store_new(call, &value, namespace, turn.clone()).await {
                Ok(object) => {
                    warnings.extend(admission.into_warnings());
                    return Ok(Written {
                        object,
                        created: true,
                        warnings,
                    });
                }
                Err(CommitError::Failed(status)) => return Err(status),
                Err(CommitError::Conflict) if !generates => {
                    return Err(self.already_exists(call, meta::name(&value)));
                }
                Err(CommitError::Conflict | CommitError::Outdated) => {}
            }
        }
        let name = meta::name(&value);
        Err(match generates {
            true => self.already_exists(call, name),
            false => Status::modified_since_read(&call.kind, name),
        })
    }

    /// The status of a name that exists already (409), also when that object is being deleted.
    pub(super) fn already_exists(&self, call: &Call, name: &str) -> Box<Status> {
        let mut status = Status::already_exists(&call.kind, name);
        let other = self.find(&call.kind, &call.namespace, name);
        if other.is_some_and(|other| other.is_terminating()) {
            status.message = format!("object is being deleted: {}", status.message);
        }
        status
    }

    async fn store_new(
        &self,
        call: &Call,
        value: &Value,
        namespace: Option<(Key, Revision)>,
        turn: Option<Turn>,
    ) -> Result<Arc<Object>, CommitError> {
        let encoded = Self::encode(call, value).map_err(CommitError::Failed)?;
        let write = ObjectWrite {
            key: key(&call.kind, &call.namespace, meta::name(value)),
            expect: Expect::Absent,
            new: Some(encoded),
            depends_on: namespace,
            turn,
            dry_run: call.options.dry_run,
        };
        self.commit_object(call, write).await
    }

    /// The namespace of the call as it is now, on which a creation depends; `None` if it has none.
    pub(super) fn namespace_guard(&self, call: &Call) -> Result<Option<(Key, Revision)>> {
        if call.namespace.is_empty() || !call.kind.is_namespaced() {
            return Ok(None);
        }
        let namespace = self.find(kinds::namespaces()?, "", &call.namespace);
        Ok(namespace.map(|namespace| (Arc::clone(&namespace.key), namespace.revision)))
    }
}

/// The field manager of a call, for `metadata.managedFields`.
pub(super) fn manager<'a>(call: &'a Call, now: &'a str) -> managed_fields::FieldManager<'a> {
    managed_fields::FieldManager {
        name: &call.manager,
        subresource: &call.subresource,
        now,
    }
}

/// Sets the namespace of the path, or checks that the object names the same.
pub(crate) fn set_namespace(call: &Call, value: &mut Value) -> Result<()> {
    let given = meta::text(value, "namespace");
    if !call.kind.is_namespaced() {
        meta::set(value, "namespace", "");
        return Ok(());
    }
    if given.is_empty() {
        meta::set(value, "namespace", &call.namespace);
    } else if given != call.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

fn meta_name_for_errors(value: &Value) -> String {
    let name = meta::name(value);
    if name.is_empty() {
        meta::text(value, "generateName").to_owned()
    } else {
        name.to_owned()
    }
}

/// Sets the fields of metadata that only the server sets (upstream's `FillObjectMetaSystemFields`).
fn fill_system_metadata(call: &Call, value: &mut Value) {
    let uid = uuid::Uuid::new_v4().to_string();
    let time = call.time();
    meta::edit(value, |metadata| {
        for field in [
            "resourceVersion",
            "selfLink",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ] {
            metadata.remove(field);
        }
        metadata.insert("uid".into(), uid.into());
        metadata.insert("creationTimestamp".into(), time.into());
    });
}

fn generated_name(prefix: &str) -> String {
    let end = prefix
        .char_indices()
        .nth(MAX_PREFIX_LENGTH)
        .map_or(prefix.len(), |(at, _)| at);
    format!("{}{}", &prefix[..end], suffix::random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_are_cut_and_end_in_five_random_characters() {
        let name = generated_name("web-");
        assert_eq!(name.len(), 9);
        assert!(name.starts_with("web-"));
        assert_eq!(generated_name(&"x".repeat(100)).len(), 63);
    }
}
