//! The CRI configuration of a pod sandbox.

use std::{collections::HashMap, fs, io, path::Path};

use pandaemon_cri::pb;

use super::{PodRef, resources, security};
use crate::{context::Context, files};

/// The label with the pod's name. The kubelet sets the same labels on sandboxes and containers.
pub(crate) const POD_NAME: &str = "io.kubernetes.pod.name";
/// The label with the pod's namespace.
pub(crate) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// The label with the pod's uid. It alone decides to which pod a sandbox or container belongs.
pub(crate) const POD_UID: &str = "io.kubernetes.pod.uid";
/// The label with the container's name in the pod spec.
pub(crate) const CONTAINER_NAME: &str = "io.kubernetes.container.name";

/// The labels of a pod's sandboxes and containers.
#[must_use]
pub(crate) fn labels(pod: &PodRef) -> HashMap<String, String> {
    let own = [
        (POD_NAME, &pod.name),
        (POD_NAMESPACE, &pod.namespace),
        (POD_UID, &pod.uid),
    ];
    own.into_iter()
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect()
}

/// Computes the sandbox's configuration.
#[must_use]
pub(crate) fn config(context: &Context, pod: &PodRef, attempt: u32) -> pb::PodSandboxConfig {
    let mut labels = labels(pod);
    labels.extend(pod.object.metadata.labels.clone().unwrap_or_default());
    let annotations = pod.object.metadata.annotations.clone().unwrap_or_default();
    let logs = context.paths.pod_logs(&pod.namespace, &pod.name, &pod.uid);
    let sysctls = pod
        .spec
        .security_context
        .iter()
        .flat_map(|one| one.sysctls.iter().flatten());
    pb::PodSandboxConfig {
        metadata: Some(pb::PodSandboxMetadata {
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            namespace: pod.namespace.clone(),
            attempt,
        }),
        hostname: hostname(pod).unwrap_or_default(),
        log_directory: logs.to_string_lossy().into_owned(),
        dns_config: Some(dns(pod)),
        port_mappings: ports(pod),
        labels,
        annotations: annotations.into_iter().collect(),
        linux: Some(pb::LinuxPodSandboxConfig {
            cgroup_parent: context.cgroups.pod(&pod.uid, resources::qos(pod)),
            security_context: Some(security::sandbox(pod)),
            sysctls: sysctls
                .map(|one| (one.name.clone(), one.value.clone()))
                .collect(),
            ..pb::LinuxPodSandboxConfig::default()
        }),
        windows: None,
    }
}

/// The pod's host name; `None` on the host network, where it is the node's.
#[must_use]
pub(crate) fn hostname(pod: &PodRef) -> Option<String> {
    if pod.host_network() {
        return None;
    }
    let name = pod.spec.hostname.as_deref().unwrap_or(&pod.name);
    // A host name has at most 63 characters and ends with a letter or digit.
    let cut = name.get(..63).unwrap_or(name);
    Some(cut.trim_end_matches(['-', '.']).to_owned())
}

fn ports(pod: &PodRef) -> Vec<pb::PortMapping> {
    if pod.host_network() {
        return Vec::new();
    }
    let ports = pod
        .all_containers()
        .flat_map(|one| one.ports.iter().flatten());
    let mapped = ports.filter(|port| port.host_port.is_some_and(|port| port > 0));
    mapped
        .map(|port| pb::PortMapping {
            protocol: match port.protocol.as_deref() {
                Some("UDP") => pb::Protocol::Udp,
                Some("SCTP") => pb::Protocol::Sctp,
                _ => pb::Protocol::Tcp,
            }
            .into(),
            container_port: port.container_port,
            host_port: port.host_port.unwrap_or_default(),
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
        .collect()
}

/// The pod's DNS configuration. There is no cluster DNS, so `ClusterFirst` uses the node's
/// resolvers, as in a kubelet without `clusterDNS`.
fn dns(pod: &PodRef) -> pb::DnsConfig {
    let mut dns = match pod.spec.dns_policy.as_deref() {
        Some("None") => pb::DnsConfig::default(),
        _ => parse_resolv(&fs::read_to_string(resolv_conf()).unwrap_or_default()),
    };
    if let Some(own) = &pod.spec.dns_config {
        dns.servers
            .extend(own.nameservers.iter().flatten().cloned());
        dns.searches.extend(own.searches.iter().flatten().cloned());
        for option in own.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            let value = option
                .value
                .as_ref()
                .map(|value| format!(":{value}"))
                .unwrap_or_default();
            dns.options
                .retain(|old| old.split(':').next() != Some(name.as_str()));
            dns.options.push(format!("{name}{value}"));
        }
    }
    dns
}

/// The node's resolver configuration. The stub resolver of systemd listens on a loopback address
/// that pods cannot reach, so the file with its upstream servers is used instead.
fn resolv_conf() -> &'static Path {
    let behind_stub = Path::new("/run/systemd/resolve/resolv.conf");
    let stub = fs::read_to_string("/etc/resolv.conf").is_ok_and(|text| text.contains("127.0.0.53"));
    if stub && behind_stub.exists() {
        behind_stub
    } else {
        Path::new("/etc/resolv.conf")
    }
}

fn parse_resolv(text: &str) -> pb::DnsConfig {
    let mut dns = pb::DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => dns.servers.extend(words.next().map(str::to_owned)),
            Some("search") => dns.searches = words.map(str::to_owned).collect(),
            Some("options") => dns.options.extend(words.map(str::to_owned)),
            _ => (),
        }
    }
    dns
}

/// Writes the pod's `/etc/hosts`: on the host network the node's, otherwise the pod's name and
/// addresses; then the host aliases.
///
/// # Errors
/// If the file system refuses.
pub(crate) fn write_hosts(path: &Path, pod: &PodRef, ips: &[String]) -> io::Result<()> {
    let mut text = if pod.host_network() {
        fs::read_to_string("/etc/hosts").unwrap_or_default()
    } else {
        let mut text = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n\
                        ::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
                        fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
            .to_owned();
        for ip in ips {
            text.push_str(&format!("{ip}\t{}\n", hostname(pod).unwrap_or_default()));
        }
        text
    };
    let aliases = pod.spec.host_aliases.iter().flatten();
    for (n, alias) in aliases.enumerate() {
        if n == 0 {
            text.push_str("\n# Entries added by HostAliases.\n");
        }
        let names = alias.hostnames.clone().unwrap_or_default().join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        files::private_dir(parent)?;
    }
    // Not replaced by a rename: containers have mounted this inode.
    fs::write(path, text)
}
