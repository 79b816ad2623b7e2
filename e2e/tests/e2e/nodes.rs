//! Changes of nodes: labels, taints, cordon, deletion and registration.

use anyhow::{Result, ensure};
use pandaemon_testkit::wait;

use crate::test_env::{NODES, TIMEOUT, TestEnv, name_of};

pub(crate) fn pods_follow_changed_node_labels(env: &TestEnv) -> Result<()> {
    let kubectl = env.kubectl()?;
    env.run_agents()?;
    let selector = r#"{"spec":{"template":{"spec":{"nodeSelector":{"disk":"ssd"}}}}}"#;
    kubectl.run("label node node1 disk=ssd --overwrite")?;
    kubectl.words(&["patch", "ds", "agent", "-p", selector])?;
    let result = env
        .wait_until_ready_on("default", "app=agent", &["node1"])
        .and_then(|()| kubectl.run("label node node2 disk=ssd --overwrite"))
        .and_then(|_| env.wait_until_ready_on("default", "app=agent", &["node1", "node2"]))
        .and_then(|()| kubectl.run("label node node1 disk=hdd --overwrite"))
        .and_then(|_| env.wait_until_ready_on("default", "app=agent", &["node2"]));
    kubectl.run("label node node1 node2 disk-")?;
    result
}

pub(crate) fn no_schedule_taint_keeps_pods_and_no_execute_evicts_them(env: &TestEnv) -> Result<()> {
    let kubectl = env.kubectl()?;
    env.run_agents()?;
    kubectl.run("taint node node1 maintenance=true:NoSchedule")?;
    let kept = wait_for_misscheduled(env, 1)
        .and_then(|()| env.wait_until_ready_on("default", "app=agent", &NODES));
    kubectl.run("taint node node1 maintenance-")?;
    kept?;
    kubectl.run("taint node node2 broken=true:NoExecute")?;
    let evicted = env.wait_until_ready_on("default", "app=agent", &["node1", "node3"]);
    kubectl.run("taint node node2 broken-")?;
    evicted?;
    env.wait_until_ready_on("default", "app=agent", &NODES)
}

fn wait_for_misscheduled(env: &TestEnv, wanted: u64) -> Result<()> {
    wait::until("numberMisscheduled", TIMEOUT, || {
        let set = env
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

pub(crate) fn cordoned_node_gets_its_daemon_pod(env: &TestEnv) -> Result<()> {
    let kubectl = env.kubectl()?;
    env.run_agents()?;
    kubectl.run("cordon node3")?;
    let pod = env.pod_on("app=agent", "node3")?;
    kubectl.run(&format!("delete pod {}", name_of(&pod)?))?;
    let result = env.wait_until_ready_on("default", "app=agent", &NODES);
    kubectl.run("uncordon node3")?;
    result
}

pub(crate) fn deleted_node_registers_again_and_gets_a_new_pod(env: &TestEnv) -> Result<()> {
    let kubectl = env.kubectl()?;
    env.run_agents()?;
    let before = env.pod_on("app=agent", "node3")?;
    kubectl.run("delete node node3")?;
    wait::until(
        "the pod of the deleted node is gone or replaced",
        TIMEOUT,
        || {
            let pods = env
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
    // Its agent has ended, and `up` starts it again after a delay: it joins as a new node.
    env.wait_until_ready_on("default", "app=agent", &NODES)?;
    let after = env.pod_on("app=agent", "node3")?;
    ensure!(
        before["metadata"]["uid"] != after["metadata"]["uid"],
        "a new node has a new pod"
    );
    Ok(())
}
