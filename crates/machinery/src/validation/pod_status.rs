//! Writes to `/status` of a pod.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::error_list::{ErrorList, GoValue, Path};
use super::names;
use crate::json_fields::ReadFields;

const STATUS: Path<'static> = Path::root("status");

/// Validates a changed status (upstream's `ValidatePodStatusUpdate`).
pub(crate) fn update(old: &Value, new: &Value, errors: &mut ErrorList) {
    conditions(new["status"].items("conditions"), errors);
    if old["spec"].text("nodeName") != new["spec"].text("nodeName") {
        errors.forbidden(&STATUS.child("nodeName"), "may not be changed directly");
    }
    let (before, after) = (&old["status"], &new["status"]);
    let nominated = after.text("nominatedNodeName");
    if nominated != before.text("nominatedNodeName") && !nominated.is_empty() {
        names::check_subdomain(&STATUS.child("nominatedNodeName"), nominated, errors);
    }
    let class = after.text("qosClass");
    if class != before.text("qosClass") {
        errors.invalid(&STATUS.child("qosClass"), class, "field is immutable");
    }
    let policy = old["spec"].text("restartPolicy");
    let sidecars = sidecars(&old["spec"]);
    transitions("containerStatuses", before, after, policy, &[], errors);
    transitions(
        "initContainerStatuses",
        before,
        after,
        policy,
        &sidecars,
        errors,
    );
    transitions(
        "ephemeralContainerStatuses",
        before,
        after,
        "Never",
        &[],
        errors,
    );
    pod_ips(after, errors);
    host_ips(after, errors);
}

fn conditions(conditions: &[Value], errors: &mut ErrorList) {
    let metadata = Path::root("metadata");
    let list = metadata.child("conditions");
    for (at, condition) in conditions.iter().enumerate() {
        let kind = condition.text("type");
        if !matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            names::check_qualified(&list.index(at).child("Type"), kind, errors);
        }
    }
}

fn sidecars(spec: &Value) -> Vec<&str> {
    let init = spec.items("initContainers").iter();
    init.filter(|c| c.text("restartPolicy") == "Always")
        .map(|c| c.text("name"))
        .collect()
}

/// Refuses states of containers that terminated for good and do not say so any more (upstream's
/// `ValidateContainerStateTransition`).
fn transitions(
    list: &str,
    old: &Value,
    new: &Value,
    policy: &str,
    exempt: &[&str],
    errors: &mut ErrorList,
) {
    if policy == "Always" {
        return;
    }
    let path = STATUS.child(list);
    let mut after: BTreeMap<&str, &Value> = BTreeMap::new();
    for status in new.items(list) {
        after.entry(status.text("name")).or_insert(status);
    }
    let exempt: BTreeSet<&str> = exempt.iter().copied().collect();
    for (at, before) in old.items(list).iter().enumerate() {
        let Some(terminated) = before["state"].field("terminated") else {
            continue;
        };
        let name = before.text("name");
        let may_restart = terminated.int("exitCode") != 0 && policy == "OnFailure";
        if may_restart || exempt.contains(name) {
            continue;
        }
        if after
            .get(name)
            .is_some_and(|status| !status["state"].has("terminated"))
        {
            let why = "may not be transitioned to non-terminated state";
            errors.forbidden(&path.index(at).child("state"), why);
        }
    }
}

fn pod_ips(status: &Value, errors: &mut ErrorList) {
    ips(
        &STATUS.child("podIPs"),
        status.items("podIPs"),
        "core.PodIP",
        errors,
    );
}

fn host_ips(status: &Value, errors: &mut ErrorList) {
    let path = STATUS.child("hostIPs");
    let list = status.items("hostIPs");
    let Some(first) = list.first() else { return };
    if first.text("ip") != status.text("hostIP") {
        let item = path.index(0);
        errors.invalid(
            &item.child("ip"),
            first.text("ip"),
            "must be equal to `hostIP`",
        );
    }
    ips(&path, list, "core.HostIP", errors);
}

/// Validates a list of at most one address of each IP family.
fn ips(path: &Path<'_>, list: &[Value], kind: &str, errors: &mut ErrorList) {
    for (at, ip) in list.iter().enumerate() {
        names::check_ip(&path.index(at), ip.text("ip"), errors);
    }
    if list.len() < 2 {
        return;
    }
    let shown = |ip: &Value| format!("{kind}{{IP:\"{}\"}}", ip.text("ip"));
    let sixes = list.iter().filter(|ip| ip.text("ip").contains(':')).count();
    if list.len() > 2 || sixes != 1 {
        let all: Vec<String> = list.iter().map(shown).collect();
        let all = GoValue::formatted(format!("[]{kind}{{{}}}", all.join(", ")));
        errors.invalid(
            path,
            all,
            "may specify no more than one IP for each IP family",
        );
    }
    let mut seen = BTreeSet::new();
    for (at, ip) in list.iter().enumerate() {
        if !seen.insert(ip.text("ip")) {
            errors.duplicate(&path.index(at), GoValue::formatted(shown(ip)));
        }
    }
}
