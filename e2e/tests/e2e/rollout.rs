//! Rolling updates, observed through a watch, and rollout history.

use std::{collections::BTreeMap, io::BufReader, process::Child, sync::mpsc, thread::JoinHandle};

use anyhow::{Context as _, Result, bail, ensure};
use pandaemon_testkit::cluster::is_ready;
use serde_json::Value;

use crate::test_env::{NODES, TIMEOUT, TestEnv, node_of};

pub(crate) fn rolling_update_has_one_node_without_a_ready_pod_at_a_time(
    env: &TestEnv,
) -> Result<()> {
    env.run_agents()?;
    let kubectl = env.kubectl()?;
    let watched = UpdateWatch::start(env)?;
    kubectl.run("set image ds/agent agent=monitoring-agent:v2.0")?;
    kubectl.run("rollout status ds/agent --timeout=120s")?;
    env.wait_until_ready_on("default", "app=agent", &NODES)?;
    let worst = watched.end()?;
    ensure!(
        worst == 1,
        "{worst} nodes were without a ready pod at once, maxUnavailable is 1"
    );
    for pod in env.pods("default", "app=agent")? {
        let image = &pod["spec"]["containers"][0]["image"];
        ensure!(image == "monitoring-agent:v2.0", "image {image}");
    }
    Ok(())
}

/// A watch of the agent's pods, which counts the nodes without a ready one.
#[derive(Debug)]
struct UpdateWatch {
    child: Child,
    reader: JoinHandle<usize>,
}

impl UpdateWatch {
    fn start(env: &TestEnv) -> Result<Self> {
        let line = "get pods -l app=agent --watch --output-watch-events -o json";
        let mut child = env.kubectl()?.start(line)?;
        let out = child.stdout.take().context("kubectl's output")?;
        let (listed, wait) = mpsc::channel();
        let reader = std::thread::spawn(move || most_unavailable(BufReader::new(out), &listed));
        let watch = Self { child, reader };
        // Nothing may change before the watch has shown a ready pod on every node.
        if wait.recv_timeout(TIMEOUT).is_err() {
            watch.end()?;
            bail!("the watch does not show a ready pod on every node");
        }
        Ok(watch)
    }

    fn end(mut self) -> Result<usize> {
        self.child.kill()?;
        self.child.wait()?;
        self.reader
            .join()
            .map_err(|_| anyhow::anyhow!("the reader of the watch failed"))
    }
}

/// The most nodes that had no ready pod at the same time, from the JSON events that `kubectl get
/// --watch` prints. Counting starts when every node has a ready pod, which is sent to `listed`.
fn most_unavailable(reader: impl std::io::Read, listed: &mpsc::Sender<()>) -> usize {
    let mut ready: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
    let (mut worst, mut complete) = (0, false);
    let events = serde_json::Deserializer::from_reader(reader).into_iter::<Value>();
    for event in events.map_while(Result::ok) {
        note(&mut ready, &event);
        let down = NODES.iter().filter(|node| !has_ready(&ready, node)).count();
        if !complete && down == 0 {
            complete = true;
            // The receiver may have timed out.
            let _sent = listed.send(());
        }
        if complete {
            worst = worst.max(down);
        }
    }
    worst
}

fn note(ready: &mut BTreeMap<String, BTreeMap<String, bool>>, event: &Value) {
    let pod = &event["object"];
    let name = pod["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let pods = ready.entry(node_of(pod)).or_default();
    if event["type"] == "DELETED" {
        pods.remove(&name);
    } else {
        pods.insert(
            name,
            is_ready(pod) && pod["metadata"]["deletionTimestamp"].is_null(),
        );
    }
}

fn has_ready(ready: &BTreeMap<String, BTreeMap<String, bool>>, node: &str) -> bool {
    ready
        .get(node)
        .is_some_and(|pods| pods.values().any(|ready| *ready))
}

pub(crate) fn rollout_history_and_undo(env: &TestEnv) -> Result<()> {
    env.run_agents()?;
    let kubectl = env.kubectl()?;
    let revisions = |wanted: &str| -> Result<()> {
        let history = kubectl.run("rollout history ds/agent")?;
        let last = history
            .lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or_default();
        ensure!(
            last.starts_with(wanted),
            "last revision `{last}`, not {wanted}"
        );
        Ok(())
    };
    revisions("1 ")?;
    kubectl.run("set image ds/agent agent=monitoring-agent:v2.0")?;
    kubectl.run("rollout status ds/agent --timeout=120s")?;
    revisions("2 ")?;
    let shown = kubectl.run("rollout history ds/agent --revision=1")?;
    ensure!(
        shown.contains("monitoring-agent:v1.0.0"),
        "revision 1: {shown}"
    );
    kubectl.run("rollout undo ds/agent")?;
    let said = kubectl.run("rollout status ds/agent --timeout=120s")?;
    ensure!(
        said.contains("successfully rolled out"),
        "rollout status: {said}"
    );
    revisions("3 ")?;
    let set = kubectl.json("get ds agent")?;
    let status = &set["status"];
    ensure!(
        status["updatedNumberScheduled"] == 3 && status["numberAvailable"] == 3,
        "status {status}"
    );
    Ok(())
}
