//! The CNI configuration of the node: a bridge, addresses from the node's range, host ports.

use std::{
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::tools;
use crate::config::Paths;

/// Where CNI plugins are installed, in order of preference.
const PLUGIN_DIRS: [&str; 2] = ["/opt/cni/bin", "/usr/lib/cni"];
/// The CNI plugins that the configuration uses.
const PLUGINS: [&str; 4] = ["bridge", "host-local", "loopback", "portmap"];

/// The first directory that has all of them.
#[must_use]
pub(crate) fn plugin_dir() -> Option<&'static Path> {
    let complete = |dir: &&Path| PLUGINS.iter().all(|plugin| dir.join(plugin).is_file());
    PLUGIN_DIRS.iter().map(|dir| Path::new(*dir)).find(complete)
}

/// The bridge's name: at most 15 characters, and different for each agent on one machine.
#[must_use]
pub(crate) fn bridge_name(paths: &Paths) -> String {
    format!("pd-{}", paths.short)
}

/// The directory of the CNI configuration.
#[must_use]
pub(crate) fn config_dir(paths: &Paths) -> PathBuf {
    paths.cni().join("net.d")
}

/// Writes the CNI configuration.
///
/// # Errors
/// If `pod_cidr` is not an IPv4 range, or the file cannot be written.
pub(crate) fn write_config(paths: &Paths, pod_cidr: &str, iptables: bool) -> io::Result<()> {
    if !is_ipv4_range(pod_cidr) {
        let text = format!("the pod CIDR {pod_cidr:?} is not an IPv4 range such as 10.85.0.0/24");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let mut plugins = vec![json!({
        "type": "bridge",
        "bridge": bridge_name(paths),
        "isGateway": true,
        // One rule for the node replaces a chain for each pod, which would slow each start.
        "ipMasq": false,
        "hairpinMode": true,
        "ipam": {
            "type": "host-local",
            "dataDir": paths.cni().join("addresses"),
            "ranges": [[{ "subnet": pod_cidr }]],
            "routes": [{ "dst": "0.0.0.0/0" }],
        },
    })];
    if iptables {
        plugins.push(json!({ "type": "portmap", "capabilities": { "portMappings": true } }));
    }
    let name = format!("pandaemon-{}", paths.short);
    let list = json!({ "cniVersion": "0.4.0", "name": name, "plugins": plugins });
    let dir = config_dir(paths);
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("10-pandaemon.conflist"), list.to_string())
}

/// The rule that masquerades traffic of pods that leaves the node. Traffic between its pods is not
/// masqueraded.
fn masquerade_rule(paths: &Paths, pod_cidr: &str) -> Vec<String> {
    let comment = format!("pandaemon-{}", paths.short);
    let bridge = bridge_name(paths);
    let words = [
        "POSTROUTING",
        "-s",
        pod_cidr,
        "!",
        "-o",
        &bridge,
        "-m",
        "comment",
        "--comment",
        &comment,
        "-j",
        "MASQUERADE",
    ];
    words.map(str::to_owned).to_vec()
}

async fn iptables(operation: &str, rule: &[String]) -> io::Result<bool> {
    let rule = rule.iter().map(String::as_str);
    let output = tools::iptables_nat(operation, rule).await?;
    Ok(output.status.success())
}

/// Removes the bridge.
pub(crate) async fn remove_bridge(paths: &Paths) {
    let bridge = bridge_name(paths);
    let removed = tools::run("ip", ["link", "delete", &bridge]).await;
    let removed = removed.map(|output| output.status.success());
    tracing::debug!(?removed, bridge, "removed the bridge");
}

/// Adds the masquerading rule if it does not exist: pods reach other networks by it.
pub(crate) async fn add_masquerade_rule(paths: &Paths, pod_cidr: &str) {
    let rule = masquerade_rule(paths, pod_cidr);
    if matches!(iptables("-C", &rule).await, Ok(true)) {
        return;
    }
    match iptables("-A", &rule).await {
        Ok(true) => (),
        Ok(false) => tracing::warn!(
            pod_cidr,
            "iptables refused the masquerading rule: pods do not reach other networks"
        ),
        Err(error) => tracing::warn!(%error, "cannot run iptables"),
    }
}

/// Removes the masquerading rule.
pub(crate) async fn remove_masquerade_rule(paths: &Paths, pod_cidr: &str) {
    let rule = masquerade_rule(paths, pod_cidr);
    if let Err(error) = iptables("-D", &rule).await {
        tracing::debug!(%error, "cannot run iptables");
    }
}

fn is_ipv4_range(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    address.parse::<Ipv4Addr>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| bits <= 30)
}
