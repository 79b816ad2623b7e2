//! Checks of what the security contexts of containers allow them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Violation,
    pod::{Pod, containers, context, quoted_set},
};
use crate::json_fields::ReadFields;

/// Capabilities that containers of level baseline may add.
const DEFAULT_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

pub(super) fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let bad = pod.containers_that(|container| context(container).flag("privileged"));
    (!bad.is_empty()).then(|| Violation {
        reason: "privileged",
        detail: format!(
            "{} must not set securityContext.privileged=true",
            containers(&bad)
        ),
    })
}

pub(super) fn privilege_escalation(pod: &Pod<'_>) -> Option<Violation> {
    let bad =
        pod.containers_that(|container| context(container)["allowPrivilegeEscalation"] != false);
    (!bad.is_empty()).then(|| Violation {
        reason: "allowPrivilegeEscalation != false",
        detail: format!(
            "{} must set securityContext.allowPrivilegeEscalation=false",
            containers(&bad)
        ),
    })
}

/// Pods for Windows, which do not have the field, are exempt.
pub(super) fn privilege_escalation_1_25(pod: &Pod<'_>) -> Option<Violation> {
    (!pod.is_windows())
        .then(|| privilege_escalation(pod))
        .flatten()
}

/// The texts of a list of capabilities.
fn listed<'a>(container: &'a Value, list: &str) -> impl Iterator<Item = &'a str> {
    let items = context(container)["capabilities"].items(list);
    items.iter().filter_map(Value::as_str)
}

/// Containers that add capabilities which are not allowed: `container "a" must not include ...`.
fn forbidden_additions(pod: &Pod<'_>, allowed: &[&str]) -> Option<String> {
    let mut forbidden = BTreeSet::new();
    let bad = pod.containers_that(|container| {
        let added = listed(container, "add").filter(|added| !allowed.contains(added));
        let added: Vec<&str> = added.collect();
        forbidden.extend(&added);
        !added.is_empty()
    });
    (!bad.is_empty()).then(|| {
        format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&bad),
            quoted_set(&forbidden)
        )
    })
}

pub(super) fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let detail = forbidden_additions(pod, &DEFAULT_CAPABILITIES)?;
    Some(Violation {
        reason: "non-default capabilities",
        detail,
    })
}

pub(super) fn capabilities_restricted(pod: &Pod<'_>) -> Option<Violation> {
    let keeps = pod.containers_that(|container| !listed(container, "drop").any(|c| c == "ALL"));
    let keeps = (!keeps.is_empty()).then(|| {
        format!(
            "{} must set securityContext.capabilities.drop=[\"ALL\"]",
            containers(&keeps)
        )
    });
    let adds = forbidden_additions(pod, &["NET_BIND_SERVICE"]);
    let details: Vec<String> = keeps.into_iter().chain(adds).collect();
    (!details.is_empty()).then(|| Violation {
        reason: "unrestricted capabilities",
        detail: details.join("; "),
    })
}

/// Pods for Windows, which do not have capabilities, are exempt.
pub(super) fn capabilities_restricted_1_25(pod: &Pod<'_>) -> Option<Violation> {
    (!pod.is_windows())
        .then(|| capabilities_restricted(pod))
        .flatten()
}

pub(super) fn proc_mount(pod: &Pod<'_>) -> Option<Violation> {
    let mut forbidden = BTreeSet::new();
    let bad = pod.containers_that(|container| {
        let set = context(container).get("procMount").and_then(Value::as_str);
        let other = set.filter(|set| *set != "Default");
        forbidden.extend(other);
        other.is_some()
    });
    (!bad.is_empty()).then(|| Violation {
        reason: "procMount",
        detail: format!(
            "{} must not set securityContext.procMount to {}",
            containers(&bad),
            quoted_set(&forbidden)
        ),
    })
}

/// Pods with a user namespace are exempt.
pub(super) fn proc_mount_1_35(pod: &Pod<'_>) -> Option<Violation> {
    (!pod.has_user_namespace())
        .then(|| proc_mount(pod))
        .flatten()
}
