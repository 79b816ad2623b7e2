//! Kills of an agent, the server and containerd: containers keep running, and the cluster recovers.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pandaemon_testkit::{Cluster, wait};

use crate::test_env::{NODES, TIMEOUT, TestEnv, container_id, name_of, node_of, program};

/// The ID of the agent's container on each node.
fn containers(env: &TestEnv) -> Result<BTreeMap<String, String>> {
    let pods = env.pods("default", "app=agent")?;
    Ok(pods
        .iter()
        .map(|pod| (node_of(pod), container_id(pod)))
        .collect())
}

pub(crate) fn containers_survive_a_kill_of_the_agent(env: &TestEnv) -> Result<()> {
    env.run_agents()?;
    let before = containers(env)?;
    let pid = env.with_cluster(|cluster| cluster.agent_pid("node1"))?;
    kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    wait::until("a new agent runs", TIMEOUT, || {
        let now = env.with_cluster(|cluster| cluster.agent_pid("node1"));
        match now {
            Ok(now) if now != pid && Path::new(&format!("/proc/{now}")).exists() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })?;
    // The new agent has taken over the container if exec works in it.
    let pod = env.pod_on("app=agent", "node1")?;
    let line = format!("exec {} -c agent -- true", name_of(&pod)?);
    wait::until("exec works again", TIMEOUT, || {
        env.kubectl()
            .and_then(|kubectl| kubectl.run(&line))
            .map_err(|error| format!("{error:#}"))
    })?;
    ensure!(containers(env)? == before, "containers changed: {before:?}");
    ensure!(
        pod["status"]["containerStatuses"][0]["restartCount"] == 0,
        "it was restarted"
    );
    Ok(())
}

pub(crate) fn objects_and_containers_survive_a_kill_of_the_server(env: &TestEnv) -> Result<()> {
    env.run_agents()?;
    let before = containers(env)?;
    let uids = |env: &TestEnv| {
        env.kubectl()?
            .run("get ds,cm,secret,ns,nodes -A -o jsonpath={..uid}")
    };
    let objects = uids(env)?;
    env.with_cluster(|cluster| {
        cluster.kill()?;
        cluster.start()
    })?;
    env.wait_until_ready_on("default", "app=agent", &NODES)?;
    ensure!(uids(env)? == objects, "objects differ after the restart");
    ensure!(
        containers(env)? == before,
        "containers differ after the restart"
    );
    // The controllers work again.
    let pod = env.pod_on("app=agent", "node2")?;
    env.kubectl()?
        .run(&format!("delete pod {}", name_of(&pod)?))?;
    env.wait_until_ready_on("default", "app=agent", &NODES)
}

/// When the first process of the agent's container on a node was started, in clock ticks.
fn started(env: &TestEnv, node: &str) -> Result<String> {
    let pod = env.pod_on("app=agent", node)?;
    let line = format!("exec {} -c agent -- cat /proc/1/stat", name_of(&pod)?);
    let stat = env.kubectl()?.run(&line)?;
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest);
    let ticks = after_name.and_then(|rest| rest.split_whitespace().nth(19));
    ticks.map(str::to_owned).context("no start time")
}

fn run_program(env: &TestEnv, command: &str, file: &Path, more: &[&str]) -> Result<()> {
    let data = env.with_cluster(|cluster| Ok(cluster.data_dir()))?;
    let mut program = Command::new(program()?);
    program.arg(command).arg(file).arg("--data-dir").arg(data);
    let output = program.args(more).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command}: {stderr}");
    Ok(())
}

pub(crate) fn a_restore_restarts_no_container_of_a_pod_that_is_in_both(
    env: &TestEnv,
) -> Result<()> {
    env.run_agents()?;
    let before = containers(env)?;
    let kept = ["node1", "node3"];
    let starts = kept.map(|node| started(env, node).ok());
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("backup");
    run_program(env, "backup", &file, &[])?;

    // The nodes see later states of all pods, and node2 another pod.
    let old = env.pod_on("app=agent", "node2")?;
    let kubectl = env.kubectl()?;
    kubectl.run("annotate pods -l app=agent later=1")?;
    kubectl.run("create configmap later")?;
    kubectl.run(&format!("delete pod {}", name_of(&old)?))?;
    env.wait_until_ready_on("default", "app=agent", &NODES)?;
    ensure!(containers(env)?["node2"] != before["node2"], "the same pod");
    env.with_cluster(Cluster::kill)?;
    run_program(env, "restore", &file, &["--yes"])?;
    env.with_cluster(Cluster::start)?;

    // The pod that was deleted is back, and its node runs it again.
    wait::until("node2 runs its old pod again", TIMEOUT, || {
        let pod = env.pod_on("app=agent", "node2");
        let pod = pod.map_err(|error| error.to_string())?;
        let is_old = pod["metadata"]["uid"] == old["metadata"]["uid"];
        let has_run = container_id(&pod) != before["node2"];
        let runs = started(env, "node2");
        match is_old && has_run && runs.is_ok() {
            true => Ok(()),
            false => Err(format!("{pod}: {runs:?}")),
        }
    })?;
    env.wait_until_ready_on("default", "app=agent", &NODES)?;
    let now = kept.map(|node| started(env, node).ok());
    ensure!(now == starts && now[0].is_some(), "{now:?}, not {starts:?}");
    for node in kept {
        ensure!(containers(env)?[node] == before[node], "{node} has another");
    }
    let later = env
        .kubectl()?
        .run("get configmap later --ignore-not-found")?;
    ensure!(later.trim().is_empty(), "it is there: {later}");
    Ok(())
}

pub(crate) fn killed_containerd_is_restarted_and_runs_new_pods(env: &TestEnv) -> Result<()> {
    env.run_agents()?;
    let before = containers(env)?;
    let data = env.with_cluster(|cluster| Ok(cluster.data_dir()))?;
    let victim = containerd_of(&data.join("nodes/node2")).context("node2 has no containerd")?;
    kill(Pid::from_raw(victim), Signal::SIGKILL)?;
    let pod = env.pod_on("app=agent", "node2")?;
    env.kubectl()?
        .run(&format!("delete pod {} --wait=false", name_of(&pod)?))?;
    wait::until("node2 runs a new pod", TIMEOUT, || {
        let now = env
            .pod_on("app=agent", "node2")
            .map_err(|error| error.to_string())?;
        if now["metadata"]["uid"] == pod["metadata"]["uid"] {
            return Err("the pod before".to_owned());
        }
        Ok(())
    })?;
    env.wait_until_ready_on("default", "app=agent", &NODES)?;
    let after = containers(env)?;
    ensure!(
        after.get("node1") == before.get("node1"),
        "the other nodes are not touched"
    );
    Ok(())
}

/// The process ID of the containerd whose command line names this node's folder.
fn containerd_of(node: &Path) -> Option<i32> {
    let folder = node.to_string_lossy().into_owned();
    fs::read_dir("/proc")
        .ok()?
        .filter_map(Result::ok)
        .find_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let words: Vec<String> = line
                .split(|byte| *byte == 0)
                .map(|w| String::from_utf8_lossy(w).into_owned())
                .collect();
            let is_it = words.first()?.ends_with("containerd")
                && words.iter().any(|word| word.contains(&folder));
            is_it.then_some(pid)
        })
}
