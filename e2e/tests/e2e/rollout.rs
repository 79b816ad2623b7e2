//! Rolling updates, seen through the watch stream, and their history.

use std::{collections::BTreeMap, io::BufReader, process::Child, thread::JoinHandle};

use anyhow::{Context as _, Result, ensure};
use pandaemon_testkit::cluster::is_ready;
use serde_json::Value;

use crate::world::{NODES, World, node_of};

pub(crate) fn an_update_takes_one_node_at_a_time(world: &World) -> Result<()> {
    world.agent_everywhere()?;
    let kubectl = world.kubectl()?;
    let watched = Watched::start(world)?;
    kubectl.run("set image ds/agent agent=monitoring-agent:v2.0")?;
    kubectl.run("rollout status ds/agent --timeout=120s")?;
    world.ready_on("default", "app=agent", &NODES)?;
    let worst = watched.end()?;
    ensure!(
        worst == 1,
        "{worst} nodes were without a ready pod at once, maxUnavailable is 1"
    );
    for pod in world.pods("default", "app=agent")? {
        let image = &pod["spec"]["containers"][0]["image"];
        ensure!(image == "monitoring-agent:v2.0", "image {image}");
    }
    Ok(())
}

/// Follows the pods of the daemon and counts nodes without a ready one.
#[derive(Debug)]
struct Watched {
    child: Child,
    reader: JoinHandle<usize>,
}

impl Watched {
    fn start(world: &World) -> Result<Self> {
        let line = "get pods -l app=agent --watch --output-watch-events -o json";
        let mut child = world.kubectl()?.start(line)?;
        let out = child.stdout.take().context("kubectl's output")?;
        let reader = std::thread::spawn(move || worst_unavailable(BufReader::new(out)));
        // The list comes first: let it arrive before anything changes.
        std::thread::sleep(std::time::Duration::from_secs(2));
        Ok(Self { child, reader })
    }

    fn end(mut self) -> Result<usize> {
        self.child.kill()?;
        self.child.wait()?;
        self.reader
            .join()
            .map_err(|_| anyhow::anyhow!("the reader of the watch failed"))
    }
}

/// kubectl prints JSON objects one after the other.
fn worst_unavailable(reader: impl std::io::Read) -> usize {
    let mut ready: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
    let (mut worst, mut complete) = (0, false);
    let events = serde_json::Deserializer::from_reader(reader).into_iter::<Value>();
    for event in events.map_while(Result::ok) {
        note(&mut ready, &event);
        let down = NODES.iter().filter(|node| !has_ready(&ready, node)).count();
        complete |= down == 0;
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

pub(crate) fn history_and_undo(world: &World) -> Result<()> {
    world.agent_everywhere()?;
    let kubectl = world.kubectl()?;
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
