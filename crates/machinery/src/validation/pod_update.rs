//! Updates of pods (upstream's `ValidatePodUpdate`): images, the deadline and additional
//! tolerations may change.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::error_list::{ErrorList, GoValue, Path};
use super::{affinity, meta, names, pod};
use crate::Kind;
use crate::json_fields::{ReadFields, WriteFields};

const SPEC: Path<'static> = Path::root("spec");

/// Validates an update of a pod, or a write to a subresource that changes the spec.
pub(crate) fn validate(
    kind: &Kind,
    subresource: &str,
    old: &Value,
    new: &Value,
    errors: &mut ErrorList,
) {
    meta::validate_update(old, new, errors);
    kind.validate_metadata(new, errors);
    pod::metadata_and_spec(new, errors);
    annotations(old, new, errors);
    match subresource {
        "" => spec(&old["spec"], &new["spec"], errors),
        "ephemeralcontainers" => ephemeral(&old["spec"], &new["spec"], errors),
        _ => {}
    }
}

fn annotations(old: &Value, new: &Value, errors: &mut ErrorList) {
    let metadata = Path::root("metadata");
    let path = metadata.child("annotations");
    let mirror = "kubernetes.io/config.mirror";
    let of = |object: &Value| object["metadata"]["annotations"].field(mirror).cloned();
    match (of(old), of(new)) {
        (old, new) if old == new => {}
        (None, _) => errors.forbidden(&path.key(mirror), "may not add mirror pod annotation"),
        _ => errors.forbidden(
            &path.key(mirror),
            "may not remove or update mirror pod annotation",
        ),
    }
}

fn spec(old: &Value, new: &Value, errors: &mut ErrorList) {
    for list in ["containers", "initContainers"] {
        let path = SPEC.child(list);
        if old.items(list).len() != new.items(list).len() {
            errors.forbidden(&path, "pod updates may not add or remove containers");
            return;
        }
        for (at, container) in new.items(list).iter().enumerate() {
            let image = container.text("image");
            if image.is_empty() {
                errors.required(&path.index(at).child("image"), "");
            }
            if image.trim() != image {
                let why = "must not have leading or trailing whitespace";
                errors.invalid(&path.index(at).child("image"), image, why);
            }
        }
    }
    if !deadline(old, new, errors) {
        return;
    }
    added_tolerations(old, new, errors);
    removed_gates(old, new, errors);
    if old == new {
        return;
    }
    let munged = with_old_mutable_fields(old, new);
    if &munged != old {
        let why = format!(
            "pod updates may not change fields other than `spec.containers[*].image`,\
             `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only \
             additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be \
             set to 1 if it was previously negative)\n{}",
            difference(old, &munged)
        );
        errors.forbidden(&SPEC, &why);
    }
}

/// Validates a changed deadline: it may be set and shortened. False if further rules must not be
/// checked.
fn deadline(old: &Value, new: &Value, errors: &mut ErrorList) -> bool {
    let field = "activeDeadlineSeconds";
    let path = SPEC.child(field);
    let of = |spec: &Value| spec.field(field).and_then(Value::as_i64);
    match (of(old), of(new)) {
        (_, Some(seconds)) if !(0..=i64::from(i32::MAX)).contains(&seconds) => {
            errors.invalid(&path, seconds, &names::range(0, i32::MAX.into()));
            false
        }
        (Some(before), Some(seconds)) if before < seconds => {
            errors.invalid(
                &path,
                seconds,
                "must be less than or equal to previous value",
            );
            false
        }
        (Some(_), None) => {
            let why = "must not update from a positive integer to nil value";
            errors.invalid(&path, GoValue::formatted("null"), why);
            true
        }
        _ => true,
    }
}

fn added_tolerations(old: &Value, new: &Value, errors: &mut ErrorList) {
    let path = SPEC.child("tolerations");
    let without_seconds = |toleration: &Value| {
        let mut copy = toleration.clone();
        copy.remove_field("tolerationSeconds");
        copy
    };
    let texts = |spec: &Value| -> BTreeSet<String> {
        let tolerations = spec.items("tolerations").iter();
        tolerations
            .map(|t| without_seconds(t).to_string())
            .collect()
    };
    let kept = texts(old).is_subset(&texts(new));
    if kept {
        affinity::tolerations(&path, new.items("tolerations"), errors);
    } else {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        errors.forbidden(&path, why);
    }
}

fn removed_gates<'v>(old: &'v Value, new: &'v Value, errors: &mut ErrorList) {
    let path = SPEC.child("schedulingGates");
    let names = |spec: &'v Value| {
        let gates = spec.items("schedulingGates").iter();
        gates.map(|gate| gate.text("name"))
    };
    let before: BTreeSet<&str> = names(old).collect();
    for (at, name) in names(new).enumerate() {
        if !before.contains(name) {
            let why = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.forbidden(&path.index(at).child("name"), &why);
        }
    }
}

/// The new spec with the old values of all fields that may change.
fn with_old_mutable_fields(old: &Value, new: &Value) -> Value {
    let mut munged = new.clone();
    for list in ["containers", "initContainers"] {
        for (container, before) in munged.items_mut(list).zip(old.items(list)) {
            container.put("image", before["image"].clone());
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        munged.put(field, old[field].clone());
    }
    let grace = "terminationGracePeriodSeconds";
    if old.int(grace) < 0 && new.int(grace) == 1 {
        munged.put(grace, old[grace].clone());
    }
    if !old.items("schedulingGates").is_empty() {
        munged.put("nodeSelector", old["nodeSelector"].clone());
    }
    munged
}

/// The fields that differ with their old and new values, as lines of a diff.
fn difference(old: &Value, new: &Value) -> String {
    let mut text = String::from("  core.PodSpec{\n");
    let names: BTreeSet<&String> = [old, new]
        .iter()
        .filter_map(|spec| spec.as_object())
        .flat_map(serde_json::Map::keys)
        .collect();
    for name in names {
        let (before, after) = (old.field(name), new.field(name));
        if before == after {
            continue;
        }
        for (sign, value) in [('-', before), ('+', after)] {
            if let Some(value) = value {
                text.push_str(&format!("{sign} \t{name}: {value},\n"));
            }
        }
    }
    text.push_str("  }\n");
    text
}

fn ephemeral(old: &Value, new: &Value, errors: &mut ErrorList) {
    let path = SPEC.child("ephemeralContainers");
    let mut by_name: BTreeMap<&str, &Value> = BTreeMap::new();
    for after in new.items("ephemeralContainers") {
        by_name.entry(after.text("name")).or_insert(after);
    }
    for before in old.items("ephemeralContainers") {
        let name = before.text("name");
        match by_name.get(name).copied() {
            None => {
                let why = format!("existing ephemeral containers \"{name}\" may not be removed\n");
                errors.forbidden(&path, &why);
            }
            Some(after) if after != before => {
                let why = format!(
                    "existing ephemeral containers \"{name}\" may not be changed\n{}",
                    difference(before, after)
                );
                errors.forbidden(&path, &why);
            }
            Some(_) => {}
        }
    }
}
