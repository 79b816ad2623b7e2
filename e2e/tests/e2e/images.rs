//! Images from a registry (Debian's docker-registry) that listens in the network namespace of one
//! node.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use pandaemon_testkit::{images::debian, wait};

use crate::test_env::{TIMEOUT, TestEnv};

/// The address of the registry. Container runtimes use plain HTTP for the local host only.
const REGISTRY: &str = "localhost:5000";

/// A running registry, which is stopped when this value is dropped.
#[derive(Debug)]
struct Registry {
    child: Child,
    _data: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

pub(crate) fn images_are_pulled_from_a_registry(env: &TestEnv) -> Result<()> {
    let data = env.with_cluster(|cluster| Ok(cluster.data_dir()))?;
    let netns = netns_of_node1(&data)?;
    let _registry = start(&netns)?;
    let socket = data.join("nodes/node1/containerd/containerd.sock");
    let ctr = |words: &[&str]| {
        let mut command = inside(&netns, Path::new("ctr"));
        command
            .arg("-a")
            .arg(&socket)
            .args(["-n", "k8s.io", "images"])
            .args(words);
        run(command)
    };
    let pushed = format!("{REGISTRY}/agent:v1");
    ctr(&[
        "tag",
        "--force",
        "docker.io/library/monitoring-agent:v1.0.0",
        &pushed,
    ])?;
    wait::until("the registry takes the image", TIMEOUT, || {
        ctr(&["push", "--plain-http", &pushed]).map_err(|error| format!("{error:#}"))
    })?;
    ctr(&["rm", &pushed])?;

    let kubectl = env.kubectl()?;
    env.apply("from-registry.yaml")?;
    env.wait_until_ready_on("default", "app=from-registry", &["node1"])?;
    let events = kubectl.run("get events --field-selector reason=Pulled")?;
    ensure!(
        events.contains("Successfully pulled image \"localhost:5000/agent:v1\""),
        "{events}"
    );

    kubectl.run("set image ds/from-registry c=localhost:5000/agent:nope")?;
    wait::until("an event with the error of the registry", TIMEOUT, || {
        let line = "get events --field-selector reason=Failed";
        let said = kubectl.run(line).map_err(|error| format!("{error:#}"))?;
        if said.contains("localhost:5000/agent:nope: not found") {
            Ok(())
        } else {
            Err(said)
        }
    })
}

/// The network namespace of node1 of the cluster with this data directory.
fn netns_of_node1(data: &Path) -> Result<String> {
    let holder = fs::read_to_string(data.join("fleet.json"))?;
    let state: serde_json::Value = serde_json::from_str(&holder)?;
    let pid = state["holders"][0]
        .as_u64()
        .context("node1 has no holder")?;
    Ok(format!("/proc/{pid}/ns/net"))
}

fn inside(netns: &str, program: &Path) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={netns}")).arg("--").arg(program);
    command
}

fn start(netns: &str) -> Result<Registry> {
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debian");
    let files = debian::unpack("docker-registry", &cache)?.canonicalize()?;
    let data = tempfile::tempdir()?;
    let config = data.path().join("config.yml");
    let text = format!(
        "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:5000\n",
        data.path().join("images").display()
    );
    fs::write(&config, text)?;
    let child = inside(netns, &files.join("usr/bin/docker-registry"))
        .arg("serve")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start docker-registry")?;
    Ok(Registry { child, _data: data })
}

fn run(mut command: Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}
