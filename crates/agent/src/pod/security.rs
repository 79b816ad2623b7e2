//! Merges the security contexts of pod and container into the form of CRI.

use k8s_openapi::api::core::v1::{Capabilities, Container, SeccompProfile, SecurityContext};
use pandaemon_cri::pb;

use super::PodRef;
use crate::images::ImageUser;

/// Masked paths of containers; the kubelet's list.
const MASKED: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
/// Read-only paths of containers; the kubelet's list.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

fn int(value: i64) -> pb::Int64Value {
    pb::Int64Value { value }
}

/// Which namespaces the pod shares with the node or among its containers.
#[must_use]
pub(crate) fn namespaces(pod: &PodRef) -> pb::NamespaceOption {
    let spec = &pod.spec;
    let host = |flag: Option<bool>| flag.unwrap_or(false);
    let pid = if host(spec.host_pid) {
        pb::NamespaceMode::Node
    } else if host(spec.share_process_namespace) {
        pb::NamespaceMode::Pod
    } else {
        pb::NamespaceMode::Container
    };
    let mode = |node: bool| {
        if node {
            pb::NamespaceMode::Node
        } else {
            pb::NamespaceMode::Pod
        }
    };
    pb::NamespaceOption {
        network: mode(host(spec.host_network)).into(),
        pid: pid.into(),
        ipc: mode(host(spec.host_ipc)).into(),
        ..pb::NamespaceOption::default()
    }
}

/// Whether a container of the pod is privileged. Then its sandbox must be too.
#[must_use]
pub(crate) fn any_privileged(pod: &PodRef) -> bool {
    pod.all_containers()
        .any(|one| flag(one, |context| context.privileged))
}

fn flag(container: &Container, get: fn(&SecurityContext) -> Option<bool>) -> bool {
    container
        .security_context
        .as_ref()
        .and_then(get)
        .unwrap_or(false)
}

/// The supplemental groups: those of the pod, and its `fsGroup`.
#[must_use]
pub(crate) fn groups(pod: &PodRef) -> Vec<i64> {
    let Some(context) = &pod.spec.security_context else {
        return Vec::new();
    };
    let named = context.supplemental_groups.iter().flatten().copied();
    named.chain(context.fs_group).collect()
}

/// Computes the sandbox's security context.
#[must_use]
pub(crate) fn sandbox(pod: &PodRef) -> pb::LinuxSandboxSecurityContext {
    let context = pod.spec.security_context.clone().unwrap_or_default();
    let group = context
        .run_as_group
        .filter(|_| context.run_as_user.is_some());
    pb::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod)),
        run_as_user: context.run_as_user.map(int),
        run_as_group: group.map(int),
        supplemental_groups: groups(pod),
        privileged: any_privileged(pod),
        seccomp: Some(seccomp(context.seccomp_profile.as_ref(), true)),
        ..pb::LinuxSandboxSecurityContext::default()
    }
}

/// Computes the container's security context.
///
/// # Errors
/// The kubelet's message if `runAsNonRoot` is set and the container would run as root.
pub(crate) fn container(
    pod: &PodRef,
    container: &Container,
    user: &ImageUser,
) -> Result<pb::LinuxContainerSecurityContext, String> {
    let whole = pod.spec.security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let run_as_user = own.run_as_user.or(whole.run_as_user);
    let run_as_group = own.run_as_group.or(whole.run_as_group);
    if own
        .run_as_non_root
        .or(whole.run_as_non_root)
        .unwrap_or(false)
    {
        verify_non_root(pod, container, run_as_user, user)?;
    }
    let privileged = own.privileged.unwrap_or(false);
    let profile = own
        .seccomp_profile
        .as_ref()
        .or(whole.seccomp_profile.as_ref());
    let mut context = pb::LinuxContainerSecurityContext {
        capabilities: own.capabilities.as_ref().map(capabilities),
        privileged,
        namespace_options: Some(namespaces(pod)),
        run_as_user: run_as_user.map(int),
        readonly_rootfs: own.read_only_root_filesystem.unwrap_or(false),
        supplemental_groups: groups(pod),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        seccomp: Some(seccomp(profile.filter(|_| !privileged), false)),
        ..pb::LinuxContainerSecurityContext::default()
    };
    // CRI accepts a group only together with a user; by default that is the image's user.
    if let Some(group) = run_as_group {
        match (&context.run_as_user, user) {
            (None, ImageUser::Name(name)) => context.run_as_username.clone_from(name),
            (None, ImageUser::Id(id)) => context.run_as_user = Some(int(*id)),
            (None, ImageUser::Unset) => context.run_as_user = Some(int(0)),
            (Some(_), _) => (),
        }
        context.run_as_group = Some(int(group));
    }
    if !privileged && own.proc_mount.as_deref() != Some("Unmasked") {
        context.masked_paths = MASKED.map(str::to_owned).to_vec();
        context.readonly_paths = READ_ONLY.map(str::to_owned).to_vec();
    }
    Ok(context)
}

fn capabilities(given: &Capabilities) -> pb::Capability {
    pb::Capability {
        add_capabilities: given.add.clone().unwrap_or_default(),
        drop_capabilities: given.drop.clone().unwrap_or_default(),
        ..pb::Capability::default()
    }
}

fn seccomp(profile: Option<&SeccompProfile>, sandbox: bool) -> pb::SecurityProfile {
    use pb::security_profile::ProfileType;
    let kind = match profile.map(|profile| profile.type_.as_str()) {
        Some("RuntimeDefault") => ProfileType::RuntimeDefault,
        Some("Localhost") => ProfileType::Localhost,
        // The pause process of the sandbox works under the default profile.
        None if sandbox => ProfileType::RuntimeDefault,
        _ => ProfileType::Unconfined,
    };
    let localhost = profile.and_then(|profile| profile.localhost_profile.clone());
    pb::SecurityProfile {
        profile_type: kind.into(),
        localhost_ref: localhost
            .map(|path| format!("/var/lib/kubelet/seccomp/{path}"))
            .unwrap_or_default(),
    }
}

fn verify_non_root(
    pod: &PodRef,
    container: &Container,
    run_as_user: Option<i64>,
    user: &ImageUser,
) -> Result<(), String> {
    let pod_and_container = format!("(pod: {:?}, container: {})", pod.label(), container.name);
    match (run_as_user, user) {
        (Some(0), _) => Err(format!(
            "container's runAsUser breaks non-root policy {pod_and_container}"
        )),
        (Some(_), _) => Ok(()),
        (None, ImageUser::Id(0) | ImageUser::Unset) => Err(format!(
            "container has runAsNonRoot and image will run as root {pod_and_container}"
        )),
        (None, ImageUser::Id(_)) => Ok(()),
        (None, ImageUser::Name(name)) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), \
             cannot verify user is non-root {pod_and_container}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{PodRef, container};
    use crate::images::ImageUser;

    fn pod(whole: Value, own: Value) -> PodRef {
        let object = json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"securityContext": whole,
                "containers": [{"name": "c", "securityContext": own}]}});
        PodRef::new(serde_json::from_value(object).unwrap()).unwrap()
    }

    #[test]
    fn run_as_non_root_refuses_root_and_unknown_users() {
        let check = |whole, own, user: ImageUser| {
            let pod = pod(whole, own);
            container(&pod, &pod.spec.containers[0], &user).map(|_| ())
        };
        let strict = json!({"runAsNonRoot": true});
        assert!(check(strict.clone(), json!({}), ImageUser::Id(5)).is_ok());
        assert!(check(strict.clone(), json!({"runAsUser": 7}), ImageUser::Unset).is_ok());
        let error = check(strict.clone(), json!({}), ImageUser::Unset).unwrap_err();
        assert!(error.starts_with("container has runAsNonRoot and image will run as root"));
        let error = check(strict.clone(), json!({}), ImageUser::Name("www".into())).unwrap_err();
        assert!(error.contains("non-numeric user (www)"));
        let error = check(strict, json!({"runAsUser": 0}), ImageUser::Id(5)).unwrap_err();
        assert!(error.starts_with("container's runAsUser breaks non-root policy"));
    }

    #[test]
    fn the_security_context_of_the_container_overrides_that_of_the_pod() {
        let pod = pod(
            json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4]}),
            json!({"runAsUser": 9, "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}),
        );
        let got = container(&pod, &pod.spec.containers[0], &ImageUser::Unset).unwrap();
        assert_eq!(got.run_as_user.unwrap().value, 9);
        assert_eq!(got.run_as_group.unwrap().value, 2);
        assert_eq!(got.supplemental_groups, [4, 3]);
        assert!(got.no_new_privs && !got.masked_paths.is_empty());
        assert_eq!(got.capabilities.unwrap().drop_capabilities, ["ALL"]);
    }
}
