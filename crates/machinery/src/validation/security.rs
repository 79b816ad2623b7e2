//! Security contexts of pods and containers.

use std::collections::BTreeSet;

use serde_json::Value;

use super::error_list::{ErrorList, GoValue, Path};
use super::names;
use super::volume::relative_path;
use crate::json_fields::ReadFields;

/// The largest user or group ID.
const MAX_ID: i64 = 0xffff_ffff;

const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

/// Validates `securityContext` of a pod (upstream's `validatePodSpecSecurityContext`).
pub(super) fn pod(spec: &Path<'_>, pod: &Value, errors: &mut ErrorList) {
    let path = spec.child("securityContext");
    let context = &pod["securityContext"];
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        check_id(&path.child(field), context.field(field), errors);
    }
    for (at, group) in context.items("supplementalGroups").iter().enumerate() {
        check_id(
            &path.child("supplementalGroups").index(at),
            Some(group),
            errors,
        );
    }
    if pod.flag("hostPID") && pod.flag("shareProcessNamespace") {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&path.child("shareProcessNamespace"), true, why);
    }
    sysctls(&path.child("sysctls"), pod, errors);
    optional(
        &path,
        context,
        "fsGroupChangePolicy",
        &["Always", "OnRootMismatch"],
        errors,
    );
    seccomp(
        &path.child("seccompProfile"),
        context.field("seccompProfile"),
        errors,
    );
    app_armor(
        &path.child("appArmorProfile"),
        context.field("appArmorProfile"),
        errors,
    );
    optional(
        &path,
        context,
        "supplementalGroupsPolicy",
        &["Merge", "Strict"],
        errors,
    );
    optional(
        &path,
        context,
        "seLinuxChangePolicy",
        &["MountOption", "Recursive"],
        errors,
    );
}

/// Validates `securityContext` of a container (upstream's `ValidateSecurityContext`).
pub(super) fn container(
    path: &Path<'_>,
    context: &Value,
    host_users: bool,
    errors: &mut ErrorList,
) {
    if context.is_null() {
        return;
    }
    for field in ["runAsUser", "runAsGroup"] {
        check_id(&path.child(field), context.field(field), errors);
    }
    optional(path, context, "procMount", &["Default", "Unmasked"], errors);
    if host_users && context.text("procMount") == "Unmasked" {
        let why = "`hostUsers` must be false to use `Unmasked`";
        errors.invalid(&path.child("procMount"), "Unmasked", why);
    }
    seccomp(
        &path.child("seccompProfile"),
        context.field("seccompProfile"),
        errors,
    );
    escalation(path, context, errors);
    app_armor(
        &path.child("appArmorProfile"),
        context.field("appArmorProfile"),
        errors,
    );
}

/// Refuses `allowPrivilegeEscalation: false` for a container with all privileges or
/// `CAP_SYS_ADMIN`.
fn escalation(path: &Path<'_>, context: &Value, errors: &mut ErrorList) {
    let escalation = context
        .field("allowPrivilegeEscalation")
        .and_then(Value::as_bool);
    if escalation != Some(false) {
        return;
    }
    let shown = || GoValue::formatted("core.SecurityContext{}");
    if context.flag("privileged") {
        let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        errors.invalid(path, shown(), why);
    }
    for capability in context["capabilities"].items("add") {
        if capability == "CAP_SYS_ADMIN" {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` \
                       CAP_SYS_ADMIN";
            errors.invalid(path, shown(), why);
        }
    }
}

fn check_id(path: &Path<'_>, id: Option<&Value>, errors: &mut ErrorList) {
    if let Some(id) = id.and_then(Value::as_i64)
        && !(0..=MAX_ID).contains(&id)
    {
        errors.invalid(path, id, &names::range(0, MAX_ID));
    }
}

fn optional(
    path: &Path<'_>,
    context: &Value,
    field: &str,
    supported: &[&str],
    errors: &mut ErrorList,
) {
    if let Some(value) = context.field(field).and_then(Value::as_str) {
        errors.one_of(&path.child(field), value, supported);
    }
}

fn seccomp(path: &Path<'_>, profile: Option<&Value>, errors: &mut ErrorList) {
    let Some(profile) = profile else { return };
    match profile.text("type") {
        "" => {
            errors.required(
                &path.child("type"),
                "type is required when seccompProfile is set",
            );
        }
        kind => errors.one_of(&path.child("type"), kind, &PROFILES),
    }
    let local_path = path.child("localhostProfile");
    let local = profile.field("localhostProfile").and_then(Value::as_str);
    match (profile.text("type"), local) {
        ("Localhost", None) => {
            errors.required(&local_path, "must be set when seccomp type is Localhost");
        }
        ("Localhost", Some(file)) => relative_path(&local_path, file, errors),
        (_, Some(_)) => {
            let shown = GoValue::formatted("core.SeccompProfile{}");
            errors.invalid(
                &local_path,
                shown,
                "can only be set when seccomp type is Localhost",
            );
        }
        (_, None) => {}
    }
}

fn app_armor(path: &Path<'_>, profile: Option<&Value>, errors: &mut ErrorList) {
    let Some(profile) = profile else { return };
    let local_path = path.child("localhostProfile");
    let local = profile.field("localhostProfile").and_then(Value::as_str);
    match (profile.text("type"), local) {
        ("Localhost", None | Some("")) => {
            errors.required(&local_path, "must be set when AppArmor type is Localhost");
        }
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                errors.invalid(&local_path, name, "must not be padded with whitespace");
            }
            if name.len() > 4095 {
                errors.too_long(&local_path, 4095);
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            errors.invalid(
                &local_path,
                name,
                "can only be set when AppArmor type is Localhost",
            );
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("", _) => {
            errors.required(
                &path.child("type"),
                "type is required when appArmorProfile is set",
            );
        }
        (kind, _) => errors.one_of(&path.child("type"), kind, &PROFILES),
    }
}

fn sysctls(path: &Path<'_>, pod: &Value, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for (at, sysctl) in pod["securityContext"].items("sysctls").iter().enumerate() {
        let item = path.index(at);
        let path = item.child("name");
        let name = sysctl.text("name");
        if name.is_empty() {
            errors.required(&path, "");
        } else if !is_sysctl(name) {
            let why = "must have at most 253 characters and match regex \
                       ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.invalid(&path, name, why);
        } else if seen.contains(name) {
            errors.duplicate(&path, name);
        }
        let plain = name.replace('/', ".");
        if pod.flag("hostNetwork") && plain.starts_with("net.") {
            errors.invalid(
                &path,
                name,
                "may not be specified when 'hostNetwork' is true",
            );
        }
        let shared = ["kernel.shm", "kernel.msg", "fs.mqueue."]
            .iter()
            .any(|p| plain.starts_with(p));
        if pod.flag("hostIPC") && (shared || plain == "kernel.sem") {
            errors.invalid(&path, name, "may not be specified when 'hostIPC' is true");
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
