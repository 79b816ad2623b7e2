//! Containers, init containers and ephemeral containers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::error_list::{ErrorList, Path};
use super::{env, mount, names, probe, resources, security};
use crate::json_fields::ReadFields;

pub(super) const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

const ONLY_SIDECARS: &str = "may not be set for init containers without restartPolicy=Always";

/// The values of a pod that the rules of its containers depend on.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// The valid volumes of the pod, by name.
    pub(super) volumes: &'a BTreeMap<&'a str, &'a Value>,
    /// `spec.resourceClaims` of the pod.
    pub(super) claims: &'a [Value],
    /// `terminationGracePeriodSeconds` of the pod.
    pub(super) grace: Option<i64>,
    /// `restartPolicy` of the pod.
    pub(super) restart_policy: &'a str,
    /// Whether the pod runs in the user namespace of the host.
    pub(super) host_users: bool,
}

/// Validates `spec.containers` (upstream's `validateContainers`).
pub(super) fn containers(
    spec: &Path<'_>,
    pod: &Value,
    context: &Context<'_>,
    errors: &mut ErrorList,
) {
    let list = spec.child("containers");
    let all = pod.items("containers");
    if all.is_empty() {
        errors.required(&list, "");
        return;
    }
    let mut seen = BTreeSet::new();
    for (at, container) in all.iter().enumerate() {
        let path = list.index(at);
        common(&path, container, context, errors);
        if !seen.insert(container.text("name")) {
            errors.duplicate(&path.child("name"), container.text("name"));
        }
        hooks_and_probes(&path, container, context, errors);
        if container.has("restartPolicy") {
            errors.forbidden(
                &path.child("restartPolicy"),
                "may not be set for non-init containers",
            );
        }
    }
    host_port_conflicts(&list, all, errors);
}

/// Validates `spec.initContainers` (upstream's `validateInitContainers`).
pub(super) fn init_containers(
    spec: &Path<'_>,
    pod: &Value,
    context: &Context<'_>,
    errors: &mut ErrorList,
) {
    let list = spec.child("initContainers");
    let mut seen: BTreeSet<&str> = pod
        .items("containers")
        .iter()
        .map(|c| c.text("name"))
        .collect();
    for (at, container) in pod.items("initContainers").iter().enumerate() {
        let path = list.index(at);
        common(&path, container, context, errors);
        let policy = container.field("restartPolicy").and_then(Value::as_str);
        if let Some(policy) = policy {
            errors.one_of(&path.child("restartPolicy"), policy, &["Always"]);
        }
        let name = container.text("name");
        if seen.contains(name) {
            errors.duplicate(&path.child("name"), name);
        } else if !name.is_empty() {
            seen.insert(name);
        }
        // Init containers run one after the other, so only ports of the same one can conflict.
        host_port_conflicts(&list, std::slice::from_ref(container), errors);
        if policy == Some("Always") {
            hooks_and_probes(&path, container, context, errors);
            continue;
        }
        for field in [
            "lifecycle",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
        ] {
            if container.has(field) {
                errors.forbidden(&path.child(field), ONLY_SIDECARS);
            }
        }
    }
}

/// Validates `spec.ephemeralContainers` (upstream's `validateEphemeralContainers`).
pub(super) fn ephemeral_containers(
    spec: &Path<'_>,
    pod: &Value,
    context: &Context<'_>,
    errors: &mut ErrorList,
) {
    let list = spec.child("ephemeralContainers");
    let others: BTreeSet<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| pod.items(list))
        .map(|c| c.text("name"))
        .collect();
    let mut seen = others.clone();
    for (at, container) in pod.items("ephemeralContainers").iter().enumerate() {
        let path = list.index(at);
        common(&path, container, context, errors);
        if !seen.insert(container.text("name")) {
            errors.duplicate(&path.child("name"), container.text("name"));
        }
        let target = container.text("targetContainerName");
        if !target.is_empty() && !others.contains(target) {
            errors.not_found(&path.child("targetContainerName"), target);
        }
        let why = "cannot be set for an Ephemeral Container";
        let fields = [
            "ports",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
            "restartPolicy",
            "resizePolicy",
        ];
        for field in fields {
            if container.has(field) {
                errors.forbidden(&path.child(field), why);
            }
        }
        if container["resources"]
            .as_object()
            .is_some_and(|fields| !fields.is_empty())
        {
            errors.forbidden(&path.child("resources"), why);
        }
    }
}

fn common(path: &Path<'_>, container: &Value, context: &Context<'_>, errors: &mut ErrorList) {
    let name = container.text("name");
    if name.is_empty() {
        errors.required(&path.child("name"), "");
    } else {
        names::check_label(&path.child("name"), name, errors);
    }
    if container.text("image").is_empty() {
        errors.required(&path.child("image"), "");
    }
    errors.required_one_of(
        &path.child("terminationMessagePolicy"),
        container.text("terminationMessagePolicy"),
        &["File", "FallbackToLogsOnError"],
    );
    ports(&path.child("ports"), container.items("ports"), errors);
    env::variables(&path.child("env"), container.items("env"), errors);
    env::sources(&path.child("envFrom"), container.items("envFrom"), errors);
    mount::mounts(
        &path.child("volumeMounts"),
        container,
        context.volumes,
        errors,
    );
    mount::devices(
        &path.child("volumeDevices"),
        container,
        context.volumes,
        errors,
    );
    errors.required_one_of(
        &path.child("imagePullPolicy"),
        container.text("imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
    );
    let requirements = &container["resources"];
    resources::requirements(
        &path.child("resources"),
        requirements,
        context.claims,
        errors,
    );
    resize_policy(
        &path.child("resizePolicy"),
        container,
        context.restart_policy,
        errors,
    );
    security::container(
        &path.child("securityContext"),
        &container["securityContext"],
        context.host_users,
        errors,
    );
}

fn hooks_and_probes(
    path: &Path<'_>,
    container: &Value,
    context: &Context<'_>,
    errors: &mut ErrorList,
) {
    if let Some(lifecycle) = container.field("lifecycle") {
        probe::lifecycle(&path.child("lifecycle"), lifecycle, context.grace, errors);
    }
    for (field, kind) in [
        ("livenessProbe", probe::ProbeKind::Liveness),
        ("readinessProbe", probe::ProbeKind::Readiness),
        ("startupProbe", probe::ProbeKind::Startup),
    ] {
        if let Some(value) = container.field(field) {
            probe::probe(&path.child(field), value, kind, errors);
        }
    }
}

fn ports(path: &Path<'_>, ports: &[Value], errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for (at, port) in ports.iter().enumerate() {
        let path = path.index(at);
        let name = port.text("name");
        if !name.is_empty() {
            let texts = names::port_name(name);
            if texts.is_empty() && !seen.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
            errors.invalid_all(&path.child("name"), name, &texts);
        }
        match port.int("containerPort") {
            0 => errors.required(&path.child("containerPort"), ""),
            number => names::check_port(&path.child("containerPort"), number, errors),
        }
        let host = port.int("hostPort");
        if host != 0 {
            names::check_port(&path.child("hostPort"), host, errors);
        }
        errors.required_one_of(&path.child("protocol"), port.text("protocol"), &PROTOCOLS);
    }
}

fn host_port_conflicts(path: &Path<'_>, containers: &[Value], errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for (at, container) in containers.iter().enumerate() {
        for (port_at, port) in container.items("ports").iter().enumerate() {
            let number = port.int("hostPort");
            if number == 0 {
                continue;
            }
            let key = format!("{}/{}/{number}", port.text("protocol"), port.text("hostIP"));
            if seen.contains(&key) {
                let container_path = path.index(at);
                let ports = container_path.child("ports");
                errors.duplicate(&ports.index(port_at).child("hostPort"), &key);
            }
            seen.insert(key);
        }
    }
}

fn resize_policy(path: &Path<'_>, container: &Value, pod_policy: &str, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for (at, policy) in container.items("resizePolicy").iter().enumerate() {
        let resource = policy.text("resourceName");
        if !seen.insert(resource) {
            errors.duplicate(&path.index(at), resource);
        }
        errors.required_one_of(path, resource, &["cpu", "memory"]);
        let restart = policy.text("restartPolicy");
        errors.required_one_of(path, restart, &["NotRequired", "RestartContainer"]);
        if pod_policy == "Never" && restart != "NotRequired" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.invalid(path, restart, why);
        }
    }
}
