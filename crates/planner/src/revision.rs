//! ControllerRevisions: their content, their comparison with the template, and which one is
//! current.
//!
//! A pod belongs to the revision whose hash its label carries, and a revision to the template that
//! equals its data. Neither is decided by computing a hash, so that taking over the objects of
//! another controller restarts no pod.

use pandaemon_types::{Labels as _, Name, hash::fnv1a_32};
use serde_json::{Map, Value, json};

use crate::{
    action::{Action, Patch, Purpose},
    canonical::{HASH_LABEL, safe_text},
    owner::owner_reference,
    view::{DaemonSetView, RevisionView},
};

/// The name that a new revision of the set's template gets.
pub(crate) fn new_name(set: &DaemonSetView) -> Name {
    format!("{}-{}", set.key.name, new_hash(set)).into()
}

/// The hash that a new revision of the set's template gets.
fn new_hash(set: &DaemonSetView) -> String {
    let salt = set
        .status
        .collision_count
        .map(|count| count.to_string())
        .unwrap_or_default();
    safe_text(fnv1a_32([set.canonical.as_bytes(), salt.as_bytes()]))
}

/// The object of a new revision.
pub(crate) fn new_revision(set: &DaemonSetView, number: i64) -> Value {
    let hash = new_hash(set);
    let mut labels = set.template_labels();
    labels.insert(HASH_LABEL.to_owned(), hash);
    let mut template = set.template.as_object().cloned().unwrap_or_default();
    template.insert("$patch".to_owned(), json!("replace"));
    let metadata = template
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("creationTimestamp".to_owned(), Value::Null);
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": &*new_name(set),
            "namespace": &*set.key.namespace,
            "labels": labels,
            "annotations": set.annotations,
            "ownerReferences": [owner_reference(set)],
        },
        "data": {"spec": {"template": template}},
        "revision": number,
    })
}

/// The result of [`reconcile_revisions`].
#[derive(Debug, Default)]
pub(crate) struct RevisionPlan {
    /// The hash of the current template; `None` until its revision exists.
    pub(crate) current: Option<Name>,
    /// Requests for revisions.
    pub(crate) actions: Vec<Action>,
    /// Hashes of duplicates of the current revision. Their pods are relabelled before they are
    /// deleted.
    pub(crate) duplicate_hashes: Vec<Name>,
}

/// Decides which revision is current, and which are created, numbered, labelled or deleted. `live`
/// returns whether pods carry a hash. `conflicting_revision` is a revision that the set does not
/// own, with the name that a new one would get.
pub(crate) fn reconcile_revisions<'a>(
    set: &DaemonSetView,
    revisions: impl Iterator<Item = &'a RevisionView>,
    conflicting_revision: Option<&RevisionView>,
    live: impl Fn(&str) -> bool,
) -> RevisionPlan {
    let mut out = RevisionPlan::default();
    let (mut same, mut old) = (Vec::new(), Vec::new());
    for revision in revisions.filter(|revision| !revision.deleting) {
        if revision.labels.label(HASH_LABEL).is_none() {
            let labels = json!({HASH_LABEL: &*revision.name});
            out.actions.push(patch(
                set,
                revision,
                Purpose::Relabel,
                json!({"metadata": {"labels": labels}}),
            ));
        }
        if revision.canonical == set.canonical {
            same.push(revision);
        } else {
            old.push(revision);
        }
    }
    old.sort_by_key(|revision| (revision.revision, Name::clone(&revision.name)));
    same.sort_by_key(|revision| (revision.revision, Name::clone(&revision.name)));
    let number = old.last().map_or(0, |revision| revision.revision) + 1;
    match same.pop() {
        // Left from a deleted set of the same name, with the same data: its hash is used until the
        // garbage collector deletes it and the revision can be created.
        None if conflicting_revision.is_some_and(|other| other.canonical == set.canonical) => {
            out.current = conflicting_revision.map(RevisionView::hash);
        }
        None => {
            let object = new_revision(set, number);
            out.actions.push(Action::CreateRevision {
                set: set.key.clone(),
                owner: set.uid.clone(),
                object,
            });
        }
        Some(current) => {
            out.current = Some(current.hash());
            if current.revision < number {
                out.actions.push(patch(
                    set,
                    current,
                    Purpose::Renumber,
                    json!({"revision": number}),
                ));
            }
            for duplicate in same {
                out.duplicate_hashes.push(duplicate.hash());
                if !live(&duplicate.hash()) {
                    out.actions.push(delete(set, duplicate));
                }
            }
            trim(set, &old, live, &mut out.actions);
        }
    }
    out
}

/// Deletes the oldest revisions beyond the history limit, except those that pods still carry.
fn trim(
    set: &DaemonSetView,
    old: &[&RevisionView],
    live: impl Fn(&str) -> bool,
    actions: &mut Vec<Action>,
) {
    let surplus = old.len().saturating_sub(set.history_limit);
    let dead = old.iter().filter(|revision| !live(&revision.hash()));
    actions.extend(dead.take(surplus).map(|revision| delete(set, revision)));
}

fn patch(set: &DaemonSetView, revision: &RevisionView, purpose: Purpose, body: Value) -> Action {
    Action::PatchRevision {
        set: set.key.clone(),
        owner: set.uid.clone(),
        name: Name::clone(&revision.name),
        purpose,
        patch: Patch::Merge(body),
    }
}

fn delete(set: &DaemonSetView, revision: &RevisionView) -> Action {
    let (name, uid) = (Name::clone(&revision.name), revision.uid.clone());
    Action::DeleteRevision {
        set: set.key.clone(),
        owner: set.uid.clone(),
        name,
        uid,
    }
}
