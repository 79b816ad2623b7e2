//! `ObjectMeta`, as `k8s.io/apimachinery/pkg/api/validation/objectmeta.go`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::faults::{Faults, Path, Shown};
use super::{golang, names};
use crate::Kind;
use crate::access::Access;

/// 256 KiB for all annotations together.
const ANNOTATION_BYTES: usize = 256 * 1024;

const ROOT: Path<'static> = Path::root("metadata");

type NameRule = fn(&str) -> Vec<String>;

/// The metadata by the rules of the kind.
pub(super) fn validate(kind: &Kind, object: &Value, faults: &mut Faults) {
    let rule: NameRule = match (kind.group, kind.kind) {
        ("", "Service") => names::label_1035,
        ("", "Namespace") => names::label,
        _ => names::subdomain,
    };
    with_rule(kind, object, rule, faults);
    for (at, finalizer) in object["metadata"].items("finalizers").iter().enumerate() {
        let finalizer = finalizer.as_str().unwrap_or_default();
        check_standard_finalizer(&ROOT.child("finalizers").index(at), finalizer, faults);
    }
}

/// The metadata by the rules of every kind, as the registry checks it after the kind.
pub(super) fn validate_common(kind: &Kind, object: &Value, faults: &mut Faults) {
    with_rule(kind, object, names::path_segment, faults);
}

/// The metadata of a kind that names objects as DNS subdomains.
pub(super) fn validate_strictly(kind: &Kind, object: &Value, faults: &mut Faults) {
    with_rule(kind, object, names::subdomain, faults);
}

fn with_rule(kind: &Kind, object: &Value, rule: NameRule, faults: &mut Faults) {
    let metadata = &object["metadata"];
    let prefix = metadata.text("generateName");
    if !prefix.is_empty() {
        faults.invalid_all(
            &ROOT.child("generateName"),
            prefix,
            &rule(&mask_dash(prefix)),
        );
    }
    let name = metadata.text("name");
    if name.is_empty() {
        faults.required(&ROOT.child("name"), "name or generateName is required");
    } else {
        faults.invalid_all(&ROOT.child("name"), name, &rule(name));
    }
    let namespace = metadata.text("namespace");
    if !kind.is_namespaced() {
        if !namespace.is_empty() {
            faults.forbidden(&ROOT.child("namespace"), "not allowed on this type");
        }
    } else if namespace.is_empty() {
        faults.required(&ROOT.child("namespace"), "");
    } else {
        names::check_label(&ROOT.child("namespace"), namespace, faults);
    }
    faults.non_negative(&ROOT.child("generation"), metadata.int("generation"));
    labels(&ROOT.child("labels"), &metadata["labels"], faults);
    annotations(&ROOT.child("annotations"), &metadata["annotations"], faults);
    owners(
        &ROOT.child("ownerReferences"),
        metadata.items("ownerReferences"),
        faults,
    );
    finalizers(&ROOT.child("finalizers"), metadata, faults);
    managed_fields(&ROOT.child("managedFields"), metadata, faults);
}

/// A prefix may end with a dash: something will follow.
fn mask_dash(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(rest) if rest.len() > 1 && rest.is_char_boundary(rest.len() - 1) => {
            format!("{}a", &rest[..rest.len() - 1])
        }
        Some(_) if prefix.len() > 1 => "a".to_owned(),
        _ => prefix.to_owned(),
    }
}

pub(super) fn labels(path: &Path<'_>, labels: &Value, faults: &mut Faults) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        names::check_qualified(path, key, faults);
        let value = value.as_str().unwrap_or_default();
        faults.invalid_all(path, value, &names::label_value(value));
    }
}

pub(super) fn annotations(path: &Path<'_>, annotations: &Value, faults: &mut Faults) {
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        faults.invalid_all(path, key, &names::qualified(&key.to_lowercase()));
        size += key.len() + value.as_str().unwrap_or_default().len();
    }
    if size > ANNOTATION_BYTES {
        faults.too_long(path, ANNOTATION_BYTES);
    }
}

fn owners(path: &Path<'_>, owners: &[Value], faults: &mut Faults) {
    let mut controller: Option<String> = None;
    for owner in owners {
        let version = owner.text("apiVersion");
        if version.rsplit('/').next().unwrap_or_default().is_empty() {
            faults.invalid(
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
                faults.invalid(&path.child(field), "", why);
            }
        }
        if (version, owner.text("kind")) == ("v1", "Event") {
            let shown = Shown::go(golang::owner_reference(owner));
            faults.invalid(
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
                let all: Vec<String> = owners.iter().map(golang::owner_reference).collect();
                let shown = Shown::go(format!("[]v1.OwnerReference{{{}}}", all.join(", ")));
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in \
                     references for {first} and {current}"
                );
                faults.invalid(path, shown, &why);
            }
        }
    }
}

fn finalizers(path: &Path<'_>, metadata: &Value, faults: &mut Faults) {
    let all: Vec<&str> = metadata
        .items("finalizers")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for finalizer in &all {
        names::check_qualified(path, finalizer, faults);
    }
    if all.contains(&"orphan") && all.contains(&"foregroundDeletion") {
        let shown = Shown::go(golang::strings(&metadata["finalizers"]));
        faults.invalid(
            path,
            shown,
            "finalizer orphan and foregroundDeletion cannot be both set",
        );
    }
}

fn managed_fields(path: &Path<'_>, metadata: &Value, faults: &mut Faults) {
    for (at, entry) in metadata.items("managedFields").iter().enumerate() {
        let path = path.index(at);
        let operation = entry.text("operation");
        if !matches!(operation, "Apply" | "Update") {
            faults.invalid(
                &path.child("operation"),
                operation,
                "must be `Apply` or `Update`",
            );
        }
        if !matches!(entry.text("fieldsType"), "" | "FieldsV1") {
            let shown = entry.text("fieldsType");
            faults.invalid(&path.child("fieldsType"), shown, "must be `FieldsV1`");
        }
        for (field, limit) in [("manager", 128), ("subresource", 256)] {
            if entry.text(field).len() > limit {
                faults.too_long(&path.child(field), limit);
            }
        }
    }
}

/// A finalizer is qualified by a domain or one of the old ones.
pub(super) fn check_standard_finalizer(path: &Path<'_>, finalizer: &str, faults: &mut Faults) {
    let known = matches!(finalizer, "kubernetes" | "orphan" | "foregroundDeletion");
    if !finalizer.contains('/') && !known {
        let why = "name is neither a standard finalizer name nor is it fully qualified";
        faults.invalid(path, finalizer, why);
    }
}

/// What may not change in metadata, and that what changed is valid.
pub(super) fn validate_update(old: &Value, new: &Value, faults: &mut Faults) {
    let (old, new) = (&old["metadata"], &new["metadata"]);
    if old.has("deletionTimestamp") {
        no_new_finalizers(old, new, faults);
    }
    if new.int("generation") < old.int("generation") {
        let path = ROOT.child("generation");
        faults.invalid(&path, new.int("generation"), "must not be decremented");
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
                "" if field.ends_with("Timestamp") => Shown::go("null"),
                time if field.ends_with("Timestamp") => Shown::go(time),
                text => text.into(),
            };
            faults.invalid(&ROOT.child(field), shown, "field is immutable");
        }
    }
    let field = "deletionGracePeriodSeconds";
    if old.field(field) != new.field(field) {
        let shown = new
            .field(field)
            .map_or_else(|| "null".to_owned(), Value::to_string);
        faults.invalid(&ROOT.child(field), Shown::go(shown), "field is immutable");
    }
    labels(&ROOT.child("labels"), &new["labels"], faults);
    annotations(&ROOT.child("annotations"), &new["annotations"], faults);
    owners(
        &ROOT.child("ownerReferences"),
        new.items("ownerReferences"),
        faults,
    );
}

fn no_new_finalizers(old: &Value, new: &Value, faults: &mut Faults) {
    let set = |metadata: &Value| -> BTreeSet<String> {
        let items = metadata.items("finalizers").iter();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let extra: Vec<String> = set(new)
        .difference(&set(old))
        .map(|f| golang::quote(f))
        .collect();
    if !extra.is_empty() {
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers \
             []string{{{}}}",
            extra.join(", ")
        );
        faults.forbidden(&ROOT.child("finalizers"), &why);
    }
}
