//! `pandaemon up` in a machine.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use pandaemon_testkit::{Kubectl, images::standins, wait};
use pandaemon_vm::MachineOptions;

use crate::{
    guest::{Guest, LONG, folder},
    report::Report,
};

/// A daemon with limits, which the kernel must know of.
const DAEMON: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: hello}
spec:
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      containers:
      - name: hello
        image: demo/hello:v1
        readinessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 1}
        resources: {limits: {memory: 64Mi, cpu: 500m}}
"#;

pub(crate) fn a_daemonset_runs_under_cgroup_v2(report: &Report) -> Result<()> {
    let images = folder().join("images");
    standins::build_demo(&images, &folder().join("../debian"))?;
    let guest = Guest::boot(
        report,
        MachineOptions {
            memory: 2048,
            ..MachineOptions::new("up")
        },
    )?;
    guest
        .machine
        .copy_in(&images.join("hello-v1.tar"), "/images/hello-v1.tar", 0o644)?;
    let file = guest.start("up --nodes 1 --data-dir /var/lib/pandaemon --images /images")?;
    let work = tempfile::tempdir()?;
    let kubeconfig = work.path().join("kubeconfig");
    fs::write(&kubeconfig, serde_json::to_vec(&file)?)?;
    let kubectl = Kubectl::new(&kubeconfig, &work.path().join("cache"));
    let manifest = work.path().join("daemon.yaml");
    fs::write(&manifest, DAEMON)?;
    let result = runs(&guest, report, &kubectl, &manifest);
    result.with_context(|| guest.log())
}

fn runs(guest: &Guest, report: &Report, kubectl: &Kubectl, manifest: &Path) -> Result<()> {
    let machine = &guest.machine;
    kubectl.words(&["apply".as_ref(), "-f".as_ref(), manifest.as_os_str()])?;
    wait::until("the DaemonSet is ready", machine.scaled(LONG), || {
        let set = kubectl
            .json("get ds hello")
            .map_err(|error| error.to_string())?;
        match set["status"]["numberReady"].as_u64() {
            Some(1) => Ok(()),
            other => Err(format!("{other:?} ready")),
        }
    })?;
    report.say("the DaemonSet is ready");
    let pods = kubectl.json("get pods -l app=hello")?;
    let name = pods["items"][0]["metadata"]["name"]
        .as_str()
        .context("no pod")?;
    let said = kubectl.words(&[
        "exec",
        name,
        "--",
        "sh",
        "-c",
        "cat /proc/self/cgroup; echo $$",
    ])?;
    ensure!(said.starts_with("0::/"), "not cgroup v2: {said}");
    // The limits are where the kernel of cgroup v2 reads them.
    let limits = machine.check(
        "process=$(pgrep -f '^/bin/sh /standin' | head -n 1)
         group=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/$process/cgroup)
         cat $group/memory.max $group/cpu.max",
        LONG,
    )?;
    ensure!(limits == "67108864\n50000 100000\n", "{limits}");
    kubectl.words(&["delete", "ds", "hello", "--timeout=300s"])?;
    wait::until("its pods are gone", machine.scaled(LONG), || {
        let pods = kubectl
            .json("get pods -l app=hello")
            .map_err(|error| error.to_string())?;
        match pods["items"].as_array().map(Vec::len) {
            Some(0) => Ok(()),
            other => Err(format!("{other:?} pods")),
        }
    })?;
    // It takes away its node, and a machine that is shut down by systemd shows no failure.
    let left = machine.check(
        "systemctl stop pandaemon
         ip netns list; pgrep -f '^/bin/sh /standin'; systemctl --failed --no-legend; true",
        LONG,
    )?;
    ensure!(left.is_empty(), "left behind: {left}\n{}", guest.log());
    Ok(())
}
