//! Pods and pod templates (`ValidatePodSpec` in upstream's `pkg/apis/core/validation`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::container::{self, Context};
use super::error_list::{ErrorList, GoValue, Path};
use super::{affinity, go_format, meta, names, os, resources, security, spread, volume};
use crate::json_fields::ReadFields;

const SPEC: Path<'static> = Path::root("spec");

/// The object that a pod spec belongs to; some rules hold for pods only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A Pod, as opposed to the template of a workload.
    Pod,
    /// A pod template.
    Template,
}

/// Validates a new pod; the metadata is validated already (upstream's `ValidatePodCreate`).
pub(crate) fn create(object: &Value, errors: &mut ErrorList) {
    metadata_and_spec(object, errors);
    let pod = &object["spec"];
    if !pod.items("ephemeralContainers").is_empty() {
        errors.forbidden(
            &SPEC.child("ephemeralContainers"),
            "cannot be set on create",
        );
    }
    if !pod.text("nodeName").is_empty() && !pod.items("schedulingGates").is_empty() {
        errors.forbidden(
            &SPEC.child("nodeName"),
            "cannot be set until all schedulingGates have been cleared",
        );
    }
}

/// Validates the rules for new and changed pods.
pub(super) fn metadata_and_spec(object: &Value, errors: &mut ErrorList) {
    let metadata = Path::root("metadata");
    pod_annotations(&metadata.child("annotations"), object, errors);
    let pod = &object["spec"];
    spec(&SPEC, pod, Place::Pod, errors);
    if pod.text("serviceAccountName").is_empty() {
        tokens_without_account(pod, errors);
    }
    for list in ["containers", "initContainers"] {
        let path = SPEC.child(list);
        for (at, container) in pod.items(list).iter().enumerate() {
            let image = container.text("image");
            if image.trim() != image {
                let why = "must not have leading or trailing whitespace";
                errors.invalid(&path.index(at).child("image"), image, why);
            }
        }
    }
}

fn tokens_without_account(pod: &Value, errors: &mut ErrorList) {
    let volumes = SPEC.child("volumes");
    for (at, volume) in pod.items("volumes").iter().enumerate() {
        for (source_at, source) in volume["projected"].items("sources").iter().enumerate() {
            if source.has("serviceAccountToken") {
                let volume_path = volumes.index(at);
                let projected = volume_path.child("projected");
                let sources = projected.child("sources");
                errors.forbidden(
                    &sources.index(source_at).child("serviceAccountToken"),
                    "must not be specified when serviceAccountName is not set",
                );
            }
        }
    }
}

/// Validates a pod template at `path`, which is `spec.template` (upstream's
/// `ValidatePodTemplateSpec`).
pub(super) fn template(path: &Path<'_>, template: &Value, errors: &mut ErrorList) {
    let metadata = &template["metadata"];
    meta::labels(&path.child("labels"), &metadata["labels"], errors);
    meta::annotations(&path.child("annotations"), &metadata["annotations"], errors);
    pod_annotations(&path.child("annotations"), template, errors);
    spec(
        &path.child("spec"),
        &template["spec"],
        Place::Template,
        errors,
    );
    if !template["spec"].items("ephemeralContainers").is_empty() {
        let spec_path = path.child("spec");
        errors.forbidden(
            &spec_path.child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
}

/// Validates the annotations of a pod that have rules (upstream's
/// `ValidatePodSpecificAnnotations`).
fn pod_annotations(path: &Path<'_>, object: &Value, errors: &mut ErrorList) {
    let annotations = &object["metadata"]["annotations"];
    let mirror = "kubernetes.io/config.mirror";
    if annotations.has(mirror) && object["spec"].text("nodeName").is_empty() {
        let why = "must set spec.nodeName if mirror pod annotation is set";
        errors.invalid(&path.key(mirror), annotations.text(mirror), why);
    }
    let cost = "controller.kubernetes.io/pod-deletion-cost";
    if let Some(text) = annotations.field(cost).and_then(Value::as_str)
        && text.parse::<i32>().is_err()
    {
        errors.invalid(&path.key(cost), text, "must be a 32bit integer");
    }
}

fn spec(path: &Path<'_>, pod: &Value, place: Place, errors: &mut ErrorList) {
    let grace = pod
        .field("terminationGracePeriodSeconds")
        .and_then(Value::as_i64);
    if grace.is_none() {
        errors.required(&path.child("terminationGracePeriodSeconds"), "");
    }
    let volumes: BTreeMap<&str, &Value> =
        volume::volumes(&path.child("volumes"), pod.items("volumes"), errors);
    let context = Context {
        volumes: &volumes,
        claims: pod.items("resourceClaims"),
        grace,
        restart_policy: pod.text("restartPolicy"),
        host_users: pod.field("hostUsers").and_then(Value::as_bool) != Some(false),
    };
    container::containers(path, pod, &context, errors);
    container::init_containers(path, pod, &context, errors);
    container::ephemeral_containers(path, pod, &context, errors);
    host_network(path, pod, place, errors);
    policies(path, pod, errors);
    meta::labels(&path.child("nodeSelector"), &pod["nodeSelector"], errors);
    security::pod(path, pod, errors);
    affinity::affinity(&path.child("affinity"), &pod["affinity"], errors);
    dns_config(&path.child("dnsConfig"), pod, errors);
    gates(path, pod, errors);
    spread::constraints(
        &path.child("topologySpreadConstraints"),
        pod.items("topologySpreadConstraints"),
        errors,
    );
    host_users(path, pod, errors);
    pod_names(path, pod, errors);
    affinity::tolerations(&path.child("tolerations"), pod.items("tolerations"), errors);
    host_aliases(&path.child("hostAliases"), pod.items("hostAliases"), errors);
    last_rules(path, pod, errors);
}

fn host_network(path: &Path<'_>, pod: &Value, place: Place, errors: &mut ErrorList) {
    if !pod.flag("hostNetwork") {
        return;
    }
    let containers = path.child("containers");
    for (at, container) in pod.items("containers").iter().enumerate() {
        for (port_at, port) in container.items("ports").iter().enumerate() {
            let (host, own) = (port.int("hostPort"), port.int("containerPort"));
            if (place == Place::Pod || host != 0) && host != own {
                let container_path = containers.index(at);
                let ports = container_path.child("ports");
                let why = "must match `containerPort` when `hostNetwork` is true";
                errors.invalid(&ports.index(port_at).child("hostPort"), host, why);
            }
        }
    }
}

fn policies(path: &Path<'_>, pod: &Value, errors: &mut ErrorList) {
    errors.required_one_of(
        &path.child("restartPolicy"),
        pod.text("restartPolicy"),
        &["Always", "OnFailure", "Never"],
    );
    errors.required_one_of(
        &path.child("dnsPolicy"),
        pod.text("dnsPolicy"),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    );
}

fn dns_config(path: &Path<'_>, pod: &Value, errors: &mut ErrorList) {
    let config = pod.field("dnsConfig");
    let servers = pod["dnsConfig"].items("nameservers");
    if pod.text("dnsPolicy") == "None" {
        if config.is_none() {
            errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        if servers.is_empty() {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.required(&path.child("nameservers"), why);
            return;
        }
    }
    let Some(config) = config else { return };
    let server_path = path.child("nameservers");
    if servers.len() > 3 {
        let shown = GoValue::formatted(go_format::strings(&config["nameservers"]));
        errors.invalid(&server_path, shown, "must not have more than 3 nameservers");
    }
    for (at, server) in servers.iter().enumerate() {
        check_ip(
            &server_path.index(at),
            server.as_str().unwrap_or_default(),
            errors,
        );
    }
    searches(&path.child("searches"), config, errors);
    for (at, option) in config.items("options").iter().enumerate() {
        if option.text("name").is_empty() {
            errors.required(&path.child("options").index(at), "must not be empty");
        }
    }
}

fn searches(path: &Path<'_>, config: &Value, errors: &mut ErrorList) {
    let all: Vec<&str> = config
        .items("searches")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let shown = || GoValue::formatted(go_format::strings(&config["searches"]));
    if all.len() > 32 {
        errors.invalid(path, shown(), "must not have more than 32 search paths");
    }
    if all.join(" ").len() > 2048 {
        let why = "must not have more than 2048 characters (including spaces) in the search list";
        errors.invalid(path, shown(), why);
    }
    for (at, search) in all.iter().enumerate().filter(|(_, search)| **search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        errors.invalid_all(&path.index(at), search, &names::search_path(search));
    }
}

fn gates(path: &Path<'_>, pod: &Value, errors: &mut ErrorList) {
    let readiness = path.child("readinessGates");
    for (at, gate) in pod.items("readinessGates").iter().enumerate() {
        let path = readiness.index(at);
        names::check_qualified(
            &path.child("conditionType"),
            gate.text("conditionType"),
            errors,
        );
    }
    let scheduling = path.child("schedulingGates");
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (at, gate) in pod.items("schedulingGates").iter().enumerate() {
        let name = gate.text("name");
        names::check_qualified(&scheduling.index(at), name, errors);
        if !seen.insert(name) {
            errors.duplicate(&scheduling.index(at), name);
        }
    }
}

fn host_users(path: &Path<'_>, pod: &Value, errors: &mut ErrorList) {
    if pod.field("hostUsers").and_then(Value::as_bool) != Some(false) {
        return;
    }
    for (field, shown) in [
        ("hostNetwork", "hostNetwork"),
        ("hostPID", "HostPID"),
        ("hostIPC", "HostIPC"),
    ] {
        if pod.flag(field) {
            errors.forbidden(&path.child(shown), "when `pod.Spec.HostUsers` is false");
        }
    }
}

fn pod_names(path: &Path<'_>, pod: &Value, errors: &mut ErrorList) {
    for field in ["serviceAccountName", "nodeName"] {
        let name = pod.text(field);
        if !name.is_empty() {
            names::check_subdomain(&path.child(field), name, errors);
        }
    }
    if let Some(seconds) = pod.field("activeDeadlineSeconds").and_then(Value::as_i64)
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        let why = names::range(1, i32::MAX.into());
        errors.invalid(&path.child("activeDeadlineSeconds"), seconds, &why);
    }
    for field in ["hostname", "subdomain"] {
        let name = pod.text(field);
        if !name.is_empty() {
            names::check_label(&path.child(field), name, errors);
        }
    }
}

/// Adds an error unless the text is an IP address, with the text for addresses in files of a pod.
fn check_ip(path: &Path<'_>, ip: &str, errors: &mut ErrorList) {
    if ip.parse::<std::net::IpAddr>().is_err() {
        errors.invalid(path, ip, "must be valid IP address");
    }
}

fn host_aliases(path: &Path<'_>, aliases: &[Value], errors: &mut ErrorList) {
    for alias in aliases {
        check_ip(&path.child("ip"), alias.text("ip"), errors);
        for name in alias.items("hostnames").iter().filter_map(Value::as_str) {
            names::check_subdomain(&path.child("hostnames"), name, errors);
        }
    }
}

fn last_rules(path: &Path<'_>, pod: &Value, errors: &mut ErrorList) {
    let class = pod.text("priorityClassName");
    if !class.is_empty() {
        names::check_subdomain(&path.child("priorityClassName"), class, errors);
    }
    if let Some(class) = pod.field("runtimeClassName").and_then(Value::as_str) {
        names::check_subdomain(&path.child("runtimeClassName"), class, errors);
    }
    if let Some(policy) = pod.field("preemptionPolicy").and_then(Value::as_str) {
        let supported = ["PreemptLowerPriority", "Never"];
        errors.required_one_of(&path.child("preemptionPolicy"), policy, &supported);
    }
    if let Some(overhead) = pod.field("overhead") {
        resources::list(&path.child("overhead").child("limits"), overhead, errors);
    }
    os::os(path, pod, errors);
}
