//! Kinds with few rules.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::error_list::{ErrorList, GoValue, Path};
use super::{meta, names};
use crate::json_fields::ReadFields;

/// Most bytes in the values of a `Secret` or `ConfigMap` (upstream's `MaxSecretSize`).
const MAX_BYTES: usize = 1024 * 1024;

pub(crate) fn namespace(object: &Value, errors: &mut ErrorList) {
    let spec = Path::root("spec");
    let path = spec.child("finalizers");
    for finalizer in object["spec"]
        .items("finalizers")
        .iter()
        .filter_map(Value::as_str)
    {
        names::check_qualified(&path, finalizer, errors);
        meta::check_standard_finalizer(&path, finalizer, errors);
    }
}

pub(crate) fn namespace_status(new: &Value, errors: &mut ErrorList) {
    let phase = new["status"].text("phase");
    let (expected, why) = if new["metadata"].has("deletionTimestamp") {
        (
            "Terminating",
            "may only be 'Terminating' if `deletionTimestamp` is not empty",
        )
    } else {
        (
            "Active",
            "may only be 'Active' if `deletionTimestamp` is empty",
        )
    };
    if phase != expected {
        let status = Path::root("status");
        errors.invalid(&status.child("Phase"), phase, why);
    }
}

/// Shortest and longest lifetime of a token, in seconds.
const TOKEN_LIFETIME: (i64, i64) = (10 * 60, 1 << 32);

/// Upstream: `ValidateTokenRequest`.
pub(crate) fn token_request(request: &Value, errors: &mut ErrorList) {
    let seconds = request["spec"]["expirationSeconds"]
        .as_i64()
        .unwrap_or_default();
    let why = match seconds {
        s if s < TOKEN_LIFETIME.0 => "may not specify a duration less than 10 minutes",
        s if s > TOKEN_LIFETIME.1 => "may not specify a duration larger than 2^32 seconds",
        _ => return,
    };
    let spec = Path::root("spec");
    errors.invalid(&spec.child("expirationSeconds"), seconds, why);
}

pub(crate) fn config_map(object: &Value, errors: &mut ErrorList) {
    let binary = &object["binaryData"];
    let mut size = 0;
    for field in ["data", "binaryData"] {
        let path = Path::root(field);
        for (key, value) in object.entries(field).into_iter().flatten() {
            errors.invalid_all(&path.key(key), key, &names::config_key(key));
            if field == "data" && binary.has(key) {
                errors.invalid(
                    &path.key(key),
                    key,
                    "duplicate of key present in binaryData",
                );
            }
            let text = value.as_str().unwrap_or_default();
            size += if field == "data" {
                text.len()
            } else {
                decoded_len(text)
            };
        }
    }
    if size > MAX_BYTES {
        errors.too_long(&Path::root(""), MAX_BYTES);
    }
}

fn decoded_len(text: &str) -> usize {
    STANDARD.decode(text).map_or(0, |bytes| bytes.len())
}

pub(crate) fn secret(object: &Value, errors: &mut ErrorList) {
    let root = Path::root("data");
    let mut size = 0;
    for (key, value) in object.entries("data").into_iter().flatten() {
        errors.invalid_all(&root.key(key), key, &names::config_key(key));
        size += decoded_len(value.as_str().unwrap_or_default());
    }
    if size > MAX_BYTES {
        errors.too_long(&root, MAX_BYTES);
    }
    let data = &object["data"];
    let missing = |key: &str| !data.has(key);
    let required: &[&str] = match object.text("type") {
        "kubernetes.io/service-account-token" => {
            let name = "kubernetes.io/service-account.name";
            if object["metadata"]["annotations"].text(name).is_empty() {
                let metadata = Path::root("metadata");
                let annotations = metadata.child("annotations");
                errors.required(&annotations.key(name), "");
            }
            &[]
        }
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/basic-auth" if missing("username") && missing("password") => {
            &["username", "password"]
        }
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        _ => &[],
    };
    for key in required.iter().copied() {
        if missing(key) {
            errors.required(&root.key(key), "");
        } else if key.starts_with(".docker") {
            docker_config(&root.key(key), data.text(key), errors);
        }
    }
}

fn docker_config(path: &Path<'_>, text: &str, errors: &mut ErrorList) {
    let bytes = STANDARD.decode(text).unwrap_or_default();
    if let Err(error) = serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(&bytes) {
        let why = if bytes.is_empty() {
            "unexpected end of JSON input".to_owned()
        } else {
            error.to_string()
        };
        errors.invalid(path, "<secret contents redacted>", &why);
    }
}

pub(crate) fn revision(object: &Value, errors: &mut ErrorList) {
    if !object.has("data") {
        errors.required(&Path::root("data"), "data is mandatory");
    }
    errors.non_negative(&Path::root("revision"), object.int("revision"));
}

pub(crate) fn lease(object: &Value, errors: &mut ErrorList) {
    let root = Path::root("spec");
    let spec = &object["spec"];
    let number = |field: &str| spec.field(field).and_then(Value::as_i64);
    if let Some(seconds) = number("leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        errors.invalid(
            &root.child("leaseDurationSeconds"),
            seconds,
            "must be greater than 0",
        );
    }
    if let Some(count) = number("leaseTransitions").filter(|count| *count < 0) {
        let why = "must to greater or equal than 0";
        errors.invalid(&root.child("leaseTransitions"), count, why);
    }
    if !spec.text("preferredHolder").is_empty() && spec.text("strategy").is_empty() {
        let why = "may only be specified if `strategy` is defined";
        errors.forbidden(&root.child("preferredHolder"), why);
    }
}

/// Validates that a field has not changed.
pub(crate) fn immutable_field(old: &Value, new: &Value, name: &str, errors: &mut ErrorList) {
    if old[name] != new[name] {
        let shown = match &new[name] {
            Value::String(text) => text.into(),
            other => GoValue::formatted(other.to_string()),
        };
        errors.invalid(&Path::root(name), shown, "field is immutable");
    }
}

/// Validates that neither `immutable` nor these fields have changed once `immutable` is set.
pub(crate) fn immutable_once_set(
    old: &Value,
    new: &Value,
    fields: &[&str],
    errors: &mut ErrorList,
) {
    if !old.flag("immutable") {
        return;
    }
    let why = "field is immutable when `immutable` is set";
    if !new.flag("immutable") {
        errors.forbidden(&Path::root("immutable"), why);
    }
    for name in fields {
        if old.field(name) != new.field(name) {
            errors.forbidden(&Path::root(name), why);
        }
    }
}
