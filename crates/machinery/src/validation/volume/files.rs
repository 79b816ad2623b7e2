//! Volume sources with files: `configMap`, `secret`, `downwardAPI` and `projected`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{need, relative_path};
use crate::json_fields::ReadFields;
use crate::validation::env::{field_reference, resource_reference};
use crate::validation::error_list::{ErrorList, Path};
use crate::validation::selector;

const FILE_FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// Validates a `secret` or `configMap` source.
pub(super) fn files(path: &Path<'_>, source: &Value, name_field: &str, errors: &mut ErrorList) {
    need(path, source, &[name_field], errors);
    mode(
        &path.child("defaultMode"),
        source.field("defaultMode"),
        errors,
    );
    let items = path.child("items");
    for (at, item) in source.items("items").iter().enumerate() {
        key_to_path(&items.index(at), item, errors);
    }
}

fn key_to_path(path: &Path<'_>, item: &Value, errors: &mut ErrorList) {
    need(path, item, &["key", "path"], errors);
    file_path(&path.child("path"), item.text("path"), errors);
    mode(&path.child("mode"), item.field("mode"), errors);
}

fn mode(path: &Path<'_>, mode: Option<&Value>, errors: &mut ErrorList) {
    if let Some(mode) = mode.and_then(Value::as_i64)
        && !(0..=0o777).contains(&mode)
    {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.invalid(path, mode, why);
    }
}

pub(super) fn downward_api(path: &Path<'_>, source: &Value, errors: &mut ErrorList) {
    mode(
        &path.child("defaultMode"),
        source.field("defaultMode"),
        errors,
    );
    for file in source.items("items") {
        downward_file(path, file, errors);
    }
}

fn downward_file(path: &Path<'_>, file: &Value, errors: &mut ErrorList) {
    need(path, file, &["path"], errors);
    file_path(&path.child("path"), file.text("path"), errors);
    match (file.field("fieldRef"), file.field("resourceFieldRef")) {
        (Some(field), other) => {
            field_reference(&path.child("fieldRef"), field, &FILE_FIELDS, errors);
            if other.is_some() {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid(path, "resource", why);
            }
        }
        (None, Some(field)) => {
            resource_reference(&path.child("resourceFieldRef"), field, true, errors);
        }
        (None, None) => errors.required(path, "one of fieldRef and resourceFieldRef is required"),
    }
    mode(&path.child("mode"), file.field("mode"), errors);
}

pub(super) fn projected(path: &Path<'_>, source: &Value, errors: &mut ErrorList) {
    mode(
        &path.child("defaultMode"),
        source.field("defaultMode"),
        errors,
    );
    let list = path.child("sources");
    let mut seen = BTreeSet::new();
    for (at, item) in source.items("sources").iter().enumerate() {
        let item_path = list.index(at);
        let mut found = 0;
        for kind in ["secret", "configMap"] {
            if let Some(source) = item.field(kind) {
                found += 1;
                projected_files(path, &item_path.child(kind), source, &mut seen, errors);
            }
        }
        if let Some(downward) = item.field("downwardAPI") {
            found += 1;
            for file in downward.items("items") {
                downward_file(&item_path.child("downwardAPI"), file, errors);
                let target = file.text("path");
                unique_path(path, target, target, &mut seen, errors);
            }
        }
        if let Some(token) = item.field("serviceAccountToken") {
            found += 1;
            service_account_token(path, &item_path.child("serviceAccountToken"), token, errors);
        }
        if let Some(bundle) = item.field("clusterTrustBundle") {
            found += 1;
            trust_bundle(&item_path.child("clusterTrustBundle"), bundle, errors);
        }
        if found > 1 {
            errors.forbidden(
                &item_path,
                "may not specify more than 1 volume type per source",
            );
        }
    }
}

fn projected_files<'a>(
    volume: &Path<'_>,
    path: &Path<'_>,
    source: &'a Value,
    seen: &mut BTreeSet<&'a str>,
    errors: &mut ErrorList,
) {
    need(path, source, &["name"], errors);
    let items = path.child("items");
    for (at, item) in source.items("items").iter().enumerate() {
        key_to_path(&items.index(at), item, errors);
        unique_path(volume, item.text("path"), source.text("name"), seen, errors);
    }
}

/// Adds an error if another source has a file at the same path.
fn unique_path<'a>(
    volume: &Path<'_>,
    target: &'a str,
    shown: &str,
    seen: &mut BTreeSet<&'a str>,
    errors: &mut ErrorList,
) {
    if !target.is_empty() && !seen.insert(target) {
        errors.invalid(volume, shown, "conflicting duplicate paths");
    }
}

fn service_account_token(
    volume: &Path<'_>,
    path: &Path<'_>,
    token: &Value,
    errors: &mut ErrorList,
) {
    let seconds = token.int("expirationSeconds");
    if seconds < 600 {
        let why = "may not specify a duration less than 10 minutes";
        errors.invalid(&path.child("expirationSeconds"), seconds, why);
    }
    if seconds > 1 << 32 {
        let why = "may not specify a duration larger than 2^32 seconds";
        errors.invalid(&path.child("expirationSeconds"), seconds, why);
    }
    match token.text("path") {
        "" => errors.required(&volume.child("path"), ""),
        target => file_path(&volume.child("path"), target, errors),
    }
}

fn trust_bundle(path: &Path<'_>, bundle: &Value, errors: &mut ErrorList) {
    if !bundle.has("name") && !bundle.has("signerName") {
        errors.required(path, "either name or signerName must be specified");
    }
    selector::label_selector(
        &path.child("labelSelector"),
        &bundle["labelSelector"],
        errors,
    );
    need(path, bundle, &["path"], errors);
    file_path(&path.child("path"), bundle.text("path"), errors);
}

/// Validates the path of a file. Names that start with two dots are reserved (upstream's
/// `validateLocalNonReservedPath`).
fn file_path(path: &Path<'_>, target: &str, errors: &mut ErrorList) {
    relative_path(path, target, errors);
    if target.starts_with("..") && !target.starts_with("../") {
        errors.invalid(path, target, "must not start with '..'");
    }
}
