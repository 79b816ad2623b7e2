//! The snapshot: the pod as wanted, and what runs of it.

use std::collections::BTreeMap;

use crate::Phase;

/// Milliseconds since 1970.
pub type Millis = i64;

/// When an ended container is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartPolicy {
    /// Always; the only one that daemons may have.
    #[default]
    Always,
    /// Only when it ended with an error.
    OnFailure,
    /// Never.
    Never,
}

/// A pod that is being deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletion {
    /// How long its containers may take to stop, in seconds.
    pub grace_seconds: i64,
}

/// Which probes a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Probes {
    /// Holds the other two back until it succeeds.
    pub startup: bool,
    /// Restarts the container when it fails.
    pub liveness: bool,
    /// Takes the container out of service when it fails.
    pub readiness: bool,
}

/// A container as wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerSpec {
    /// Its name.
    pub name: String,
    /// Its image as the pod names it.
    pub image: String,
    /// Changes when the running container no longer is the wanted one.
    pub hash: String,
    /// Only for init containers: runs beside the main containers (a "sidecar").
    pub sidecar: bool,
    /// Its probes.
    pub probes: Probes,
}

/// A pod as wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodView {
    /// `NAME_NAMESPACE(UID)`, as back-off messages name it.
    pub label: String,
    /// When ended containers are started again.
    pub restart_policy: RestartPolicy,
    /// Run before the main containers, in this order.
    pub init: Vec<ContainerSpec>,
    /// The main containers.
    pub main: Vec<ContainerSpec>,
    /// Containers that came into the running pod for debugging: started once, never again.
    pub ephemeral: Vec<ContainerSpec>,
    /// Set when the pod is to go away.
    pub deletion: Option<Deletion>,
    /// Conditions of the pod's readiness gates and whether each is true.
    pub gates: BTreeMap<String, bool>,
    /// Set when the pod must not run here: reason and message of its failure.
    pub rejected: Option<(String, String)>,
    /// Set when the pod was reported as succeeded or failed: that is never taken back, also when
    /// nothing of it is left here.
    pub ended: Option<Phase>,
}

/// A pod sandbox that exists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sandbox {
    /// The runtime's id.
    pub id: String,
    /// Whether it runs.
    pub ready: bool,
    /// Counts the pod's sandboxes.
    pub attempt: u32,
    /// When it was made.
    pub created_at: Millis,
    /// Its addresses; empty with host network.
    pub ips: Vec<String>,
}

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContainerState {
    /// Made but never started.
    #[default]
    Created,
    /// Runs.
    Running,
    /// Ended.
    Exited,
}

/// A container that exists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Container {
    /// The runtime's id.
    pub id: String,
    /// The name in the pod.
    pub name: String,
    /// The sandbox that it is in.
    pub sandbox: String,
    /// Counts the starts: 0 is the first.
    pub attempt: u32,
    /// [`ContainerSpec::hash`] at its making.
    pub hash: String,
    /// What it does.
    pub state: ContainerState,
    /// When it was started.
    pub started_at: Millis,
    /// When it ended.
    pub finished_at: Millis,
    /// How it ended.
    pub exit_code: i32,
    /// Why it ended, such as `Completed`, `Error`, `OOMKilled`.
    pub reason: String,
    /// What it said at its end.
    pub message: String,
    /// The image's name.
    pub image: String,
    /// The image that it really runs.
    pub image_id: String,
}

/// What probes of one container found; `None` until the first answer that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProbeResults {
    /// Whether it has started.
    pub startup: Option<bool>,
    /// Whether it lives.
    pub liveness: Option<bool>,
    /// Whether it is ready.
    pub readiness: Option<bool>,
}

/// What exists of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// All its sandboxes.
    pub sandboxes: Vec<Sandbox>,
    /// All its containers, also ended ones.
    pub containers: Vec<Container>,
    /// Probe results by container id.
    pub probes: BTreeMap<String, ProbeResults>,
}

impl Observed {
    /// The sandbox that counts: the newest.
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

    /// The container of this name that came before the newest.
    #[must_use]
    pub fn previous(&self, name: &str) -> Option<&Container> {
        let latest = self.latest(name)?;
        self.named(name)
            .filter(|container| container.id != latest.id)
            .max_by_key(|container| (container.attempt, container.started_at))
    }

    /// Everything that runs.
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

    /// Whether this running container counts as started.
    #[must_use]
    pub fn started(&self, spec: &ContainerSpec, container: &Container) -> bool {
        let results = self.probes.get(&container.id).copied().unwrap_or_default();
        container.state == ContainerState::Running
            && (!spec.probes.startup || results.startup == Some(true))
    }

    /// Whether this running container counts as ready.
    #[must_use]
    pub fn ready(&self, spec: &ContainerSpec, container: &Container) -> bool {
        let results = self.probes.get(&container.id).copied().unwrap_or_default();
        self.started(spec, container) && (!spec.probes.readiness || results.readiness == Some(true))
    }
}

/// A container's hash: of its name and image, as the kubelet's, since nothing else of a running
/// pod may be changed. FNV-1a, 32 bits, in hexadecimal.
#[must_use]
pub fn container_hash(name: &str, image: &str) -> String {
    let bytes = name.bytes().chain([0]).chain(image.bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(16_777_619)
    });
    format!("{hash:x}")
}
