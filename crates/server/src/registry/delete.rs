//! Deletion of objects: grace periods, finalizers, propagation and preconditions.
//! Upstream: `registry/rest/delete.go` and `registry/generic/registry/store.go`.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use pandaemon_machinery::{
    Kind, Status,
    kind::GracePeriod,
    status::{Details, Result},
};
use pandaemon_store::Expect;
use pandaemon_types::time::rfc3339_seconds;
use serde_json::{Value, json};

use super::{
    Call, CommitError, ObjectWrite, Registry,
    list_meta::ListMeta,
    options::{DeleteOptions, Propagation},
    read::ListOptions,
    update::{insert_spec, remove_spec},
};
use crate::{
    admission::Operation,
    cache::object::{self, Object, Skip, Unparsed},
    registry::meta,
};

/// How often a deletion is tried when other writers change the object meanwhile.
const TRIES: usize = 32;
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// The outcome of a deletion, as it is answered.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// The object: it is terminating, or its kind answers with the deleted object.
    Object(Arc<Object>),
    /// The object is deleted; the answer is this status.
    Gone(Box<Status>),
}

/// A deletion that succeeded.
#[derive(Debug)]
pub(crate) struct Deletion {
    /// What has become of the object.
    pub outcome: Deleted,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
}

/// What a deletion does to an object.
#[derive(Debug, PartialEq)]
pub(crate) enum DeleteAction {
    /// Nothing: the object is terminating already.
    Keep,
    /// Sets the deletion timestamp; finalizers or the node agent finish the deletion later.
    Mark(Value),
    /// Deletes it now.
    Remove,
}

impl Registry {
    /// DELETE of the selected objects of a collection. Returns them as they were, and the texts for
    /// `Warning` headers.
    ///
    /// # Errors
    /// As [`Registry::list`], and as [`Registry::delete`] for the first that cannot be deleted; the
    /// others before it are.
    pub(crate) async fn delete_collection(
        &self,
        call: &Call,
        options: &DeleteOptions,
        selected: &ListOptions,
    ) -> Result<(ListMeta, Vec<Arc<Object>>, Vec<String>)> {
        let (meta, objects) = self.list(selected).await?;
        let mut warnings = Vec::new();
        for object in &objects {
            let one = Call {
                namespace: object.namespace().into(),
                name: object.name().into(),
                ..call.clone()
            };
            match self.delete(&one, options).await {
                Err(status) if status.code != 404 => return Err(status),
                Ok(deletion) => warnings.extend(deletion.warnings),
                Err(_) => {}
            }
        }
        Ok((meta, objects, warnings))
    }

    /// DELETE of one object.
    ///
    /// # Errors
    /// 404; 403 for protected objects; 409 for failed preconditions; 503 when the store refuses.
    pub(crate) async fn delete(&self, call: &Call, options: &DeleteOptions) -> Result<Deletion> {
        if options.ignore_read_error {
            self.delete_unreadable(call, options.dry_run).await?;
            let named = json!({"metadata": {"name": call.name}});
            return Ok(Deletion {
                outcome: Deleted::Gone(deleted_status(&call.kind, &named)),
                warnings: Vec::new(),
            });
        }
        for _ in 0..TRIES {
            let current = self.current(call)?;
            let (old, unparsed) = self.read_for_deletion(call, &current)?;
            check_preconditions(call, options, &old)?;
            let admission = self.admission(Operation::Delete, call, &call.name);
            let admission = admission.of(&old).with_dry_run(options.dry_run);
            let warnings = admission.run(&mut Value::Null).await?;
            let done = |outcome| Ok(Deletion { outcome, warnings });
            let new = match delete_action(&call.kind, &old, options, call.now) {
                DeleteAction::Keep => return done(Deleted::Object(current)),
                DeleteAction::Mark(mut value) => {
                    if unparsed.spec.is_some() {
                        remove_spec(&mut value);
                    }
                    let index = call.kind.strategy.indexed_field();
                    let encoded = object::encode_with(&value, unparsed, index);
                    Some(encoded.map_err(Status::internal)?)
                }
                DeleteAction::Remove => None,
            };
            let write = ObjectWrite {
                key: Arc::clone(&current.key),
                expect: Expect::At(current.revision),
                new,
                depends_on: None,
                turn: None,
                dry_run: options.dry_run,
            };
            match self.commit(call, write).await {
                Ok(Some(marked)) => return done(Deleted::Object(marked)),
                Ok(None) if call.kind.strategy.returns_deleted_object() => {
                    return done(Deleted::Object(current));
                }
                Ok(None) => return done(Deleted::Gone(deleted_status(&call.kind, &old))),
                Err(CommitError::Failed(status)) => return Err(status),
                Err(CommitError::Conflict | CommitError::Outdated) => {}
            }
        }
        Err(Status::modified_since_read(&call.kind, &call.name))
    }

    /// The parsed object and what is not parsed of it, unless a plugin reads it: a deletion does
    /// not change managedFields, and where the spec is most of an object, only some fields are
    /// read.
    fn read_for_deletion<'a>(
        &self,
        call: &Call,
        current: &'a Object,
    ) -> Result<(Value, Unparsed<'a>)> {
        let request = call.request(Operation::Delete);
        if self.admission.reads(request, "/metadata/managedFields") {
            let value = current.value().map_err(super::unreadable)?;
            return Ok((value, Unparsed::default()));
        }
        let spec_fields = self.admission.spec_fields(request);
        let skip = match spec_fields {
            Some(_) => Skip::SpecAndManagedFields,
            None => Skip::ManagedFields,
        };
        let (mut value, unparsed) = current.value_without(skip).map_err(super::unreadable)?;
        if let Some(spec) = unparsed.spec {
            let names = spec_fields.as_deref().unwrap_or_default();
            let excerpt = object::pick(spec, names).map_err(Status::internal)?;
            insert_spec(&mut value, excerpt);
        }
        Ok((value, unparsed))
    }
}

fn check_preconditions(call: &Call, options: &DeleteOptions, old: &Value) -> Result<()> {
    let refuse = |what: &str, wanted: &str, found: &str, guess: &str| {
        let why = format!(
            "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might have been {guess}"
        );
        // Upstream names the kind here, not the resource.
        let kind = &call.kind;
        let text = format!(
            "Operation cannot be fulfilled on {} {:?}: {why}",
            kind.qualified_kind(),
            call.name
        );
        Status::failure(409, "Conflict", text).with_details(Details {
            name: call.name.clone(),
            group: kind.group.clone(),
            kind: kind.kind.clone(),
            ..Details::default()
        })
    };
    let (uid, version) = (meta::text(old, "uid"), meta::text(old, "resourceVersion"));
    match (
        &options.preconditions.uid,
        &options.preconditions.resource_version,
    ) {
        (Some(wanted), _) if wanted != uid => {
            Err(refuse("UID", wanted, uid, "deleted and then recreated"))
        }
        (_, Some(wanted)) if wanted != version => {
            Err(refuse("ResourceVersion", wanted, version, "modified"))
        }
        _ => Ok(()),
    }
}

/// The status that answers the deletion of an object.
#[must_use]
pub(crate) fn deleted_status(kind: &Kind, object: &Value) -> Box<Status> {
    Status::success(Some(Details {
        name: meta::name(object).into(),
        group: kind.group.clone(),
        kind: kind.plural.clone(),
        uid: meta::text(object, "uid").into(),
        ..Details::default()
    }))
}

/// Decides what a deletion does to an object. Pure.
pub(crate) fn delete_action(
    kind: &Kind,
    old: &Value,
    options: &DeleteOptions,
    now: Timestamp,
) -> DeleteAction {
    let grace = match kind.strategy.grace_period(old, options.grace_seconds) {
        GracePeriod::Unchanged => return DeleteAction::Keep,
        GracePeriod::Seconds(seconds) => Some(seconds),
        GracePeriod::None => None,
    };
    let finalizers = finalizers_after(old, options);
    let waits_for_others = !finalizers.is_empty() || kind.strategy.has_more_finalizers(old);
    let waits_for_agent = grace.is_some_and(|seconds| seconds > 0);
    if !waits_for_others && !waits_for_agent {
        return DeleteAction::Remove;
    }
    let mut new = old.clone();
    meta::set_finalizers(&mut new, finalizers);
    mark_deleted(kind, &mut new, grace.unwrap_or(0), now);
    if new == *old {
        DeleteAction::Keep
    } else {
        DeleteAction::Mark(new)
    }
}

/// The longest grace period, in seconds: 68 years. The time at which it ends can be written as
/// RFC 3339.
const MAX_GRACE: i64 = i32::MAX as i64;

/// The time so many seconds later; the same time if there is no such time.
fn later(time: Timestamp, seconds: i64) -> Timestamp {
    let later = time.checked_add(SignedDuration::from_secs(seconds));
    later.unwrap_or(time)
}

/// Sets the deletion timestamp and the grace period.
fn mark_deleted(kind: &Kind, object: &mut Value, grace: i64, now: Timestamp) {
    let grace = grace.min(MAX_GRACE);
    let started = meta::text(object, "deletionTimestamp")
        .parse::<Timestamp>()
        .ok();
    // A shortened grace period counts from the first deletion.
    let start = match (started, meta::grace(object)) {
        (Some(end), Some(old_grace)) => later(end, old_grace.saturating_neg()),
        _ => now,
    };
    let is_first = started.is_none();
    let ends = rfc3339_seconds(later(start, grace));
    meta::edit(object, |metadata| {
        metadata.insert("deletionTimestamp".into(), ends.into());
        metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
        let generation = metadata
            .get("generation")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        if is_first && generation > 0 {
            metadata.insert("generation".into(), (generation + 1).into());
        }
    });
    kind.strategy.deletion_begins(object);
}

fn finalizers_after(old: &Value, options: &DeleteOptions) -> Vec<String> {
    let mut finalizers = meta::finalizers(old);
    let wanted = match options.propagation {
        None => return finalizers,
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Background) => None,
    };
    finalizers.retain(|f| (f != ORPHAN && f != FOREGROUND) || Some(f.as_str()) == wanted);
    if let Some(wanted) = wanted.filter(|wanted| !finalizers.iter().any(|f| f == wanted)) {
        finalizers.push(wanted.to_owned());
    }
    finalizers
}

#[cfg(test)]
mod tests {
    use pandaemon_machinery::scheme;
    use serde_json::json;

    use super::*;

    fn planned(plural: &str, object: &Value, options: &DeleteOptions) -> DeleteAction {
        let kind = scheme::built_in().find_resource("", "v1", plural).unwrap();
        delete_action(
            kind,
            object,
            options,
            "2026-01-01T00:00:00Z".parse().unwrap(),
        )
    }

    fn grace(seconds: i64) -> DeleteOptions {
        DeleteOptions {
            grace_seconds: Some(seconds),
            ..DeleteOptions::default()
        }
    }

    #[test]
    fn a_bound_pod_gets_a_grace_period_that_later_deletions_can_only_shorten() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 60}});
        let DeleteAction::Mark(marked) = planned("pods", &pod, &DeleteOptions::default()) else {
            panic!()
        };
        assert_eq!(
            marked["metadata"]["deletionTimestamp"],
            "2026-01-01T00:01:00Z"
        );
        assert_eq!(planned("pods", &marked, &grace(90)), DeleteAction::Keep);
        let DeleteAction::Mark(shorter) = planned("pods", &marked, &grace(10)) else {
            panic!()
        };
        assert_eq!(
            shorter["metadata"]["deletionTimestamp"],
            "2026-01-01T00:00:10Z"
        );
        assert_eq!(planned("pods", &shorter, &grace(0)), DeleteAction::Remove);
    }

    #[test]
    fn a_grace_period_ends_at_a_time_that_can_be_written() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n"}});
        let DeleteAction::Mark(mut marked) = planned("pods", &pod, &grace(i64::MAX)) else {
            panic!()
        };
        let metadata = &marked["metadata"];
        assert_eq!(metadata["deletionTimestamp"], "2094-01-19T03:14:07Z");
        assert_eq!(metadata["deletionGracePeriodSeconds"], MAX_GRACE);
        // Earlier versions stored what the client said.
        marked["metadata"]["deletionGracePeriodSeconds"] = i64::MAX.into();
        let DeleteAction::Mark(shorter) = planned("pods", &marked, &grace(10)) else {
            panic!()
        };
        assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 10);
    }

    #[test]
    fn objects_without_finalizers_or_agent_are_deleted_immediately() {
        let unbound = json!({"metadata": {"name": "p"}, "spec": {}});
        let done = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n"}, "status": {"phase": "Failed"}});
        assert_eq!(
            planned("pods", &unbound, &DeleteOptions::default()),
            DeleteAction::Remove
        );
        assert_eq!(
            planned("pods", &done, &DeleteOptions::default()),
            DeleteAction::Remove
        );
        let config = json!({"metadata": {"name": "c"}});
        assert_eq!(
            planned("configmaps", &config, &grace(30)),
            DeleteAction::Remove
        );
    }

    #[test]
    fn finalizers_delay_a_deletion_and_propagation_adds_them() {
        let config = json!({"metadata": {"name": "c", "finalizers": ["a/b"]}});
        let orphan = DeleteOptions {
            propagation: Some(Propagation::Orphan),
            ..DeleteOptions::default()
        };
        let DeleteAction::Mark(marked) = planned("configmaps", &config, &orphan) else {
            panic!()
        };
        assert_eq!(meta::finalizers(&marked), ["a/b", "orphan"]);
        assert_eq!(
            planned("configmaps", &marked, &DeleteOptions::default()),
            DeleteAction::Keep
        );
        let namespace = json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}});
        let DeleteAction::Mark(marked) =
            planned("namespaces", &namespace, &DeleteOptions::default())
        else {
            panic!()
        };
        assert_eq!(marked["status"]["phase"], "Terminating");
    }
}
