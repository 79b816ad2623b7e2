//! `os` of a pod, and the fields that an operating system does not have (upstream's `validateOS`).

use serde_json::Value;

use super::error_list::{ErrorList, Path};
use crate::json_fields::ReadFields;

const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Fields of the security context of a pod that only Linux has.
const LINUX_OF_POD: [&str; 11] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
];
/// Fields of the security context of a container that only Linux has.
const LINUX_OF_CONTAINER: [&str; 10] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];
/// Fields of the spec of a pod that only Linux has.
const LINUX_OF_SPEC: [&str; 4] = ["hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"];

/// Validates `os` and the fields that must not be set for it.
pub(super) fn os(path: &Path<'_>, pod: &Value, errors: &mut ErrorList) {
    let Some(os) = pod.field("os") else { return };
    let os_path = path.child("os");
    match os.text("name") {
        "" => errors.required(&os_path.child("name"), "cannot be empty"),
        "linux" => linux(path, pod, errors),
        "windows" => windows(path, pod, errors),
        name => errors.not_supported(&os_path, name, &["linux", "windows"]),
    }
}

fn linux(path: &Path<'_>, pod: &Value, errors: &mut ErrorList) {
    let why = "windows options cannot be set for a linux pod";
    forbid(
        &path.child("securityContext"),
        &pod["securityContext"],
        &["windowsOptions"],
        why,
        errors,
    );
    of_containers(path, pod, &["windowsOptions"], why, errors);
}

fn windows(path: &Path<'_>, pod: &Value, errors: &mut ErrorList) {
    let why = "cannot be set for a windows pod";
    forbid(
        &path.child("securityContext"),
        &pod["securityContext"],
        &LINUX_OF_POD,
        why,
        errors,
    );
    forbid(path, pod, &LINUX_OF_SPEC, why, errors);
    of_containers(path, pod, &LINUX_OF_CONTAINER, why, errors);
}

fn of_containers(path: &Path<'_>, pod: &Value, fields: &[&str], why: &str, errors: &mut ErrorList) {
    for list in LISTS {
        let list_path = path.child(list);
        for (at, container) in pod.items(list).iter().enumerate() {
            let item = list_path.index(at);
            let context = item.child("securityContext");
            forbid(&context, &container["securityContext"], fields, why, errors);
        }
    }
}

fn forbid(path: &Path<'_>, object: &Value, fields: &[&str], why: &str, errors: &mut ErrorList) {
    for field in fields.iter().filter(|field| object.has(field)) {
        errors.forbidden(&path.child(field), why);
    }
}
