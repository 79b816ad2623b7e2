//! ControllerRevisions: their content, their comparison with the template, and which one is current.
//!
//! A pod belongs to the revision whose hash its label carries, and a revision to the template that equals
//! its data. Neither is decided by computing a hash, so that taking over the objects of another controller
//! restarts no pod.

use std::fmt::Write as _;

use pandaemon_types::{Labels as _, Name};
use serde_json::{Map, Value, json};

use crate::{
    action::{Action, Patch},
    view::{DaemonSetView, RevisionView},
};

/// The label of pods and revisions that carries the hash: `apps.ControllerRevisionHashLabelKey`.
pub const HASH_LABEL: &str = "controller-revision-hash";
/// The label that API versions before `apps/v1` used for the same purpose.
pub const GENERATION_LABEL: &str = "pod-template-generation";
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The canonical text in which templates are compared: sorted keys, without the `$patch` directive and the
/// empty `creationTimestamp` of stored templates.
pub(crate) fn canonical_template(template: &Value) -> String {
    let mut text = String::new();
    write_canonical(template, &mut text);
    text
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map
                .iter()
                .filter(|(key, value)| !is_stored_only(key, value))
                .collect();
            fields.sort_by(|a, b| a.0.cmp(b.0));
            out.push('{');
            for (position, (key, value)) in fields.into_iter().enumerate() {
                let comma = if position > 0 { "," } else { "" };
                let _infallible = write!(out, "{comma}{}:", Value::from(key.as_str()));
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _infallible = write!(out, "{value}");
        }
    }
}

fn is_stored_only(key: &str, value: &Value) -> bool {
    key == "$patch" || (key == "creationTimestamp" && value.is_null())
}

/// Encodes the decimal digits of a number without vowels, as upstream's `rand.SafeEncodeString`.
pub(crate) fn safe_text(number: u32) -> String {
    let letter = |byte: u8| {
        char::from(
            ALPHABET
                .get(usize::from(byte) % 27)
                .copied()
                .unwrap_or(b'b'),
        )
    };
    number.to_string().bytes().map(letter).collect()
}

/// Five characters of upstream's safe alphabet for the suffix of a pod name.
pub(crate) fn five_letters(mut seed: u64) -> String {
    let mut letters = String::with_capacity(5);
    for _ in 0..5 {
        let index = usize::try_from(seed % 27).unwrap_or(0);
        letters.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'b')));
        seed /= 27;
    }
    letters
}

/// The 64-bit FNV-1a hash of the concatenated parts.
pub(crate) fn fnv64<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.into_iter().flatten() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

fn fnv32(parts: [&[u8]; 2]) -> u32 {
    let mut hash = 0x811c_9dc5_u32;
    for byte in parts.into_iter().flatten() {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    hash
}

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
    safe_text(fnv32([set.canonical.as_bytes(), salt.as_bytes()]))
}

/// The owner reference that makes the set the managing owner of an object.
pub(crate) fn owner_reference(set: &DaemonSetView) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "name": &*set.key.name,
        "uid": set.uid.to_string(), "controller": true, "blockOwnerDeletion": true,
    })
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

impl RevisionView {
    /// The hash that its pods carry in their label.
    #[must_use]
    pub fn hash(&self) -> Name {
        self.labels
            .label(HASH_LABEL)
            .map_or_else(|| Name::clone(&self.name), Name::from)
    }
}

/// The JSON text of a new revision, byte for byte as upstream writes it: sorted keys, and Go's escapes.
/// Upstream compares the data of revisions by bytes. With other escapes, handing a cluster back would
/// restart every pod whose template contains `&`, `<` or `>`.
#[must_use]
pub fn revision_text(object: &Value) -> String {
    let plain = object.to_string();
    let mut text = String::with_capacity(plain.len());
    for sign in plain.chars() {
        match sign {
            // These occur only within strings of JSON.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _infallible = write!(text, "\\u{:04x}", u32::from(sign));
            }
            _ => text.push(sign),
        }
    }
    text
}

/// The result of [`reconcile_revisions`].
#[derive(Debug, Default)]
pub(crate) struct RevisionPlan {
    /// The hash of the current template; `None` until its revision exists.
    pub(crate) current: Option<Name>,
    /// Requests for revisions.
    pub(crate) actions: Vec<Action>,
    /// Hashes of duplicates of the current revision. Their pods are relabelled before they are deleted.
    pub(crate) duplicate_hashes: Vec<Name>,
}

/// Decides which revision is current, and which are created, numbered, labelled or deleted. `live` returns
/// whether pods carry a hash. `conflicting_revision` is a revision that the set does not own, with the name
/// that a new one would get.
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
        // Left from a deleted set of the same name, with the same data: its hash is used until the garbage
        // collector deletes it and the revision can be created.
        None if conflicting_revision.is_some_and(|other| other.canonical == set.canonical) => {
            out.current = conflicting_revision.map(RevisionView::hash);
        }
        None => {
            let object = new_revision(set, number);
            out.actions.push(Action::CreateRevision {
                set: set.key.clone(),
                object,
            });
        }
        Some(current) => {
            out.current = Some(current.hash());
            if current.revision < number {
                out.actions
                    .push(patch(set, current, json!({"revision": number})));
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

fn patch(set: &DaemonSetView, revision: &RevisionView, body: Value) -> Action {
    Action::PatchRevision {
        set: set.key.clone(),
        name: Name::clone(&revision.name),
        patch: Patch::Merge(body),
    }
}

fn delete(set: &DaemonSetView, revision: &RevisionView) -> Action {
    let (name, uid) = (Name::clone(&revision.name), revision.uid.clone());
    Action::DeleteRevision {
        set: set.key.clone(),
        name,
        uid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_template_compares_equal_to_the_live_one() {
        let live = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"x": [1, null]}});
        let stored = json!({"$patch": "replace", "spec": {"x": [1, null]},
            "metadata": {"creationTimestamp": null, "labels": {"a": "b"}}});
        assert_eq!(canonical_template(&live), canonical_template(&stored));
        assert_eq!(
            canonical_template(&stored),
            r#"{"metadata":{"labels":{"a":"b"}},"spec":{"x":[1,null]}}"#
        );
    }

    #[test]
    fn revisions_are_written_with_gos_escapes() {
        let object = json!({"b": "a && b > c < d\u{2028}", "a": ["\"\\\n\u{1}\u{8}"]});
        let text = r#"{"a":["\"\\\n\u0001\b"],"b":"a \u0026\u0026 b \u003e c \u003c d\u2028"}"#;
        assert_eq!(revision_text(&object), text);
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), object);
    }

    #[test]
    fn hashes_and_name_suffixes_use_the_safe_alphabet() {
        assert_eq!(safe_text(1_234_567_890), "56789bcdf4");
        assert!(
            five_letters(u64::MAX)
                .bytes()
                .all(|byte| ALPHABET.contains(&byte))
        );
        assert_eq!(five_letters(0), "bbbbb");
    }
}
