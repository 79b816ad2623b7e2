//! Creates the nodes of a fleet, supervises their agents, and removes everything.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use pandaemon_runtime::{
    Shutdown,
    files::{private_dir, replace_private},
};
use serde::{Deserialize, Serialize};

use crate::{
    agent::{self, AgentCommand},
    cleanup, command, holder, machine,
    plan::{self, NodePlan, Plan},
    shared::{Shared, SharedLock},
};

/// How to create a fleet.
#[derive(Debug, Clone)]
pub struct FleetConfig {
    /// The directory for the fleet's state and for each node's data.
    pub data_dir: PathBuf,
    /// The number of nodes.
    pub nodes: usize,
}

/// What a later process needs to take over or remove a fleet whose process was killed; stored in
/// `fleet.json`.
#[derive(Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
struct State {
    slot: u8,
    nodes: usize,
    holders: Vec<u32>,
}

/// The running nodes on this machine.
#[derive(Debug)]
pub struct Fleet {
    plan: Plan,
    state: State,
    data_dir: PathBuf,
    tasks: Vec<tokio::task::JoinHandle<Option<()>>>,
    agents: Shutdown,
}

impl Fleet {
    /// Creates the nodes' namespaces and network, or takes over those of a process that was killed.
    ///
    /// # Errors
    /// If the machine lacks a tool ([`machine::MissingTools`]) or a command fails.
    pub async fn create(config: &FleetConfig) -> anyhow::Result<Self> {
        machine::check()?;
        anyhow::ensure!(
            (1..=plan::NODES_MAX).contains(&config.nodes),
            "--nodes must be between 1 and {}",
            plan::NODES_MAX
        );
        private_dir(&config.data_dir)
            .with_context(|| format!("create {}", config.data_dir.display()))?;
        let data_dir = config.data_dir.canonicalize()?;
        let id = plan::id_of(&data_dir.to_string_lossy());
        if let Some(fleet) = Self::take_over(&data_dir, &id, config.nodes).await {
            return Ok(fleet);
        }
        let shared = Shared::default();
        let lock = shared.lock().await?;
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
        // What an earlier fleet of this directory left has the same names.
        cleanup::clean_up(&fleet.plan, &fleet.data_dir, &[]).await;
        if let Err(error) = fleet.create_nodes(&lock).await {
            drop(lock);
            fleet.remove().await;
            return Err(error);
        }
        Ok(fleet)
    }

    /// The plans of all nodes.
    #[must_use]
    pub fn nodes(&self) -> &[NodePlan] {
        &self.plan.nodes
    }

    /// The plan of the fleet.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The data directory of one node.
    #[must_use]
    pub fn node_dir(&self, node: &NodePlan) -> PathBuf {
        self.data_dir.join("nodes").join(&node.name)
    }

    /// Starts and supervises the agent of each node, with the command that `command` returns for
    /// it.
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

    /// Stops the agents (which stop their containers), then removes everything. Returns a
    /// description of each thing that could not be removed.
    pub async fn remove(mut self) -> Vec<String> {
        self.agents.trigger();
        for task in self.tasks.drain(..) {
            // A panic of the task has been logged by `spawn`.
            let _ended = task.await;
        }
        let left = cleanup::clean_up(&self.plan, &self.data_dir, &self.state.holders).await;
        if let Err(error) = release_forwarding().await {
            tracing::warn!("cannot switch net.ipv4.ip_forward off again: {error:#}");
        }
        let _absent = fs::remove_file(state_file(&self.data_dir));
        left
    }

    async fn create_nodes(&mut self, lock: &SharedLock<'_>) -> anyhow::Result<()> {
        self.save()?;
        for step in self.plan.steps() {
            command::run(&step.create).await?;
        }
        self.enable_forwarding(lock).await;
        for node in self.plan.nodes.clone() {
            private_dir(&self.node_dir(&node))?;
            self.state.holders.push(holder::start(&node).await?);
            self.save()?;
        }
        Ok(())
    }

    /// Lets the nodes reach other networks. Without it, nodes still run images that are imported.
    async fn enable_forwarding(&self, lock: &SharedLock<'_>) {
        if let Err(error) = lock.enable_forwarding() {
            tracing::warn!(%error, "cannot switch net.ipv4.ip_forward on: nodes do not reach other networks");
        }
        for rule in self.plan.rules() {
            if let Err(error) = command::run(&rule.create).await {
                tracing::warn!(%error, "cannot add an iptables rule: nodes do not reach other networks");
            }
        }
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
            tracing::info!("taking over the nodes of a process that was killed");
            fleet.end_agents().await;
            return Some(fleet);
        }
        fleet.remove().await;
        None
    }

    /// Kills the agents of the process before this one. Their containers go on, and new agents
    /// adopt them.
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
        replace_private(&path, &serde_json::to_vec(&self.state)?)
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

async fn release_forwarding() -> anyhow::Result<()> {
    let shared = Shared::default();
    shared.lock().await?.release_forwarding()?;
    Ok(())
}

async fn choose_slot(id: &str) -> anyhow::Result<u8> {
    let routes: Vec<String> = command::run_line("ip -4 route show")
        .await?
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    plan::free_slot(plan::preferred_slot(id), &routes)
        .context("every range from 10.64.0.0/16 to 10.127.0.0/16 is in use on this machine")
}
