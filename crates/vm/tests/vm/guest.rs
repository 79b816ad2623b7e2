//! A machine with the program under test.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use pandaemon_vm::{Disk, Image, ImageOptions, Machine, MachineOptions};

use crate::report::Report;

/// The port of the Kubernetes API.
const API_PORT: u16 = 6443;
/// For scripts that do little.
pub(crate) const SHORT: Duration = Duration::from_secs(30);
/// For scripts that wait for processes to start.
pub(crate) const LONG: Duration = Duration::from_secs(120);
/// A request to a guest that is busy.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// What nodes need to run containers, and what scenarios call.
const PACKAGES: [&str; 11] = [
    "containerd",
    "runc",
    "containernetworking-plugins",
    "iptables",
    "util-linux",
    "mount",
    "procps",
    "curl",
    "dmsetup",
    "e2fsprogs",
    "iputils-ping",
];

/// The directory of images and machines.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/vm")
}

/// The program under test.
pub(crate) fn program() -> Result<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test has no command line of its own"
    )]
    let program = std::env::var("PANDAEMON_BIN");
    let program = program.context("PANDAEMON_BIN must name the program, as `make vm` does")?;
    let path = PathBuf::from(program);
    anyhow::ensure!(path.exists(), "no program {}", path.display());
    Ok(path)
}

/// The image of all scenarios.
pub(crate) fn image(report: &Report) -> Result<Image> {
    report.say("the image (minutes, if it is not in target/vm)");
    let mut options = ImageOptions::debian12(&PACKAGES);
    // Nodes start a containerd of their own. An empty file masks Debian's unit.
    let containerd = "etc/systemd/system/containerd.service";
    options.files.push((containerd.into(), Vec::new(), 0o644));
    Image::build(&folder(), &options)
}

/// A machine with the program in it, and a port of the host that leads to its API.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) machine: Machine,
}

impl Guest {
    /// Boots a machine and copies the program into it.
    pub(crate) fn boot(report: &Report, options: MachineOptions) -> Result<Self> {
        let options = MachineOptions {
            forwards: vec![API_PORT],
            ..options
        };
        let machine = Machine::boot(&image(report)?, &folder(), options)?;
        report.booted(machine.boot_time());
        machine.copy_in(&program()?, "/usr/local/bin/pandaemon", 0o755)?;
        report.say("the program is in the machine");
        Ok(Self { machine })
    }

    /// Starts this command of the program as a unit of systemd, waits until its API answers, and
    /// returns its kubeconfig for clients on the host.
    pub(crate) fn start(&self, command: &str) -> Result<Kubeconfig> {
        let script = format!(
            "set -e
             rm -f /run/kubeconfig
             systemctl reset-failed pandaemon 2>/dev/null || true
             systemd-run --quiet --unit=pandaemon --property=KillMode=mixed \
               /usr/local/bin/pandaemon {command} --listen 0.0.0.0:{API_PORT} \
               --write-kubeconfig /run/kubeconfig
             until [ -e /run/kubeconfig ]; do
               if ! systemctl is-active --quiet pandaemon; then
                 journalctl --unit=pandaemon --lines=40 --no-pager
                 exit 1
               fi
               sleep 0.1
             done
             cat /run/kubeconfig"
        );
        let text = self.machine.check(&script, LONG)?;
        let mut file = Kubeconfig::from_yaml(&text).context("read the kubeconfig")?;
        let address = self.machine.forwarded(API_PORT)?;
        for cluster in file
            .clusters
            .iter_mut()
            .filter_map(|named| named.cluster.as_mut())
        {
            cluster.server = Some(format!("https://{address}"));
        }
        Ok(file)
    }

    /// The log of the program.
    pub(crate) fn log(&self) -> String {
        let script = "journalctl --unit=pandaemon --lines=60 --no-pager";
        let output = self.machine.run(script, SHORT);
        output.map_or_else(|error| format!("{error:#}"), |output| output.text)
    }
}

/// A client that is patient with a slow guest.
pub(crate) async fn client(file: Kubeconfig) -> Result<kube::Client> {
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(file, &options).await?;
    config.connect_timeout = Some(REQUEST_TIMEOUT);
    config.read_timeout = Some(REQUEST_TIMEOUT);
    config.write_timeout = Some(REQUEST_TIMEOUT);
    // A write that is sent again after an answer that leaves its fate open gets a conflict.
    config.default_retry = false;
    Ok(kube::Client::try_from(config)?)
}

/// A disk of this many MiB.
pub(crate) fn disk(name: &str, mebibytes: u64) -> Disk {
    Disk {
        name: name.into(),
        size: mebibytes << 20,
    }
}
