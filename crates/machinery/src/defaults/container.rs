//! Defaults of containers, in pods and in pod templates.

use serde_json::Value;

use super::{child, existing, resources, set, set_number, set_text};
use crate::json_fields::{ReadFields, WriteFields};

/// Sets the defaults of a container, in a pod or a pod template.
pub(super) fn container(container: &mut Value) {
    let policy = pull_policy(container.text("image"));
    set_text(container, "imagePullPolicy", policy);
    set_text(container, "terminationMessagePath", "/dev/termination-log");
    set_text(container, "terminationMessagePolicy", "File");
    resources::requirements(child(container, "resources"));
    for port in container.items_mut("ports") {
        set_text(port, "protocol", "TCP");
    }
    for variable in container.items_mut("env") {
        if let Some(source) = existing(variable, "valueFrom") {
            field_source(source);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(value) = existing(container, name) {
            probe(value);
        }
    }
    if let Some(lifecycle) = existing(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(handler) = existing(lifecycle, name) {
                http_get(handler);
            }
        }
    }
}

/// Sets the defaults of a `fieldRef` (`apiVersion`) and of a `resourceFieldRef` (`divisor`).
pub(super) fn field_source(source: &mut Value) {
    if let Some(field) = existing(source, "fieldRef") {
        set_text(field, "apiVersion", "v1");
    }
    if let Some(field) = existing(source, "resourceFieldRef") {
        set(field, "divisor", "0");
    }
}

fn probe(probe: &mut Value) {
    set_number(probe, "timeoutSeconds", 1);
    set_number(probe, "periodSeconds", 10);
    set_number(probe, "successThreshold", 1);
    set_number(probe, "failureThreshold", 3);
    http_get(probe);
    if let Some(grpc) = existing(probe, "grpc") {
        set(grpc, "service", "");
    }
}

fn http_get(handler: &mut Value) {
    if let Some(http) = existing(handler, "httpGet") {
        set_text(http, "path", "/");
        set_text(http, "scheme", "HTTP");
    }
}

/// The default `imagePullPolicy`: `Always` for an image without tag and digest or with the tag
/// `latest`, otherwise `IfNotPresent`.
pub(super) fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = match image.split_once('@') {
        Some((name, _)) => (name, true),
        None => (image, false),
    };
    let after_slash = name.rfind('/').map_or(0, |at| at + 1);
    let tag = name[after_slash..].split_once(':').map(|(_, tag)| tag);
    let repository = tag.map_or(name, |tag| &name[..name.len() - tag.len() - 1]);
    let readable = !repository.is_empty()
        && !image.contains(char::is_whitespace)
        && !repository[repository.find('/').map_or(0, |at| at + 1)..]
            .contains(|c: char| c.is_ascii_uppercase());
    match tag {
        Some("latest") if readable => "Always",
        None if readable && !digest => "Always",
        _ => "IfNotPresent",
    }
}
