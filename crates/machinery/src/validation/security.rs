//! Security contexts of pods and containers.

use std::collections::BTreeSet;

use serde_json::Value;

use super::faults::{Faults, Path, Shown};
use super::names;
use super::volume::relative_path;
use crate::access::Access;

/// The largest user or group id.
const MAX_ID: i64 = 0xffff_ffff;

const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

/// `securityContext` of a pod.
pub(super) fn pod(spec: &Path<'_>, pod: &Value, faults: &mut Faults) {
    let path = spec.child("securityContext");
    let context = &pod["securityContext"];
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        check_id(&path.child(field), context.field(field), faults);
    }
    for (at, group) in context.items("supplementalGroups").iter().enumerate() {
        check_id(
            &path.child("supplementalGroups").index(at),
            Some(group),
            faults,
        );
    }
    if pod.flag("hostPID") && pod.flag("shareProcessNamespace") {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        faults.invalid(&path.child("shareProcessNamespace"), true, why);
    }
    sysctls(&path.child("sysctls"), pod, faults);
    optional(
        &path,
        context,
        "fsGroupChangePolicy",
        &["Always", "OnRootMismatch"],
        faults,
    );
    seccomp(
        &path.child("seccompProfile"),
        context.field("seccompProfile"),
        faults,
    );
    app_armor(
        &path.child("appArmorProfile"),
        context.field("appArmorProfile"),
        faults,
    );
    optional(
        &path,
        context,
        "supplementalGroupsPolicy",
        &["Merge", "Strict"],
        faults,
    );
    optional(
        &path,
        context,
        "seLinuxChangePolicy",
        &["MountOption", "Recursive"],
        faults,
    );
}

/// `securityContext` of a container.
pub(super) fn container(path: &Path<'_>, context: &Value, host_users: bool, faults: &mut Faults) {
    if context.is_null() {
        return;
    }
    for field in ["runAsUser", "runAsGroup"] {
        check_id(&path.child(field), context.field(field), faults);
    }
    optional(path, context, "procMount", &["Default", "Unmasked"], faults);
    if host_users && context.text("procMount") == "Unmasked" {
        let why = "`hostUsers` must be false to use `Unmasked`";
        faults.invalid(&path.child("procMount"), "Unmasked", why);
    }
    seccomp(
        &path.child("seccompProfile"),
        context.field("seccompProfile"),
        faults,
    );
    escalation(path, context, faults);
    app_armor(
        &path.child("appArmorProfile"),
        context.field("appArmorProfile"),
        faults,
    );
}

/// A container that may do everything cannot be kept from getting more.
fn escalation(path: &Path<'_>, context: &Value, faults: &mut Faults) {
    let escalation = context
        .field("allowPrivilegeEscalation")
        .and_then(Value::as_bool);
    if escalation != Some(false) {
        return;
    }
    let shown = || Shown::go("core.SecurityContext{}");
    if context.flag("privileged") {
        let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        faults.invalid(path, shown(), why);
    }
    for capability in context["capabilities"].items("add") {
        if capability == "CAP_SYS_ADMIN" {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` \
                       CAP_SYS_ADMIN";
            faults.invalid(path, shown(), why);
        }
    }
}

fn check_id(path: &Path<'_>, id: Option<&Value>, faults: &mut Faults) {
    if let Some(id) = id.and_then(Value::as_i64)
        && !(0..=MAX_ID).contains(&id)
    {
        faults.invalid(path, id, &names::range(0, MAX_ID));
    }
}

fn optional(
    path: &Path<'_>,
    context: &Value,
    field: &str,
    supported: &[&str],
    faults: &mut Faults,
) {
    if let Some(value) = context.field(field).and_then(Value::as_str) {
        faults.one_of(&path.child(field), value, supported);
    }
}

fn seccomp(path: &Path<'_>, profile: Option<&Value>, faults: &mut Faults) {
    let Some(profile) = profile else { return };
    match profile.text("type") {
        "" => {
            faults.required(
                &path.child("type"),
                "type is required when seccompProfile is set",
            );
        }
        kind => faults.one_of(&path.child("type"), kind, &PROFILES),
    }
    let local_path = path.child("localhostProfile");
    let local = profile.field("localhostProfile").and_then(Value::as_str);
    match (profile.text("type"), local) {
        ("Localhost", None) => {
            faults.required(&local_path, "must be set when seccomp type is Localhost");
        }
        ("Localhost", Some(file)) => relative_path(&local_path, file, faults),
        (_, Some(_)) => {
            let shown = Shown::go("core.SeccompProfile{}");
            faults.invalid(
                &local_path,
                shown,
                "can only be set when seccomp type is Localhost",
            );
        }
        (_, None) => {}
    }
}

fn app_armor(path: &Path<'_>, profile: Option<&Value>, faults: &mut Faults) {
    let Some(profile) = profile else { return };
    let local_path = path.child("localhostProfile");
    let local = profile.field("localhostProfile").and_then(Value::as_str);
    match (profile.text("type"), local) {
        ("Localhost", None | Some("")) => {
            faults.required(&local_path, "must be set when AppArmor type is Localhost");
        }
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                faults.invalid(&local_path, name, "must not be padded with whitespace");
            }
            if name.len() > 4095 {
                faults.too_long(&local_path, 4095);
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            faults.invalid(
                &local_path,
                name,
                "can only be set when AppArmor type is Localhost",
            );
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("", _) => {
            faults.required(
                &path.child("type"),
                "type is required when appArmorProfile is set",
            );
        }
        (kind, _) => faults.one_of(&path.child("type"), kind, &PROFILES),
    }
}

fn sysctls(path: &Path<'_>, pod: &Value, faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for (at, sysctl) in pod["securityContext"].items("sysctls").iter().enumerate() {
        let item = path.index(at);
        let path = item.child("name");
        let name = sysctl.text("name");
        if name.is_empty() {
            faults.required(&path, "");
        } else if !is_sysctl(name) {
            let why = "must have at most 253 characters and match regex \
                       ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            faults.invalid(&path, name, why);
        } else if seen.contains(name) {
            faults.duplicate(&path, name);
        }
        let plain = name.replace('/', ".");
        if pod.flag("hostNetwork") && plain.starts_with("net.") {
            faults.invalid(
                &path,
                name,
                "may not be specified when 'hostNetwork' is true",
            );
        }
        let shared = ["kernel.shm", "kernel.msg", "fs.mqueue."]
            .iter()
            .any(|p| plain.starts_with(p));
        if pod.flag("hostIPC") && (shared || plain == "kernel.sem") {
            faults.invalid(&path, name, "may not be specified when 'hostIPC' is true");
        }
        seen.insert(name);
    }
}

fn is_sysctl(name: &str) -> bool {
    let segment = |segment: &str| {
        let bytes = segment.as_bytes();
        let alnum = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        bytes.first().is_some_and(alnum)
            && bytes.last().is_some_and(alnum)
            && bytes.iter().all(|b| alnum(b) || matches!(b, b'-' | b'_'))
    };
    name.len() <= 253 && name.split(['.', '/']).all(segment)
}
