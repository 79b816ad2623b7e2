//! Events of `v1` and of `events.k8s.io/v1` (upstream's `pkg/apis/core/validation/events.go`).

use serde_json::Value;

use super::error_list::{ErrorList, GoValue, Path};
use super::{meta, names};
use crate::json_fields::ReadFields;

/// Validates a new event of `events.k8s.io` by the rules that those of `v1` do not have.
pub(crate) fn create(object: &Value, errors: &mut ErrorList) {
    meta::validate_strictly(object, errors);
    series(object, errors);
    if !object.has("eventTime") {
        errors.required(&Path::root("eventTime"), "");
    }
    let event_type = object.text("type");
    if !matches!(event_type, "Normal" | "Warning") {
        let why = format!("has invalid value: {event_type}");
        errors.invalid(&Path::root("type"), "", &why);
    }
    let source = &object["deprecatedSource"];
    let old = [
        ("firstTimestamp", object.has("deprecatedFirstTimestamp")),
        ("lastTimestamp", object.has("deprecatedLastTimestamp")),
        ("count", object.int("deprecatedCount") != 0),
        (
            "source",
            !source.text("component").is_empty() || !source.text("host").is_empty(),
        ),
    ];
    for (field, _) in old.into_iter().filter(|(_, set)| *set) {
        errors.invalid(&Path::root(field), "", "needs to be unset");
    }
}

/// Validates a changed event of `events.k8s.io`: only the series may change.
pub(crate) fn update(old: &Value, new: &Value, errors: &mut ErrorList) {
    meta::validate_update(old, new, errors);
    if old["series"] != new["series"] {
        series(new, errors);
    }
    let fields = [
        ("regarding", "involvedObject"),
        ("reason", "reason"),
        ("note", "message"),
        ("deprecatedSource", "source"),
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ];
    for (field, shown) in fields {
        if old.field(field) != new.field(field) {
            let value = match new.field(field) {
                Some(Value::String(text)) => text.into(),
                Some(other) => GoValue::formatted(other.to_string()),
                None => GoValue::formatted("null"),
            };
            errors.invalid(&Path::root(shown), value, "field is immutable");
        }
    }
}

fn series(object: &Value, errors: &mut ErrorList) {
    let Some(series) = object.field("series") else {
        return;
    };
    if series.int("count") < 2 {
        errors.invalid(&Path::root("series.count"), "", "should be at least 2");
    }
    if !series.has("lastObservedTime") {
        errors.required(&Path::root("series.lastObservedTime"), "");
    }
}

fn either<'a>(object: &'a Value, one: &str, other: &str) -> &'a str {
    match object.text(one) {
        "" => object.text(other),
        text => text,
    }
}

/// Validates the rules for events of both groups.
pub(crate) fn legacy(object: &Value, errors: &mut ErrorList) {
    let namespace = object["metadata"].text("namespace");
    let about = object
        .field("involvedObject")
        .unwrap_or(&object["regarding"]);
    let about_namespace = about.text("namespace");
    let timed = object.has("eventTime");
    let mismatch = match about_namespace {
        "" if timed => !matches!(namespace, "default" | "kube-system"),
        "" => !matches!(namespace, "" | "default"),
        other => !timed && other != namespace,
    };
    if mismatch {
        let path = Path::root("involvedObject");
        let why = "does not match event.namespace";
        errors.invalid(&path.child("namespace"), about_namespace, why);
    }
    if timed {
        timed_event(object, errors);
    }
    names::check_subdomain(&Path::root("namespace"), namespace, errors);
}

fn timed_event(object: &Value, errors: &mut ErrorList) {
    let controller = either(object, "reportingComponent", "reportingController");
    let path = Path::root("reportingController");
    if controller.is_empty() {
        errors.required(&path, "");
    }
    names::check_qualified(&path, controller, errors);
    for (field, limit) in [("reportingInstance", 128), ("action", 128), ("reason", 128)] {
        let text = object.text(field);
        if text.is_empty() {
            errors.required(&Path::root(field), "");
        }
        too_long(field, text, limit, errors);
    }
    too_long("message", either(object, "message", "note"), 1024, errors);
}

fn too_long(field: &str, text: &str, limit: usize, errors: &mut ErrorList) {
    if text.len() > limit {
        let why = format!("can have at most {limit} characters");
        errors.invalid(&Path::root(field), "", &why);
    }
}
