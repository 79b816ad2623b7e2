//! Defaults of pods and pod templates.

use serde_json::{Value, json};

use super::{child, container, existing, put, resources, set, set_text, volume};
use crate::json_fields::{ReadFields, WriteFields};

const CONTAINER_LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// Sets the defaults of a pod: those of a pod template, and those of pods alone.
pub(crate) fn pod(object: &mut Value) {
    let spec = child(object, "spec");
    pod_spec(spec);
    set(spec, "enableServiceLinks", true);
    for list in ["containers", "initContainers"] {
        spec.items_mut(list).for_each(requests_from_limits);
    }
    if spec.flag("hostNetwork") {
        host_ports(spec);
    }
    status(child(object, "status"));
}

/// Sets the defaults of the spec of a pod or pod template.
pub(super) fn pod_spec(spec: &mut Value) {
    set_text(spec, "dnsPolicy", "ClusterFirst");
    set_text(spec, "restartPolicy", "Always");
    set_text(spec, "schedulerName", "default-scheduler");
    set(spec, "terminationGracePeriodSeconds", 30);
    child(spec, "securityContext");
    service_account(spec);
    for list in CONTAINER_LISTS {
        spec.items_mut(list).for_each(container::container);
    }
    spec.items_mut("volumes").for_each(volume::volume);
    if let Some(overhead) = existing(spec, "overhead") {
        resources::round(overhead);
    }
    if let Some(requirements) = existing(spec, "resources") {
        resources::requirements(requirements);
    }
}

/// Gives `serviceAccount`, which is deprecated, the value of `serviceAccountName`.
fn service_account(spec: &mut Value) {
    let name = match spec.text("serviceAccountName") {
        "" => spec.text("serviceAccount"),
        name => name,
    }
    .to_owned();
    if !name.is_empty() {
        put(spec, "serviceAccountName", name.clone());
        put(spec, "serviceAccount", name);
    }
}

/// Sets the request of each resource that has only a limit.
fn requests_from_limits(container: &mut Value) {
    let requirements = child(container, "resources");
    let Some(limits) = requirements.entries("limits").cloned() else {
        return;
    };
    let requests = child(requirements, "requests");
    for (name, amount) in limits {
        set(requests, &name, amount);
    }
}

/// With `hostNetwork`, sets `hostPort` to `containerPort`.
fn host_ports(spec: &mut Value) {
    for list in ["containers", "initContainers"] {
        for container in spec.items_mut(list) {
            for port in container.items_mut("ports") {
                let number = port.int("containerPort");
                super::set_number(port, "hostPort", number);
            }
        }
    }
}

/// Makes `podIP` and the first of `podIPs` equal, and fills in the required fields of container
/// statuses.
fn status(status: &mut Value) {
    let ip = status.text("podIP").to_owned();
    let first = status
        .items("podIPs")
        .first()
        .map_or("", |ip| ip.text("ip"))
        .to_owned();
    if !ip.is_empty() && ip != first {
        put(status, "podIPs", json!([{ "ip": ip }]));
    } else if ip.is_empty() && !first.is_empty() {
        put(status, "podIP", first);
    }
    for list in [
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ] {
        for container in status.items_mut(list) {
            for name in ["state", "lastState"] {
                child(container, name);
            }
            for name in ["image", "imageID"] {
                set(container, name, "");
            }
        }
    }
}
