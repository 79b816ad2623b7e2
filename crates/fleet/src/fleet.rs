//! A fleet: made from a plan, kept running, taken away.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use pandaemon_runtime::Shutdown;
use serde::{Deserialize, Serialize};

use crate::{
    agent::{self, AgentCommand},
    command, holder, machine,
    plan::{self, NodePlan, Plan},
    sweep,
};

/// What a fleet is made from.
#[derive(Debug, Clone)]
pub struct FleetConfig {
    /// Holds the state of the fleet and a folder for each node.
    pub data_dir: PathBuf,
    /// How many nodes.
    pub nodes: usize,
}

/// What has to be known to take over or remove a fleet whose process was killed.
#[derive(Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
struct State {
    slot: u8,
    nodes: usize,
    holders: Vec<u32>,
    /// Whether `net.ipv4.ip_forward` was switched on for the fleet.
    forwarding_switched_on: bool,
}

/// Nodes on this machine.
#[derive(Debug)]
pub struct Fleet {
    plan: Plan,
    state: State,
    data_dir: PathBuf,
    tasks: Vec<tokio::task::JoinHandle<Option<()>>>,
    agents: Shutdown,
}

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

impl Fleet {
    /// Makes the nodes' namespaces and network, or takes over those of a killed predecessor.
    ///
    /// # Errors
    /// When the machine lacks something ([`machine::MissingTools`]) or a command fails.
    pub async fn make(config: &FleetConfig) -> anyhow::Result<Self> {
        machine::check()?;
        anyhow::ensure!(
            (1..=plan::NODES_MAX).contains(&config.nodes),
            "--nodes must be between 1 and {}",
            plan::NODES_MAX
        );
        fs::create_dir_all(&config.data_dir)
            .with_context(|| format!("make {}", config.data_dir.display()))?;
        let data_dir = config.data_dir.canonicalize()?;
        let id = plan::id_of(&data_dir.to_string_lossy());
        if let Some(fleet) = Self::take_over(&data_dir, &id, config.nodes).await {
            return Ok(fleet);
        }
        let slot = choose_slot(&id).await?;
        let plan = Plan::new(&id, slot, config.nodes);
        let state = State {
            slot,
            nodes: config.nodes,
            ..State::default()
        };
        let mut fleet = Self {
            plan,
            state,
            data_dir,
            tasks: Vec::new(),
            agents: Shutdown::default(),
        };
        // Leftovers of a machine that lost power have the same names.
        sweep::sweep(&fleet.plan, &fleet.data_dir, &[]).await;
        if let Err(error) = fleet.build().await {
            fleet.remove().await;
            return Err(error);
        }
        Ok(fleet)
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[NodePlan] {
        &self.plan.nodes
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Folder of one node.
    #[must_use]
    pub fn node_dir(&self, node: &NodePlan) -> PathBuf {
        self.data_dir.join("nodes").join(&node.name)
    }

    /// Starts the agent of each node; `command` says how.
    pub fn start_agents(&mut self, command: impl Fn(&NodePlan) -> AgentCommand) {
        for (node, holder) in self.plan.nodes.iter().zip(&self.state.holders) {
            let task = agent::supervise(
                node.name.clone(),
                *holder,
                command(node),
                self.agents.clone(),
            );
            self.tasks
                .push(pandaemon_runtime::spawn("node-agent", task));
        }
    }

    /// Stops the agents (which stop their containers), then removes everything. Returns what could not
    /// be removed, in words.
    pub async fn remove(mut self) -> Vec<String> {
        self.agents.trigger();
        for task in self.tasks.drain(..) {
            // The task's panic has been logged by `spawn`.
            let _ended = task.await;
        }
        let left = sweep::sweep(&self.plan, &self.data_dir, &self.state.holders).await;
        if self.state.forwarding_switched_on
            && let Err(error) = fs::write(FORWARDING, "0")
        {
            tracing::warn!(%error, "net.ipv4.ip_forward stays on");
        }
        let _absent = fs::remove_file(state_file(&self.data_dir));
        left
    }

    async fn build(&mut self) -> anyhow::Result<()> {
        self.save()?;
        for step in self.plan.steps() {
            command::run(&step.make).await?;
        }
        self.forward().await?;
        for node in self.plan.nodes.clone() {
            fs::create_dir_all(self.node_dir(&node))?;
            self.state.holders.push(holder::start(&node).await?);
            self.save()?;
        }
        Ok(())
    }

    /// Lets the nodes reach other networks; a machine without that still runs local images.
    async fn forward(&mut self) -> anyhow::Result<()> {
        if fs::read_to_string(FORWARDING).is_ok_and(|value| value.trim() == "0") {
            self.state.forwarding_switched_on = fs::write(FORWARDING, "1").is_ok();
            self.save()?;
        }
        for rule in self.plan.rules() {
            if let Err(error) = command::run(&rule.make).await {
                tracing::warn!(%error, "nodes cannot reach networks beyond this machine");
            }
        }
        Ok(())
    }

    async fn take_over(data_dir: &Path, id: &str, nodes: usize) -> Option<Self> {
        let state: State = serde_json::from_slice(&fs::read(state_file(data_dir)).ok()?).ok()?;
        let plan = Plan::new(id, state.slot, state.nodes);
        let alive = plan.nodes.len() == state.holders.len()
            && plan
                .nodes
                .iter()
                .zip(&state.holders)
                .all(|(node, holder)| holder::is_alive(*holder, &node.netns));
        let fleet = Self {
            plan,
            state,
            data_dir: data_dir.to_owned(),
            tasks: Vec::new(),
            agents: Shutdown::default(),
        };
        if alive && fleet.state.nodes == nodes {
            tracing::info!("taking over the nodes of a predecessor that was killed");
            fleet.end_agents().await;
            return Some(fleet);
        }
        fleet.remove().await;
        None
    }

    /// Ends agents that a killed predecessor left: their containers stay, new agents adopt them.
    async fn end_agents(&self) {
        for node in &self.plan.nodes {
            let file = self.node_dir(node).join("agent.pid");
            let pid = fs::read_to_string(file)
                .ok()
                .and_then(|text| text.trim().parse().ok());
            if let Some(pid) = pid.filter(|pid| is_agent(*pid)) {
                let _gone = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    fn save(&self) -> anyhow::Result<()> {
        let path = state_file(&self.data_dir);
        let draft = path.with_extension("new");
        fs::write(&draft, serde_json::to_vec(&self.state)?)
            .and_then(|()| fs::rename(&draft, &path))
            .with_context(|| format!("write {}", path.display()))
    }
}

fn is_agent(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == b"agent"))
}

fn state_file(data_dir: &Path) -> PathBuf {
    data_dir.join("fleet.json")
}

async fn choose_slot(id: &str) -> anyhow::Result<u8> {
    let routes: Vec<String> = command::run_line("ip -4 route show")
        .await?
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    let preferred = u8::from_str_radix(id.get(..2).unwrap_or("0"), 16).unwrap_or_default();
    plan::free_slot(preferred % plan::SLOTS, &routes)
        .context("every range from 10.64.0.0/16 to 10.127.0.0/16 is in use on this machine")
}
