//! The observed state: what the container runtime and the probes say about a pod.

use std::collections::BTreeMap;

use crate::desired::ContainerSpec;

/// Milliseconds since 1970.
pub type Millis = i64;

/// A pod sandbox in the runtime.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sandbox {
    /// The sandbox's id in the runtime.
    pub id: String,
    /// Whether the runtime reports it as ready.
    pub ready: bool,
    /// Number of this sandbox within the pod, from 0.
    pub attempt: u32,
    /// When it was created.
    pub created_at: Millis,
    /// Its addresses; empty for pods on the host network.
    pub ips: Vec<String>,
}

/// The state of a container in the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContainerState {
    /// Created but never started.
    #[default]
    Created,
    /// Its process runs.
    Running,
    /// Its process has exited.
    Exited,
}

/// A container in the runtime.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Container {
    /// The container's id in the runtime.
    pub id: String,
    /// The container's name in the pod spec.
    pub name: String,
    /// The id of its sandbox.
    pub sandbox: String,
    /// Number of this start of the container, from 0.
    pub attempt: u32,
    /// [`ContainerSpec::hash`] at the time of its creation.
    pub hash: String,
    /// The state that the runtime reports.
    pub state: ContainerState,
    /// When it was started; 0 if never.
    pub started_at: Millis,
    /// When it exited; 0 if it has not.
    pub finished_at: Millis,
    /// The exit code of its process.
    pub exit_code: i32,
    /// The runtime's reason for the exit, such as `Completed`, `Error` or `OOMKilled`.
    pub reason: String,
    /// The termination message, or the runtime's message.
    pub message: String,
    /// The image's name as the runtime reports it.
    pub image: String,
    /// The image's id or digest as the runtime reports it.
    pub image_id: String,
}

/// Probe results of one container; `None` until a probe reached its success or failure threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProbeResults {
    /// Result of the startup probe.
    pub startup: Option<bool>,
    /// Result of the liveness probe.
    pub liveness: Option<bool>,
    /// Result of the readiness probe.
    pub readiness: Option<bool>,
}

/// Everything observed of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObservedPod {
    /// All sandboxes of the pod.
    pub sandboxes: Vec<Sandbox>,
    /// All containers of the pod, exited ones included.
    pub containers: Vec<Container>,
    /// Probe results by container id.
    pub probes: BTreeMap<String, ProbeResults>,
}

impl ObservedPod {
    /// The newest sandbox.
    #[must_use]
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes
            .iter()
            .max_by_key(|sandbox| (sandbox.attempt, sandbox.created_at))
    }

    /// The newest container of this name.
    #[must_use]
    pub fn latest(&self, name: &str) -> Option<&Container> {
        self.named(name)
            .max_by_key(|container| (container.attempt, container.started_at))
    }

    /// The container of this name before the newest one.
    #[must_use]
    pub fn previous(&self, name: &str) -> Option<&Container> {
        let latest = self.latest(name)?;
        self.named(name)
            .filter(|container| container.id != latest.id)
            .max_by_key(|container| (container.attempt, container.started_at))
    }

    /// All running containers.
    pub fn running(&self) -> impl Iterator<Item = &Container> {
        self.containers
            .iter()
            .filter(|one| one.state == ContainerState::Running)
    }

    fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Container> {
        self.containers
            .iter()
            .filter(move |container| container.name == name)
    }

    /// Whether this container counts as started: it runs and its startup probe, if any, succeeded.
    #[must_use]
    pub fn started(&self, spec: &ContainerSpec, container: &Container) -> bool {
        let results = self.probes.get(&container.id).copied().unwrap_or_default();
        container.state == ContainerState::Running
            && (!spec.probes.startup || results.startup == Some(true))
    }

    /// Whether this container counts as ready: started, and its readiness probe, if any, succeeded.
    #[must_use]
    pub fn ready(&self, spec: &ContainerSpec, container: &Container) -> bool {
        let results = self.probes.get(&container.id).copied().unwrap_or_default();
        self.started(spec, container) && (!spec.probes.readiness || results.readiness == Some(true))
    }
}
