//! Checks of what pods use of their host.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Violation,
    pod::{Pod, containers, plural, quoted},
};
use crate::json_fields::ReadFields;

pub(super) fn namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let shared = ["hostNetwork", "hostPID", "hostIPC"];
    let shared = shared.into_iter().filter(|field| pod.spec.flag(field));
    let shared: Vec<String> = shared.map(|field| format!("{field}=true")).collect();
    (!shared.is_empty()).then(|| Violation {
        reason: "host namespaces",
        detail: shared.join(", "),
    })
}

pub(super) fn ports(pod: &Pod<'_>) -> Option<Violation> {
    // Ordered as texts.
    let mut ports = BTreeSet::new();
    let bad = pod.containers_that(|container| {
        let used = container.items("ports").iter();
        let used = used.map(|port| port.int("hostPort"));
        let used: Vec<i64> = used.filter(|port| *port != 0).collect();
        ports.extend(used.iter().map(ToString::to_string));
        !used.is_empty()
    });
    (!bad.is_empty()).then(|| {
        let listed: Vec<&str> = ports.iter().map(String::as_str).collect();
        Violation {
            reason: "hostPort",
            detail: format!(
                "{} {} {} {}",
                containers(&bad),
                plural("uses", "use", bad.len()),
                plural("hostPort", "hostPorts", listed.len()),
                listed.join(", ")
            ),
        }
    })
}

/// Hosts in probes and in handlers of the life cycle: the kubelet would connect to them.
pub(super) fn probes(pod: &Pod<'_>) -> Option<Violation> {
    let (mut bad, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    for container in pod.containers() {
        let lifecycle = &container["lifecycle"];
        let handlers = [
            &container["livenessProbe"],
            &container["readinessProbe"],
            &container["startupProbe"],
            &lifecycle["postStart"],
            &lifecycle["preStop"],
        ];
        for handler in handlers {
            let named = ["httpGet", "tcpSocket"].map(|action| handler[action].text("host"));
            for host in named.into_iter().filter(|host| !host.is_empty()) {
                hosts.insert(host);
                bad.insert(container.text("name"));
            }
        }
    }
    (!bad.is_empty()).then(|| {
        let bad: Vec<&str> = bad.into_iter().collect();
        Violation {
            reason: "probe or lifecycle host",
            detail: format!(
                "{} {} {} {}",
                containers(&bad),
                plural("uses", "use", bad.len()),
                plural(
                    "probe or lifecycle host",
                    "probe or lifecycle hosts",
                    hosts.len()
                ),
                quoted(hosts)
            ),
        }
    })
}

pub(super) fn windows_process(pod: &Pod<'_>) -> Option<Violation> {
    let setters = pod.setters(|context| context["windowsOptions"].flag("hostProcess"))?;
    Some(Violation {
        reason: "hostProcess",
        detail: format!("{setters} must not set securityContext.windowsOptions.hostProcess=true"),
    })
}

/// The sysctls of level baseline; each newer version allows a longer part of the list.
const SAFE_SYSCTLS: [&str; 14] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_notsent_lowat",
];

fn unsafe_sysctls(pod: &Pod<'_>, allowed: usize) -> Option<Violation> {
    let set = pod.context().items("sysctls").iter();
    let set = set.map(|sysctl: &Value| sysctl.text("name"));
    let forbidden: Vec<&str> = set
        .filter(|name| !SAFE_SYSCTLS.iter().take(allowed).any(|safe| safe == name))
        .collect();
    (!forbidden.is_empty()).then(|| Violation {
        reason: "forbidden sysctls",
        detail: forbidden.join(", "),
    })
}

pub(super) fn sysctls(pod: &Pod<'_>) -> Option<Violation> {
    unsafe_sysctls(pod, 5)
}

pub(super) fn sysctls_1_27(pod: &Pod<'_>) -> Option<Violation> {
    unsafe_sysctls(pod, 6)
}

pub(super) fn sysctls_1_29(pod: &Pod<'_>) -> Option<Violation> {
    unsafe_sysctls(pod, 10)
}

pub(super) fn sysctls_1_32(pod: &Pod<'_>) -> Option<Violation> {
    unsafe_sysctls(pod, 12)
}

pub(super) fn sysctls_1_37(pod: &Pod<'_>) -> Option<Violation> {
    unsafe_sysctls(pod, 14)
}
