//! Fail-static: agents, the server and containerd die; containers stay and everything goes on.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pandaemon_testkit::wait;

use crate::world::{NODES, PATIENCE, World, container_id, name_of, node_of};

/// The container of each node's daemon.
fn containers(world: &World) -> Result<BTreeMap<String, String>> {
    let pods = world.pods("default", "app=agent")?;
    Ok(pods
        .iter()
        .map(|pod| (node_of(pod), container_id(pod)))
        .collect())
}

pub(crate) fn an_agent_that_dies_leaves_its_containers(world: &World) -> Result<()> {
    world.agent_everywhere()?;
    let before = containers(world)?;
    let pid = world.with_cluster(|cluster| cluster.agent_pid("node1"))?;
    kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    wait::until("a new agent runs", PATIENCE, || {
        let now = world.with_cluster(|cluster| cluster.agent_pid("node1"));
        match now {
            Ok(now) if now != pid && Path::new(&format!("/proc/{now}")).exists() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })?;
    // The new agent serves logs and exec of the old container: it has adopted it.
    let pod = world.pod_on("app=agent", "node1")?;
    let line = format!("exec {} -c agent -- true", name_of(&pod)?);
    wait::until("exec works again", PATIENCE, || {
        world
            .kubectl()
            .and_then(|kubectl| kubectl.run(&line))
            .map_err(|error| format!("{error:#}"))
    })?;
    ensure!(
        containers(world)? == before,
        "containers changed: {before:?}"
    );
    ensure!(
        pod["status"]["containerStatuses"][0]["restartCount"] == 0,
        "it was restarted"
    );
    Ok(())
}

pub(crate) fn a_server_that_dies_loses_nothing(world: &World) -> Result<()> {
    world.agent_everywhere()?;
    let before = containers(world)?;
    let uids = |world: &World| {
        world
            .kubectl()?
            .run("get ds,cm,secret,ns,nodes -A -o jsonpath={..uid}")
    };
    let objects = uids(world)?;
    world.with_cluster(|cluster| {
        cluster.kill()?;
        cluster.start()
    })?;
    world.ready_on("default", "app=agent", &NODES)?;
    ensure!(uids(world)? == objects, "objects differ after the restart");
    ensure!(
        containers(world)? == before,
        "containers differ after the restart"
    );
    // Controllers go on.
    let pod = world.pod_on("app=agent", "node2")?;
    world
        .kubectl()?
        .run(&format!("delete pod {}", name_of(&pod)?))?;
    world.ready_on("default", "app=agent", &NODES)
}

pub(crate) fn containerd_that_dies_is_started_again(world: &World) -> Result<()> {
    world.agent_everywhere()?;
    let before = containers(world)?;
    let data = world.with_cluster(|cluster| Ok(cluster.data_dir()))?;
    let victim = containerd_of(&data.join("nodes/node2")).context("node2 has no containerd")?;
    kill(Pid::from_raw(victim), Signal::SIGKILL)?;
    let pod = world.pod_on("app=agent", "node2")?;
    world
        .kubectl()?
        .run(&format!("delete pod {} --wait=false", name_of(&pod)?))?;
    wait::until("node2 runs a new pod", PATIENCE, || {
        let now = world
            .pod_on("app=agent", "node2")
            .map_err(|error| error.to_string())?;
        if now["metadata"]["uid"] == pod["metadata"]["uid"] {
            return Err("the pod before".to_owned());
        }
        Ok(())
    })?;
    world.ready_on("default", "app=agent", &NODES)?;
    let after = containers(world)?;
    ensure!(
        after.get("node1") == before.get("node1"),
        "the other nodes are not touched"
    );
    Ok(())
}

/// The process whose command line is a containerd with this node's folder in it.
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
