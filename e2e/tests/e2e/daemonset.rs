//! Pods and containers that end, a deleted DaemonSet, and the end of the cluster.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};
use pandaemon_testkit::wait;

use crate::test_env::{NODES, TIMEOUT, TestEnv, container_id, name_of, program};

pub(crate) fn deleted_pod_is_replaced_on_its_node(env: &TestEnv) -> Result<()> {
    env.run_agents()?;
    let before = env.pod_on("app=agent", "node1")?;
    env.kubectl()?
        .run(&format!("delete pod {}", name_of(&before)?))?;
    env.wait_until_ready_on("default", "app=agent", &NODES)?;
    let after = env.pod_on("app=agent", "node1")?;
    ensure!(
        before["metadata"]["uid"] != after["metadata"]["uid"],
        "the same pod"
    );
    Ok(())
}

pub(crate) fn killed_container_is_restarted_in_its_pod(env: &TestEnv) -> Result<()> {
    env.run_agents()?;
    let before = env.pod_on("app=agent", "node1")?;
    let name = name_of(&before)?;
    // The shell is process 1 of its container and stops on TERM; `kill` itself may end with it.
    env.kubectl()?
        .try_run(&format!("exec {name} -c agent -- kill 1"))?;
    wait::until("restart count goes up", TIMEOUT, || {
        let pod = env
            .pod_on("app=agent", "node1")
            .map_err(|error| error.to_string())?;
        let count = pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
        if count > Some(0) {
            Ok(())
        } else {
            Err(format!("restart count {count:?}"))
        }
    })?;
    env.wait_until_ready_on("default", "app=agent", &NODES)?;
    let after = env.pod_on("app=agent", "node1")?;
    ensure!(
        before["metadata"]["uid"] == after["metadata"]["uid"],
        "the pod stays"
    );
    ensure!(
        container_id(&before) != container_id(&after),
        "the container is a new one"
    );
    let previous = env
        .kubectl()?
        .run(&format!("logs {name} -c agent --previous"))?;
    ensure!(
        previous.contains("stopping"),
        "the log of the container before: {previous}"
    );
    Ok(())
}

pub(crate) fn deleted_daemonset_leaves_no_pods_cgroups_or_processes(env: &TestEnv) -> Result<()> {
    env.run_agents()?;
    let uids: Vec<String> = env
        .pods("default", "app=agent")?
        .iter()
        .filter_map(|pod| Some(pod["metadata"]["uid"].as_str()?.to_owned()))
        .collect();
    ensure!(
        uids.iter().all(|uid| !cgroups_of(uid).is_empty()),
        "running pods have processes"
    );
    env.kubectl()?.run("delete ds agent")?;
    wait::until(
        "pods, processes, cgroups and mounts are gone",
        TIMEOUT,
        || {
            let pods = env
                .pods("default", "app=agent")
                .map_err(|error| error.to_string())?;
            let left: Vec<String> = uids.iter().flat_map(|uid| cgroups_of(uid)).collect();
            if pods.is_empty() && left.is_empty() {
                return Ok(());
            }
            Err(format!("{} pods, {left:?}", pods.len()))
        },
    )
}

/// The cgroups of a pod. Its processes are in them, and its mounts are in the mount tables of
/// these.
fn cgroups_of(uid: &str) -> Vec<String> {
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

pub(crate) fn stop_leaves_nothing_behind(env: &TestEnv) -> Result<()> {
    // Only what this cluster created counts: another one may run on the machine.
    let (data, id) = env.with_cluster(|cluster| Ok((cluster.data_dir(), cluster.id()?)))?;
    env.stop()?;
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
