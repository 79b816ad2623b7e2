//! Making objects.

use std::sync::Arc;

use pandaemon_machinery::{
    Kind, Status, decode::Decoded, defaults, managed_fields, status::Result, strategy, validation,
};
use pandaemon_store::{Expect, Op};
use serde_json::Value;

use super::{Call, CommitError, Registry, Written};
use crate::{admission, cache::key, meta, object::Object};

/// What generated names end in: no vowels, so no words.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX: usize = 5;
/// A generated name is cut so that its suffix fits.
const GENERATED_MAX: usize = 63 - SUFFIX;
/// How often another name is tried when a generated one is taken.
const NAME_TRIES: usize = 8;

impl Registry {
    /// Makes an object from a decoded body.
    ///
    /// # Errors
    /// Whatever stands against it, as a `Status`.
    pub async fn create(&self, call: &Call, body: Decoded) -> Result<Written> {
        let Decoded {
            mut value,
            warnings,
        } = body;
        take_namespace(call, &mut value)?;
        if !meta::text(&value, "resourceVersion").is_empty() {
            return Err(Status::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        defaults::apply_defaults(call.kind, &mut value);
        self.create_checked(call, value, warnings, |_| Ok(())).await
    }

    /// Makes an object that has its defaults; `check` sees it last.
    ///
    /// # Errors
    /// As [`Registry::create`].
    pub async fn create_checked(
        &self,
        call: &Call,
        mut value: Value,
        mut warnings: Vec<String>,
        check: impl Fn(&Value) -> Result<()>,
    ) -> Result<Written> {
        let generates =
            meta::name(&value).is_empty() && !meta::text(&value, "generateName").is_empty();
        self.check_namespace(call, &meta_name_for_errors(&value))?;
        strategy::prepare_create(call.kind, &mut value);
        stamp(call, &mut value);
        let is_applied = meta::of(&value).is_some_and(|m| m.contains_key("managedFields"));
        if !is_applied {
            managed_fields::track_update(call.kind, None, &mut value, manager(call, &call.time()));
        }
        let _turn = match call.kind.storage {
            "services" => Some(self.service_lock.lock().await),
            _ => None,
        };
        admission::admit_create(self, call, &mut value, &mut warnings)?;
        check(&value)?;
        for _ in 0..NAME_TRIES {
            if generates {
                let name = generated_name(meta::text(&value, "generateName"));
                meta::set(&mut value, "name", &name);
            }
            let errors = validation::validate_create(call.kind, &value);
            if !errors.is_empty() {
                return Err(Status::invalid(
                    call.kind,
                    &meta_name_for_errors(&value),
                    &errors,
                ));
            }
            match self.store_new(call, &value).await {
                Ok(object) => {
                    return Ok(Written {
                        object,
                        created: true,
                        warnings,
                    });
                }
                Err(CommitError::Failed(status)) => return Err(status),
                Err(CommitError::Conflict(_)) if generates => {}
                Err(CommitError::Conflict(_)) => break,
            }
        }
        Err(self.taken(call, meta::name(&value)))
    }

    /// 409 of a name that is in use, also by something that is going away.
    pub(super) fn taken(&self, call: &Call, name: &str) -> Box<Status> {
        let mut status = Status::already_exists(call.kind, name);
        let other = self.find(call.kind, &call.namespace, name);
        if other.is_some_and(|other| other.is_terminating) {
            status.message = format!("object is being deleted: {}", status.message);
        }
        status
    }

    async fn store_new(&self, call: &Call, value: &Value) -> Result<Arc<Object>, CommitError> {
        let key = key(call.kind, &call.namespace, meta::name(value));
        let bytes = Self::encode(call, value).map_err(CommitError::Failed)?;
        let revision = if call.options.dry_run {
            if self
                .cache
                .of(call.kind)
                .is_some_and(|kind| kind.get(&key).is_some())
            {
                return Err(CommitError::Conflict(None));
            }
            0
        } else {
            self.commit(
                call,
                Arc::clone(&key),
                Expect::Absent,
                Op::Put(bytes.clone()),
            )
            .await?
        };
        self.written(call, key, bytes, revision)
    }

    /// Refuses to make things in namespaces that are missing or going away.
    fn check_namespace(&self, call: &Call, name: &str) -> Result<()> {
        if call.namespace.is_empty() || !call.kind.is_namespaced() {
            return Ok(());
        }
        let Some(namespaces) = pandaemon_machinery::scheme::find_resource("", "v1", "namespaces")
        else {
            return Ok(());
        };
        let Some(namespace) = self.find(namespaces, "", &call.namespace) else {
            return Err(Status::not_found(namespaces, &call.namespace));
        };
        if namespace.is_terminating {
            return Err(terminating(call.kind, &call.namespace, name));
        }
        Ok(())
    }
}

/// 403 of a namespace that is going away.
fn terminating(kind: &Kind, namespace: &str, name: &str) -> Box<Status> {
    let why = format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    );
    let mut status = Status::forbidden(kind, name, &why);
    if let Some(details) = status.details.as_mut() {
        details.causes.push(pandaemon_machinery::status::Cause {
            reason: "NamespaceTerminating".into(),
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".into(),
        });
    }
    status
}

/// The field manager of a call, for the books of `metadata.managedFields`.
pub(super) fn manager<'a>(call: &'a Call, now: &'a str) -> managed_fields::FieldManager<'a> {
    managed_fields::FieldManager {
        name: &call.manager,
        subresource: &call.subresource,
        now,
    }
}

/// The object lives where the path says.
pub(super) fn take_namespace(call: &Call, value: &mut Value) -> Result<()> {
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

/// Sets what only the server says.
fn stamp(call: &Call, value: &mut Value) {
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
        .nth(GENERATED_MAX)
        .map_or(prefix.len(), |(at, _)| at);
    let mut name = prefix[..end].to_owned();
    let random = uuid::Uuid::new_v4().into_bytes();
    for byte in random.iter().take(SUFFIX) {
        name.push(char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_are_short_and_end_in_five_letters() {
        let name = generated_name("web-");
        assert_eq!(name.len(), 9);
        assert!(name.starts_with("web-"));
        assert_eq!(generated_name(&"x".repeat(100)).len(), 63);
    }
}
