//! Self-healing and the end of a DaemonSet.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};
use pandaemon_testkit::wait;

use crate::world::{NODES, PATIENCE, World, container_id, name_of, program};

pub(crate) fn a_deleted_pod_comes_back(world: &World) -> Result<()> {
    world.agent_everywhere()?;
    let before = world.pod_on("app=agent", "node1")?;
    world
        .kubectl()?
        .run(&format!("delete pod {}", name_of(&before)?))?;
    world.ready_on("default", "app=agent", &NODES)?;
    let after = world.pod_on("app=agent", "node1")?;
    ensure!(
        before["metadata"]["uid"] != after["metadata"]["uid"],
        "the same pod"
    );
    Ok(())
}

pub(crate) fn a_killed_process_is_restarted(world: &World) -> Result<()> {
    world.agent_everywhere()?;
    let before = world.pod_on("app=agent", "node1")?;
    let name = name_of(&before)?;
    // The shell is process 1 of its container and stops on TERM; `kill` itself may end with it.
    world
        .kubectl()?
        .try_run(&format!("exec {name} -c agent -- kill 1"))?;
    wait::until("restart count goes up", PATIENCE, || {
        let pod = world
            .pod_on("app=agent", "node1")
            .map_err(|error| error.to_string())?;
        let count = pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
        if count > Some(0) {
            Ok(())
        } else {
            Err(format!("restart count {count:?}"))
        }
    })?;
    world.ready_on("default", "app=agent", &NODES)?;
    let after = world.pod_on("app=agent", "node1")?;
    ensure!(
        before["metadata"]["uid"] == after["metadata"]["uid"],
        "the pod stays"
    );
    ensure!(
        container_id(&before) != container_id(&after),
        "the container is a new one"
    );
    let previous = world
        .kubectl()?
        .run(&format!("logs {name} -c agent --previous"))?;
    ensure!(
        previous.contains("stopping"),
        "the log of the container before: {previous}"
    );
    Ok(())
}

pub(crate) fn a_deleted_daemonset_leaves_nothing(world: &World) -> Result<()> {
    world.agent_everywhere()?;
    let uids: Vec<String> = world
        .pods("default", "app=agent")?
        .iter()
        .filter_map(|pod| Some(pod["metadata"]["uid"].as_str()?.to_owned()))
        .collect();
    ensure!(
        uids.iter().all(|uid| !traces(uid).is_empty()),
        "running pods have processes"
    );
    world.kubectl()?.run("delete ds agent")?;
    wait::until(
        "pods, processes, cgroups and mounts are gone",
        PATIENCE,
        || {
            let pods = world
                .pods("default", "app=agent")
                .map_err(|error| error.to_string())?;
            let left: Vec<String> = uids.iter().flat_map(|uid| traces(uid)).collect();
            if pods.is_empty() && left.is_empty() {
                return Ok(());
            }
            Err(format!("{} pods, {left:?}", pods.len()))
        },
    )
}

/// Cgroups and processes of a pod; its mounts are in the mount table of those processes.
fn traces(uid: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new("/sys/fs/cgroup").to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
        {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().contains(uid) {
                    found.push(entry.path().display().to_string());
                }
                folders.push(entry.path());
            }
        }
    }
    found
}

pub(crate) fn stop_leaves_nothing_behind(world: &World) -> Result<()> {
    // Only what this cluster created counts: another one may run on the machine.
    let (data, id) = world.with_cluster(|cluster| Ok((cluster.data_dir(), cluster.id()?)))?;
    world.stop()?;
    for (what, command) in [
        ("network namespace", "ip netns list"),
        ("network device", "ip link"),
        ("nat rule", "iptables -w -t nat -S"),
        ("filter rule", "iptables -w -S"),
        ("process", "ps axww -o args"),
        ("mount", "cat /proc/self/mounts"),
    ] {
        let output = Command::new("sh").args(["-c", command]).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let data = data.display().to_string();
        let left: Vec<&str> = text
            .lines()
            .filter(|line| line.contains(&id) || line.contains(&data))
            .filter(|line| !line.contains("sh -c"))
            .collect();
        ensure!(left.is_empty(), "{what} left behind: {left:?}");
    }
    ensure!(program()?.is_file(), "the program is still there");
    Ok(())
}
