//! Kills of an agent, the server and containerd: containers keep running, and the cluster recovers.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pandaemon_testkit::wait;

use crate::test_env::{NODES, TIMEOUT, TestEnv, container_id, name_of, node_of};

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
