//! Removing objects: grace, finalizers, propagation and preconditions.
//!
//! Follows `k8s.io/apiserver/pkg/registry/rest/delete.go` and `generic/registry/store.go`.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use pandaemon_machinery::{
    Kind, Status,
    status::{Details, Result},
};
use pandaemon_store::{Expect, Op};
use serde_json::Value;

use super::{
    Call, CommitError, Registry, format_time,
    options::{DeleteOptions, Propagation},
};
use crate::{
    meta,
    object::{self, Object},
};

const TRIES: usize = 32;
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What is left after a delete.
#[derive(Debug)]
pub enum Deleted {
    /// The object is still there, or its kind answers with it.
    Object(Arc<Object>),
    /// It is gone.
    Gone(Box<Status>),
}

/// What a delete does to an object.
#[derive(Debug, PartialEq)]
enum Plan {
    /// Nothing: it is under way.
    Keep,
    /// Marks it, and waits for somebody.
    Mark(Value),
    /// Removes it.
    Remove,
}

/// Kinds that answer with the object even when it is gone.
fn answers_with_object(kind: &Kind) -> bool {
    matches!(kind.storage, "pods" | "serviceaccounts")
}

/// Whether `spec.finalizers` (of namespaces) keep the object.
pub(super) fn has_spec_finalizers(kind: &Kind, object: &Value) -> bool {
    kind.storage == "namespaces"
        && meta::at(object, &["spec", "finalizers"])
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
}

impl Registry {
    /// DELETE of one object.
    ///
    /// # Errors
    /// 404, 409 for preconditions, or what the store says.
    pub async fn delete(&self, call: &Call, options: &DeleteOptions) -> Result<Deleted> {
        for _ in 0..TRIES {
            let current = self.current(call)?;
            let (old, spec) = read(call.kind, &current)?;
            check_preconditions(call, options, &old)?;
            crate::admission::admit_delete(call, &old)?;
            let op = match plan(call.kind, &old, options, call.now) {
                Plan::Keep => return Ok(Deleted::Object(current)),
                Plan::Mark(mut value) => {
                    if let (Some(_), Some(fields)) = (spec, value.as_object_mut()) {
                        fields.remove("spec");
                    }
                    Op::Put(object::encode_with(&value, spec).map_err(Status::internal)?)
                }
                Plan::Remove => Op::Delete,
            };
            match self.store_delete(call, &current, op, options.dry_run).await {
                Ok(Some(marked)) => return Ok(Deleted::Object(marked)),
                Ok(None) if answers_with_object(call.kind) => return Ok(Deleted::Object(current)),
                Ok(None) => return Ok(Deleted::Gone(gone(call.kind, &old))),
                Err(CommitError::Failed(status)) => return Err(status),
                Err(CommitError::Conflict(_)) => {}
            }
        }
        Err(Status::modified_since_read(call.kind, &call.name))
    }

    async fn store_delete(
        &self,
        call: &Call,
        current: &Arc<Object>,
        op: Op,
        dry_run: bool,
    ) -> Result<Option<Arc<Object>>, CommitError> {
        let bytes = match &op {
            Op::Put(bytes) => Some(bytes.clone()),
            Op::Delete => None,
        };
        let key = Arc::clone(&current.key);
        let revision = match dry_run {
            true => current.revision,
            false => {
                self.commit(call, Arc::clone(&key), Expect::At(current.revision), op)
                    .await?
            }
        };
        bytes
            .map(|bytes| self.written(call, key, bytes, revision))
            .transpose()
    }
}

/// The object, and (for pods, which go by the thousand) its spec as it is stored: then the object has no more of it
/// than [`super::spec_in_short`] tells.
fn read<'a>(kind: &'static Kind, current: &'a Object) -> Result<(Value, Option<&'a [u8]>)> {
    if kind.storage != "pods" {
        let value = current.value().map_err(super::unreadable)?;
        return Ok((value, None));
    }
    let (mut value, spec) = current.value_and_spec().map_err(super::unreadable)?;
    if let (Some(spec), Some(fields)) = (spec, value.as_object_mut()) {
        fields.insert("spec".to_owned(), super::spec_in_short(spec)?);
    }
    Ok((value, spec))
}

fn check_preconditions(call: &Call, options: &DeleteOptions, old: &Value) -> Result<()> {
    let refuse = |what: &str, wanted: &str, found: &str, guess: &str| {
        let why = format!(
            "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might have been {guess}"
        );
        // Upstream names the kind here, not the resource.
        let kind = call.kind;
        let text = format!(
            "Operation cannot be fulfilled on {} {:?}: {why}",
            kind.qualified_kind(),
            call.name
        );
        Status::failure(409, "Conflict", text).with_details(Details {
            name: call.name.clone(),
            group: kind.group.into(),
            kind: kind.kind.into(),
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

/// The answer when an object is gone.
#[must_use]
pub fn gone(kind: &Kind, object: &Value) -> Box<Status> {
    Status::success(Some(Details {
        name: meta::name(object).into(),
        group: kind.group.into(),
        kind: kind.plural.into(),
        uid: meta::text(object, "uid").into(),
        ..Details::default()
    }))
}

/// Decides what a delete does. Pure.
fn plan(kind: &Kind, old: &Value, options: &DeleteOptions, now: Timestamp) -> Plan {
    let grace = match grace(kind, old, options) {
        Grace::UnderWay => return Plan::Keep,
        Grace::Seconds(seconds) => Some(seconds),
        Grace::None => None,
    };
    let finalizers = finalizers_after(old, options);
    let waits_for_others = !finalizers.is_empty() || has_spec_finalizers(kind, old);
    let waits_for_agent = grace.is_some_and(|seconds| seconds > 0);
    if !waits_for_others && !waits_for_agent {
        return Plan::Remove;
    }
    let mut new = old.clone();
    meta::set_finalizers(&mut new, finalizers);
    mark(kind, &mut new, grace.unwrap_or(0), now);
    if new == *old {
        Plan::Keep
    } else {
        Plan::Mark(new)
    }
}

enum Grace {
    /// The kind ends at once.
    None,
    /// So long.
    Seconds(i64),
    /// It is ending already, and this delete does not hurry it.
    UnderWay,
}

fn grace(kind: &Kind, old: &Value, options: &DeleteOptions) -> Grace {
    if kind.storage != "pods" {
        return Grace::None;
    }
    if meta::is_terminating(old) {
        let Some(left) = meta::grace(old) else {
            return Grace::None;
        };
        return match options.grace_seconds {
            Some(asked) if asked < left => Grace::Seconds(asked),
            _ => Grace::UnderWay,
        };
    }
    let phase = meta::text_at(old, &["status", "phase"]);
    let has_agent = !meta::text_at(old, &["spec", "nodeName"]).is_empty();
    if !has_agent || phase == "Failed" || phase == "Succeeded" {
        return Grace::Seconds(0);
    }
    let own = meta::at(old, &["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64);
    Grace::Seconds(options.grace_seconds.or(own).unwrap_or(30).max(0))
}

fn mark(kind: &Kind, object: &mut Value, grace: i64, now: Timestamp) {
    let started = meta::text(object, "deletionTimestamp")
        .parse::<Timestamp>()
        .ok();
    // A shortened grace counts from when the first delete came.
    let start = match (started, meta::grace(object)) {
        (Some(end), Some(old_grace)) => end - SignedDuration::from_secs(old_grace),
        _ => now,
    };
    let is_first = started.is_none();
    let ends = format_time(start + SignedDuration::from_secs(grace));
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
    if kind.storage == "namespaces" {
        object["status"]["phase"] = "Terminating".into();
    }
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

    fn planned(plural: &str, object: &Value, options: &DeleteOptions) -> Plan {
        let kind = scheme::find_resource("", "v1", plural).unwrap();
        plan(
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
    fn a_bound_pod_gets_its_grace_and_a_second_delete_may_only_shorten_it() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 60}});
        let Plan::Mark(marked) = planned("pods", &pod, &DeleteOptions::default()) else {
            panic!()
        };
        assert_eq!(
            marked["metadata"]["deletionTimestamp"],
            "2026-01-01T00:01:00Z"
        );
        assert_eq!(planned("pods", &marked, &grace(90)), Plan::Keep);
        let Plan::Mark(shorter) = planned("pods", &marked, &grace(10)) else {
            panic!()
        };
        assert_eq!(
            shorter["metadata"]["deletionTimestamp"],
            "2026-01-01T00:00:10Z"
        );
        assert_eq!(planned("pods", &shorter, &grace(0)), Plan::Remove);
    }

    #[test]
    fn what_nobody_waits_for_goes_at_once() {
        let unbound = json!({"metadata": {"name": "p"}, "spec": {}});
        let done = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n"}, "status": {"phase": "Failed"}});
        assert_eq!(
            planned("pods", &unbound, &DeleteOptions::default()),
            Plan::Remove
        );
        assert_eq!(
            planned("pods", &done, &DeleteOptions::default()),
            Plan::Remove
        );
        let config = json!({"metadata": {"name": "c"}});
        assert_eq!(planned("configmaps", &config, &grace(30)), Plan::Remove);
    }

    #[test]
    fn finalizers_keep_and_propagation_adds_them() {
        let config = json!({"metadata": {"name": "c", "finalizers": ["a/b"]}});
        let orphan = DeleteOptions {
            propagation: Some(Propagation::Orphan),
            ..DeleteOptions::default()
        };
        let Plan::Mark(marked) = planned("configmaps", &config, &orphan) else {
            panic!()
        };
        assert_eq!(meta::finalizers(&marked), ["a/b", "orphan"]);
        assert_eq!(
            planned("configmaps", &marked, &DeleteOptions::default()),
            Plan::Keep
        );
        let namespace = json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}});
        let Plan::Mark(marked) = planned("namespaces", &namespace, &DeleteOptions::default())
        else {
            panic!()
        };
        assert_eq!(marked["status"]["phase"], "Terminating");
    }
}
