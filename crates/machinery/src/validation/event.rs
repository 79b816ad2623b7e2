//! Events, of either group: the newer one is strict.

use serde_json::Value;

use super::faults::{Faults, Path, Shown};
use super::{meta, names};
use crate::Kind;
use crate::access::Access;

/// A new event.
pub(super) fn create(kind: &Kind, object: &Value, faults: &mut Faults) {
    legacy(object, faults);
    if kind.group.is_empty() {
        return;
    }
    meta::validate_strictly(kind, object, faults);
    series(object, faults);
    if !object.has("eventTime") {
        faults.required(&Path::root("eventTime"), "");
    }
    let event_type = object.text("type");
    if !matches!(event_type, "Normal" | "Warning") {
        let why = format!("has invalid value: {event_type}");
        faults.invalid(&Path::root("type"), "", &why);
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
        faults.invalid(&Path::root(field), "", "needs to be unset");
    }
}

/// A changed event: in the newer group only the series may change.
pub(super) fn update(kind: &Kind, old: &Value, new: &Value, faults: &mut Faults) {
    legacy(new, faults);
    if kind.group.is_empty() {
        return;
    }
    meta::validate_update(old, new, faults);
    if old["series"] != new["series"] {
        series(new, faults);
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
                Some(other) => Shown::go(other.to_string()),
                None => Shown::go("null"),
            };
            faults.invalid(&Path::root(shown), value, "field is immutable");
        }
    }
}

fn series(object: &Value, faults: &mut Faults) {
    let Some(series) = object.field("series") else {
        return;
    };
    if series.int("count") < 2 {
        faults.invalid(&Path::root("series.count"), "", "should be at least 2");
    }
    if !series.has("lastObservedTime") {
        faults.required(&Path::root("series.lastObservedTime"), "");
    }
}

fn either<'a>(object: &'a Value, one: &str, other: &str) -> &'a str {
    match object.text(one) {
        "" => object.text(other),
        text => text,
    }
}

/// The rules that hold for all events.
fn legacy(object: &Value, faults: &mut Faults) {
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
        faults.invalid(&path.child("namespace"), about_namespace, why);
    }
    if timed {
        timed_event(object, faults);
    }
    names::check_subdomain(&Path::root("namespace"), namespace, faults);
}

fn timed_event(object: &Value, faults: &mut Faults) {
    let controller = either(object, "reportingComponent", "reportingController");
    let path = Path::root("reportingController");
    if controller.is_empty() {
        faults.required(&path, "");
    }
    names::check_qualified(&path, controller, faults);
    for (field, limit) in [("reportingInstance", 128), ("action", 128), ("reason", 128)] {
        let text = object.text(field);
        if text.is_empty() {
            faults.required(&Path::root(field), "");
        }
        too_long(field, text, limit, faults);
    }
    too_long("message", either(object, "message", "note"), 1024, faults);
}

fn too_long(field: &str, text: &str, limit: usize, faults: &mut Faults) {
    if text.len() > limit {
        let why = format!("can have at most {limit} characters");
        faults.invalid(&Path::root(field), "", &why);
    }
}
