//! The kinds with few rules.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::faults::{Faults, Path, Shown};
use super::{meta, names};
use crate::Kind;
use crate::access::Access;

/// Keys and values of a `Secret` or a `ConfigMap` together: 1 MiB.
const MAX_BYTES: usize = 1024 * 1024;

pub(super) fn namespace(object: &Value, faults: &mut Faults) {
    let spec = Path::root("spec");
    let path = spec.child("finalizers");
    for finalizer in object["spec"]
        .items("finalizers")
        .iter()
        .filter_map(Value::as_str)
    {
        names::check_qualified(&path, finalizer, faults);
        meta::check_standard_finalizer(&path, finalizer, faults);
    }
}

pub(super) fn namespace_status(new: &Value, faults: &mut Faults) {
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
        faults.invalid(&status.child("Phase"), phase, why);
    }
}

pub(super) fn config_map(object: &Value, faults: &mut Faults) {
    let binary = &object["binaryData"];
    let mut size = 0;
    for field in ["data", "binaryData"] {
        let path = Path::root(field);
        for (key, value) in object.entries(field).into_iter().flatten() {
            faults.invalid_all(&path.key(key), key, &names::config_key(key));
            if field == "data" && binary.has(key) {
                faults.invalid(
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
        faults.too_long(&Path::root(""), MAX_BYTES);
    }
}

fn decoded_len(text: &str) -> usize {
    STANDARD.decode(text).map_or(0, |bytes| bytes.len())
}

pub(super) fn secret(object: &Value, faults: &mut Faults) {
    let root = Path::root("data");
    let mut size = 0;
    for (key, value) in object.entries("data").into_iter().flatten() {
        faults.invalid_all(&root.key(key), key, &names::config_key(key));
        size += decoded_len(value.as_str().unwrap_or_default());
    }
    if size > MAX_BYTES {
        faults.too_long(&root, MAX_BYTES);
    }
    let data = &object["data"];
    let missing = |key: &str| !data.has(key);
    let required: &[&str] = match object.text("type") {
        "kubernetes.io/service-account-token" => {
            let name = "kubernetes.io/service-account.name";
            if object["metadata"]["annotations"].text(name).is_empty() {
                let metadata = Path::root("metadata");
                let annotations = metadata.child("annotations");
                faults.required(&annotations.key(name), "");
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
            faults.required(&root.key(key), "");
        } else if key.starts_with(".docker") {
            docker_config(&root.key(key), data.text(key), faults);
        }
    }
}

fn docker_config(path: &Path<'_>, text: &str, faults: &mut Faults) {
    let bytes = STANDARD.decode(text).unwrap_or_default();
    if let Err(error) = serde_json::from_slice::<Map<String, Value>>(&bytes) {
        let why = if bytes.is_empty() {
            "unexpected end of JSON input".to_owned()
        } else {
            error.to_string()
        };
        faults.invalid(path, "<secret contents redacted>", &why);
    }
}

pub(super) fn revision(object: &Value, faults: &mut Faults) {
    if !object.has("data") {
        faults.required(&Path::root("data"), "data is mandatory");
    }
    faults.non_negative(&Path::root("revision"), object.int("revision"));
}

pub(super) fn lease(object: &Value, faults: &mut Faults) {
    let root = Path::root("spec");
    let spec = &object["spec"];
    let number = |field: &str| spec.field(field).and_then(Value::as_i64);
    if let Some(seconds) = number("leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        faults.invalid(
            &root.child("leaseDurationSeconds"),
            seconds,
            "must be greater than 0",
        );
    }
    if let Some(count) = number("leaseTransitions").filter(|count| *count < 0) {
        let why = "must to greater or equal than 0";
        faults.invalid(&root.child("leaseTransitions"), count, why);
    }
    if !spec.text("preferredHolder").is_empty() && spec.text("strategy").is_empty() {
        let why = "may only be specified if `strategy` is defined";
        faults.forbidden(&root.child("preferredHolder"), why);
    }
}

/// What may not change in the kinds without rules of their own.
pub(super) fn immutable(kind: &Kind, old: &Value, new: &Value, faults: &mut Faults) {
    match (kind.group, kind.kind) {
        ("", "Secret") => {
            field(old, new, "type", faults);
            sealed(old, new, &["data"], faults);
        }
        ("", "ConfigMap") => sealed(old, new, &["data", "binaryData"], faults),
        ("apps", "ControllerRevision") => field(old, new, "data", faults),
        ("discovery.k8s.io", "EndpointSlice") => field(old, new, "addressType", faults),
        _ => {}
    }
}

fn field(old: &Value, new: &Value, name: &str, faults: &mut Faults) {
    if old[name] != new[name] {
        let shown = match &new[name] {
            Value::String(text) => text.into(),
            other => Shown::go(other.to_string()),
        };
        faults.invalid(&Path::root(name), shown, "field is immutable");
    }
}

/// Once `immutable` is set, it stays, and so do the contents.
fn sealed(old: &Value, new: &Value, fields: &[&str], faults: &mut Faults) {
    if !old.flag("immutable") {
        return;
    }
    let why = "field is immutable when `immutable` is set";
    if !new.flag("immutable") {
        faults.forbidden(&Path::root("immutable"), why);
    }
    for name in fields {
        if old.field(name) != new.field(name) {
            faults.forbidden(&Path::root(name), why);
        }
    }
}
