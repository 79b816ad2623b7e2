//! `ObjectMeta` (upstream's `k8s.io/apimachinery/pkg/api/validation/objectmeta.go`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::error_list::{ErrorList, GoValue, Path};
use super::{go_format, names};
use crate::{go_text::quote, json_fields::ReadFields};

/// Most bytes in keys and values of all annotations (upstream's `TotalAnnotationSizeLimitB`).
const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

const ROOT: Path<'static> = Path::root("metadata");

/// Validates the metadata of an object; `rule` tells what is wrong with a name (upstream's
/// `ValidateObjectMeta`).
pub(crate) fn validate(
    namespaced: bool,
    rule: impl Fn(&str) -> Vec<String>,
    object: &Value,
    errors: &mut ErrorList,
) {
    with_rule(namespaced, rule, object, errors);
    for (at, finalizer) in object["metadata"].items("finalizers").iter().enumerate() {
        let finalizer = finalizer.as_str().unwrap_or_default();
        check_standard_finalizer(&ROOT.child("finalizers").index(at), finalizer, errors);
    }
}

/// Validates the metadata by the rules of every kind, as upstream's registry does after those of
/// the kind.
pub(super) fn validate_common(namespaced: bool, object: &Value, errors: &mut ErrorList) {
    with_rule(namespaced, names::path_segment, object, errors);
}

/// Validates the metadata of events of `events.k8s.io`, whose names are DNS subdomains.
pub(super) fn validate_strictly(object: &Value, errors: &mut ErrorList) {
    with_rule(true, names::subdomain, object, errors);
}

fn with_rule(
    namespaced: bool,
    rule: impl Fn(&str) -> Vec<String>,
    object: &Value,
    errors: &mut ErrorList,
) {
    let metadata = &object["metadata"];
    let prefix = metadata.text("generateName");
    if !prefix.is_empty() {
        errors.invalid_all(
            &ROOT.child("generateName"),
            prefix,
            &rule(&mask_dash(prefix)),
        );
    }
    let name = metadata.text("name");
    if name.is_empty() {
        errors.required(&ROOT.child("name"), "name or generateName is required");
    } else {
        errors.invalid_all(&ROOT.child("name"), name, &rule(name));
    }
    let namespace = metadata.text("namespace");
    if !namespaced {
        if !namespace.is_empty() {
            errors.forbidden(&ROOT.child("namespace"), "not allowed on this type");
        }
    } else if namespace.is_empty() {
        errors.required(&ROOT.child("namespace"), "");
    } else {
        names::check_label(&ROOT.child("namespace"), namespace, errors);
    }
    errors.non_negative(&ROOT.child("generation"), metadata.int("generation"));
    labels(&ROOT.child("labels"), &metadata["labels"], errors);
    annotations(&ROOT.child("annotations"), &metadata["annotations"], errors);
    owners(
        &ROOT.child("ownerReferences"),
        metadata.items("ownerReferences"),
        errors,
    );
    finalizers(&ROOT.child("finalizers"), metadata, errors);
    managed_fields(&ROOT.child("managedFields"), metadata, errors);
}

/// The prefix with a dash at its end replaced by `a`, because a suffix follows (upstream's
/// `maskTrailingDash`).
fn mask_dash(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(rest) if rest.len() > 1 && rest.is_char_boundary(rest.len() - 1) => {
            format!("{}a", &rest[..rest.len() - 1])
        }
        Some(_) if prefix.len() > 1 => "a".to_owned(),
        _ => prefix.to_owned(),
    }
}

/// Validates labels (upstream's `ValidateLabels`).
pub(super) fn labels(path: &Path<'_>, labels: &Value, errors: &mut ErrorList) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        names::check_qualified(path, key, errors);
        let value = value.as_str().unwrap_or_default();
        errors.invalid_all(path, value, &names::label_value(value));
    }
}

/// Validates annotations (upstream's `ValidateAnnotations`).
pub(super) fn annotations(path: &Path<'_>, annotations: &Value, errors: &mut ErrorList) {
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        errors.invalid_all(path, key, &names::qualified(&key.to_lowercase()));
        size += key.len() + value.as_str().unwrap_or_default().len();
    }
    if size > MAX_ANNOTATION_BYTES {
        errors.too_long(path, MAX_ANNOTATION_BYTES);
    }
}

fn owners(path: &Path<'_>, owners: &[Value], errors: &mut ErrorList) {
    let mut controller: Option<String> = None;
    // Every controller but the first is an error that shows the whole list: it is formatted once.
    let mut shown: Option<GoValue> = None;
    for owner in owners {
        let version = owner.text("apiVersion");
        if version.rsplit('/').next().unwrap_or_default().is_empty() {
            errors.invalid(
                &path.child("apiVersion"),
                version,
                "version must not be empty",
            );
        }
        for (field, why) in [
            ("kind", "kind must not be empty"),
            ("name", "name must not be empty"),
            ("uid", "uid must not be empty"),
        ] {
            if owner.text(field).is_empty() {
                errors.invalid(&path.child(field), "", why);
            }
        }
        if (version, owner.text("kind")) == ("v1", "Event") {
            let shown = GoValue::formatted(go_format::owner_reference(owner));
            errors.invalid(
                path,
                shown,
                "/v1, Kind=Event is disallowed from being an owner",
            );
        }
        if !owner.flag("controller") {
            continue;
        }
        let current = format!("{}/{}", owner.text("kind"), owner.text("name"));
        match &controller {
            None => controller = Some(current),
            Some(first) => {
                let all = || {
                    let all: Vec<String> = owners.iter().map(go_format::owner_reference).collect();
                    GoValue::formatted(format!("[]v1.OwnerReference{{{}}}", all.join(", ")))
                };
                let shown = shown.get_or_insert_with(all);
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in \
                     references for {first} and {current}"
                );
                errors.invalid(path, &*shown, &why);
            }
        }
    }
}

fn finalizers(path: &Path<'_>, metadata: &Value, errors: &mut ErrorList) {
    let all: Vec<&str> = metadata
        .items("finalizers")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for finalizer in &all {
        names::check_qualified(path, finalizer, errors);
    }
    if all.contains(&"orphan") && all.contains(&"foregroundDeletion") {
        let shown = GoValue::formatted(go_format::strings(&metadata["finalizers"]));
        errors.invalid(
            path,
            shown,
            "finalizer orphan and foregroundDeletion cannot be both set",
        );
    }
}

fn managed_fields(path: &Path<'_>, metadata: &Value, errors: &mut ErrorList) {
    for (at, entry) in metadata.items("managedFields").iter().enumerate() {
        let path = path.index(at);
        let operation = entry.text("operation");
        if !matches!(operation, "Apply" | "Update") {
            errors.invalid(
                &path.child("operation"),
                operation,
                "must be `Apply` or `Update`",
            );
        }
        if !matches!(entry.text("fieldsType"), "" | "FieldsV1") {
            let shown = entry.text("fieldsType");
            errors.invalid(&path.child("fieldsType"), shown, "must be `FieldsV1`");
        }
        for (field, limit) in [("manager", 128), ("subresource", 256)] {
            if entry.text(field).len() > limit {
                errors.too_long(&path.child(field), limit);
            }
        }
    }
}

/// Validates that a finalizer is qualified by a domain or a standard one.
pub(super) fn check_standard_finalizer(path: &Path<'_>, finalizer: &str, errors: &mut ErrorList) {
    let known = matches!(finalizer, "kubernetes" | "orphan" | "foregroundDeletion");
    if !finalizer.contains('/') && !known {
        let why = "name is neither a standard finalizer name nor is it fully qualified";
        errors.invalid(path, finalizer, why);
    }
}

/// Validates changed metadata (upstream's `ValidateObjectMetaUpdate`).
pub(crate) fn validate_update(old: &Value, new: &Value, errors: &mut ErrorList) {
    let (old, new) = (&old["metadata"], &new["metadata"]);
    if old.has("deletionTimestamp") {
        no_new_finalizers(old, new, errors);
    }
    if new.int("generation") < old.int("generation") {
        let path = ROOT.child("generation");
        errors.invalid(&path, new.int("generation"), "must not be decremented");
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
    ] {
        if old.text(field) != new.text(field) {
            let shown = match new.text(field) {
                "" if field.ends_with("Timestamp") => GoValue::formatted("null"),
                time if field.ends_with("Timestamp") => GoValue::formatted(time),
                text => text.into(),
            };
            errors.invalid(&ROOT.child(field), shown, "field is immutable");
        }
    }
    let field = "deletionGracePeriodSeconds";
    if old.field(field) != new.field(field) {
        let shown = new
            .field(field)
            .map_or_else(|| "null".to_owned(), Value::to_string);
        errors.invalid(
            &ROOT.child(field),
            GoValue::formatted(shown),
            "field is immutable",
        );
    }
    labels(&ROOT.child("labels"), &new["labels"], errors);
    annotations(&ROOT.child("annotations"), &new["annotations"], errors);
    owners(
        &ROOT.child("ownerReferences"),
        new.items("ownerReferences"),
        errors,
    );
}

fn no_new_finalizers(old: &Value, new: &Value, errors: &mut ErrorList) {
    let set = |metadata: &Value| -> BTreeSet<String> {
        let items = metadata.items("finalizers").iter();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let extra: Vec<String> = set(new).difference(&set(old)).map(|f| quote(f)).collect();
    if !extra.is_empty() {
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers \
             []string{{{}}}",
            extra.join(", ")
        );
        errors.forbidden(&ROOT.child("finalizers"), &why);
    }
}
