//! Nodes change: labels, taints, cordon, leaving and joining.

use anyhow::{Result, ensure};
use pandaemon_testkit::wait;

use crate::world::{NODES, PATIENCE, World, name_of};

pub(crate) fn labels_move_pods(world: &World) -> Result<()> {
    let kubectl = world.kubectl()?;
    world.agent_everywhere()?;
    let selector = r#"{"spec":{"template":{"spec":{"nodeSelector":{"disk":"ssd"}}}}}"#;
    kubectl.run("label node node1 disk=ssd --overwrite")?;
    kubectl.words(&["patch", "ds", "agent", "-p", selector])?;
    let result = world
        .ready_on("default", "app=agent", &["node1"])
        .and_then(|()| kubectl.run("label node node2 disk=ssd --overwrite"))
        .and_then(|_| world.ready_on("default", "app=agent", &["node1", "node2"]))
        .and_then(|()| kubectl.run("label node node1 disk=hdd --overwrite"))
        .and_then(|_| world.ready_on("default", "app=agent", &["node2"]));
    kubectl.run("label node node1 node2 disk-")?;
    result
}

pub(crate) fn no_schedule_keeps_and_no_execute_evicts(world: &World) -> Result<()> {
    let kubectl = world.kubectl()?;
    world.agent_everywhere()?;
    kubectl.run("taint node node1 maintenance=true:NoSchedule")?;
    let kept = misscheduled(world, 1).and_then(|()| world.ready_on("default", "app=agent", &NODES));
    kubectl.run("taint node node1 maintenance-")?;
    kept?;
    kubectl.run("taint node node2 broken=true:NoExecute")?;
    let evicted = world.ready_on("default", "app=agent", &["node1", "node3"]);
    kubectl.run("taint node node2 broken-")?;
    evicted?;
    world.ready_on("default", "app=agent", &NODES)
}

fn misscheduled(world: &World, wanted: u64) -> Result<()> {
    wait::until("numberMisscheduled", PATIENCE, || {
        let set = world
            .kubectl()
            .and_then(|kubectl| kubectl.json("get ds agent"))
            .map_err(|error| error.to_string())?;
        let status = &set["status"];
        if status["numberMisscheduled"] == wanted {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
}

pub(crate) fn a_cordoned_node_keeps_its_daemon(world: &World) -> Result<()> {
    let kubectl = world.kubectl()?;
    world.agent_everywhere()?;
    kubectl.run("cordon node3")?;
    let pod = world.pod_on("app=agent", "node3")?;
    kubectl.run(&format!("delete pod {}", name_of(&pod)?))?;
    let result = world.ready_on("default", "app=agent", &NODES);
    kubectl.run("uncordon node3")?;
    result
}

pub(crate) fn a_deleted_node_joins_again(world: &World) -> Result<()> {
    let kubectl = world.kubectl()?;
    world.agent_everywhere()?;
    let before = world.pod_on("app=agent", "node3")?;
    kubectl.run("delete node node3")?;
    wait::until(
        "the pod of the deleted node is gone or replaced",
        PATIENCE,
        || {
            let pods = world
                .pods("default", "app=agent")
                .map_err(|error| error.to_string())?;
            let stays = pods
                .iter()
                .any(|pod| pod["metadata"]["uid"] == before["metadata"]["uid"]);
            if stays {
                Err("it is there".to_owned())
            } else {
                Ok(())
            }
        },
    )?;
    // An agent registers when it starts; the one of node3 is ended and started again by `up`.
    let pid = world.with_cluster(|cluster| cluster.agent_pid("node3"))?;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGKILL,
    )?;
    world.ready_on("default", "app=agent", &NODES)?;
    let after = world.pod_on("app=agent", "node3")?;
    ensure!(
        before["metadata"]["uid"] != after["metadata"]["uid"],
        "a new node has a new pod"
    );
    Ok(())
}
