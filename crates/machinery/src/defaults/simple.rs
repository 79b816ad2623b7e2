//! Defaults of the kinds with few of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{child, existing, pod, put, resources, set, set_text};
use crate::json_fields::ReadFields;

/// Old revisions that a `DaemonSet` keeps for a rollback.
const REVISIONS: i64 = 10;

/// The label with the name of a namespace, for namespace selectors.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

pub(crate) fn daemon_set(object: &mut Value) {
    let spec = child(object, "spec");
    let strategy = child(spec, "updateStrategy");
    set_text(strategy, "type", "RollingUpdate");
    if strategy.text("type") == "RollingUpdate" {
        let rolling = child(strategy, "rollingUpdate");
        set(rolling, "maxUnavailable", 1);
        set(rolling, "maxSurge", 0);
    }
    set(spec, "revisionHistoryLimit", REVISIONS);
    let template = child(spec, "template");
    child(template, "metadata");
    pod::pod_spec(child(template, "spec"));
    let status = child(object, "status");
    let counters = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
    ];
    for counter in counters {
        set(status, counter, 0);
    }
}

pub(crate) fn namespace(object: &mut Value) {
    let name = object["metadata"].text("name").to_owned();
    if !name.is_empty() {
        put(
            child(child(object, "metadata"), "labels"),
            NAMESPACE_LABEL,
            name,
        );
    }
    child(object, "spec");
    set_text(child(object, "status"), "phase", "Active");
}

pub(crate) fn node(object: &mut Value) {
    let spec = child(object, "spec");
    match (
        spec.text("podCIDR").to_owned(),
        spec.items("podCIDRs").first().cloned(),
    ) {
        (cidr, None) if !cidr.is_empty() => put(spec, "podCIDRs", json!([cidr])),
        (_, Some(first)) => put(spec, "podCIDR", first),
        _ => {}
    }
    let status = child(object, "status");
    if let Some(capacity) = status.field("capacity").cloned() {
        set(status, "allocatable", capacity);
    }
    for list in ["capacity", "allocatable"] {
        if let Some(amounts) = existing(status, list) {
            resources::round(amounts);
        }
    }
    set(
        child(child(status, "daemonEndpoints"), "kubeletEndpoint"),
        "Port",
        0,
    );
    let info = child(status, "nodeInfo");
    let texts = [
        "architecture",
        "bootID",
        "containerRuntimeVersion",
        "kernelVersion",
        "kubeProxyVersion",
        "kubeletVersion",
        "machineID",
        "operatingSystem",
        "osImage",
        "systemUUID",
    ];
    for text in texts {
        set(info, text, "");
    }
}

/// Moves `stringData`, which is write-only, into `data`.
pub(crate) fn secret(object: &mut Value) {
    let plain = object
        .as_object_mut()
        .and_then(|fields| fields.remove("stringData"));
    if let Some(Value::Object(plain)) = plain.filter(|p| p != &Value::Object(Map::new())) {
        let data = child(object, "data");
        for (key, text) in plain {
            put(
                data,
                &key,
                STANDARD.encode(text.as_str().unwrap_or_default()),
            );
        }
    }
    set_text(object, "type", "Opaque");
}

pub(crate) fn priority_class(object: &mut Value) {
    set(object, "value", 0);
    set(object, "preemptionPolicy", "PreemptLowerPriority");
}

pub(crate) fn event(object: &mut Value) {
    for name in ["source", "involvedObject"] {
        child(object, name);
    }
    for name in ["reportingComponent", "reportingInstance"] {
        set(object, name, "");
    }
}
