//! Rules of pods that name their operating system.

use serde_json::Value;

use super::faults::{Faults, Path};
use crate::access::Access;

const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Fields of the security context that only Linux has: of a pod, and of a container.
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
/// Fields of the pod that only Linux has.
const LINUX_OF_SPEC: [&str; 4] = ["hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"];

/// `os`, and what does not go with it.
pub(super) fn os(path: &Path<'_>, pod: &Value, faults: &mut Faults) {
    let Some(os) = pod.field("os") else { return };
    let os_path = path.child("os");
    match os.text("name") {
        "" => faults.required(&os_path.child("name"), "cannot be empty"),
        "linux" => linux(path, pod, faults),
        "windows" => windows(path, pod, faults),
        name => faults.not_supported(&os_path, name, &["linux", "windows"]),
    }
}

fn linux(path: &Path<'_>, pod: &Value, faults: &mut Faults) {
    let why = "windows options cannot be set for a linux pod";
    forbid(
        &path.child("securityContext"),
        &pod["securityContext"],
        &["windowsOptions"],
        why,
        faults,
    );
    of_containers(path, pod, &["windowsOptions"], why, faults);
}

fn windows(path: &Path<'_>, pod: &Value, faults: &mut Faults) {
    let why = "cannot be set for a windows pod";
    forbid(
        &path.child("securityContext"),
        &pod["securityContext"],
        &LINUX_OF_POD,
        why,
        faults,
    );
    forbid(path, pod, &LINUX_OF_SPEC, why, faults);
    of_containers(path, pod, &LINUX_OF_CONTAINER, why, faults);
}

fn of_containers(path: &Path<'_>, pod: &Value, fields: &[&str], why: &str, faults: &mut Faults) {
    for list in LISTS {
        let list_path = path.child(list);
        for (at, container) in pod.items(list).iter().enumerate() {
            let item = list_path.index(at);
            let context = item.child("securityContext");
            forbid(&context, &container["securityContext"], fields, why, faults);
        }
    }
}

fn forbid(path: &Path<'_>, object: &Value, fields: &[&str], why: &str, faults: &mut Faults) {
    for field in fields.iter().filter(|field| object.has(field)) {
        faults.forbidden(&path.child(field), why);
    }
}
