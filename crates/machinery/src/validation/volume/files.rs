//! Sources that become files: `configMap`, `secret`, `downwardAPI`, `projected`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{need, relative_path};
use crate::access::Access;
use crate::validation::env::{field_reference, resource_reference};
use crate::validation::faults::{Faults, Path};
use crate::validation::selector;

const FILE_FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// A `Secret` or a `ConfigMap` as files.
pub(super) fn files(path: &Path<'_>, source: &Value, name_field: &str, faults: &mut Faults) {
    need(path, source, &[name_field], faults);
    mode(
        &path.child("defaultMode"),
        source.field("defaultMode"),
        faults,
    );
    let items = path.child("items");
    for (at, item) in source.items("items").iter().enumerate() {
        key_to_path(&items.index(at), item, faults);
    }
}

fn key_to_path(path: &Path<'_>, item: &Value, faults: &mut Faults) {
    need(path, item, &["key", "path"], faults);
    file_path(&path.child("path"), item.text("path"), faults);
    mode(&path.child("mode"), item.field("mode"), faults);
}

fn mode(path: &Path<'_>, mode: Option<&Value>, faults: &mut Faults) {
    if let Some(mode) = mode.and_then(Value::as_i64)
        && !(0..=0o777).contains(&mode)
    {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        faults.invalid(path, mode, why);
    }
}

pub(super) fn downward_api(path: &Path<'_>, source: &Value, faults: &mut Faults) {
    mode(
        &path.child("defaultMode"),
        source.field("defaultMode"),
        faults,
    );
    for file in source.items("items") {
        downward_file(path, file, faults);
    }
}

fn downward_file(path: &Path<'_>, file: &Value, faults: &mut Faults) {
    need(path, file, &["path"], faults);
    file_path(&path.child("path"), file.text("path"), faults);
    match (file.field("fieldRef"), file.field("resourceFieldRef")) {
        (Some(field), other) => {
            field_reference(&path.child("fieldRef"), field, &FILE_FIELDS, faults);
            if other.is_some() {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                faults.invalid(path, "resource", why);
            }
        }
        (None, Some(field)) => {
            resource_reference(&path.child("resourceFieldRef"), field, true, faults);
        }
        (None, None) => faults.required(path, "one of fieldRef and resourceFieldRef is required"),
    }
    mode(&path.child("mode"), file.field("mode"), faults);
}

pub(super) fn projected(path: &Path<'_>, source: &Value, faults: &mut Faults) {
    mode(
        &path.child("defaultMode"),
        source.field("defaultMode"),
        faults,
    );
    let list = path.child("sources");
    let mut seen = BTreeSet::new();
    for (at, item) in source.items("sources").iter().enumerate() {
        let item_path = list.index(at);
        let mut found = 0;
        for kind in ["secret", "configMap"] {
            if let Some(source) = item.field(kind) {
                found += 1;
                projected_files(path, &item_path.child(kind), source, &mut seen, faults);
            }
        }
        if let Some(downward) = item.field("downwardAPI") {
            found += 1;
            for file in downward.items("items") {
                downward_file(&item_path.child("downwardAPI"), file, faults);
                let target = file.text("path");
                unique_path(path, target, target, &mut seen, faults);
            }
        }
        if let Some(token) = item.field("serviceAccountToken") {
            found += 1;
            service_account_token(path, &item_path.child("serviceAccountToken"), token, faults);
        }
        if let Some(bundle) = item.field("clusterTrustBundle") {
            found += 1;
            trust_bundle(&item_path.child("clusterTrustBundle"), bundle, faults);
        }
        if found > 1 {
            faults.forbidden(
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
    faults: &mut Faults,
) {
    need(path, source, &["name"], faults);
    let items = path.child("items");
    for (at, item) in source.items("items").iter().enumerate() {
        key_to_path(&items.index(at), item, faults);
        unique_path(volume, item.text("path"), source.text("name"), seen, faults);
    }
}

/// Two sources cannot write one file.
fn unique_path<'a>(
    volume: &Path<'_>,
    target: &'a str,
    shown: &str,
    seen: &mut BTreeSet<&'a str>,
    faults: &mut Faults,
) {
    if !target.is_empty() && !seen.insert(target) {
        faults.invalid(volume, shown, "conflicting duplicate paths");
    }
}

fn service_account_token(volume: &Path<'_>, path: &Path<'_>, token: &Value, faults: &mut Faults) {
    let seconds = token.int("expirationSeconds");
    if seconds < 600 {
        let why = "may not specify a duration less than 10 minutes";
        faults.invalid(&path.child("expirationSeconds"), seconds, why);
    }
    if seconds > 1 << 32 {
        let why = "may not specify a duration larger than 2^32 seconds";
        faults.invalid(&path.child("expirationSeconds"), seconds, why);
    }
    match token.text("path") {
        "" => faults.required(&volume.child("path"), ""),
        target => file_path(&volume.child("path"), target, faults),
    }
}

fn trust_bundle(path: &Path<'_>, bundle: &Value, faults: &mut Faults) {
    if !bundle.has("name") && !bundle.has("signerName") {
        faults.required(path, "either name or signerName must be specified");
    }
    selector::label_selector(
        &path.child("labelSelector"),
        &bundle["labelSelector"],
        faults,
    );
    need(path, bundle, &["path"], faults);
    file_path(&path.child("path"), bundle.text("path"), faults);
}

/// A path of a file that the agent writes: names that start with two dots are its own.
fn file_path(path: &Path<'_>, target: &str, faults: &mut Faults) {
    relative_path(path, target, faults);
    if target.starts_with("..") && !target.starts_with("../") {
        faults.invalid(path, target, "must not start with '..'");
    }
}
