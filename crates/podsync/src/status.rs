//! The pod status as values; the agent writes them as JSON.

use pandaemon_types::Phase;

use crate::observed::Millis;

/// How a container ended: the API's `terminated` state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terminated {
    /// The container's id in the runtime.
    pub id: String,
    /// The exit code of its process.
    pub exit_code: i32,
    /// The reason, such as `Completed` or `OOMKilled`.
    pub reason: String,
    /// The termination message, or the runtime's message.
    pub message: String,
    /// When it was started; 0 if never.
    pub started_at: Millis,
    /// When it exited.
    pub finished_at: Millis,
}

/// A container's `state` in the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateStatus {
    /// It should run but does not.
    Waiting {
        /// The reason, such as `ContainerCreating` or `CrashLoopBackOff`.
        reason: String,
        /// The message, empty if none.
        message: String,
    },
    /// Its process runs.
    Running {
        /// When it was started.
        started_at: Millis,
    },
    /// Its process has exited and is not restarted (or not yet).
    Terminated(Terminated),
}

/// The status of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerStatus {
    /// The container's name in the pod spec.
    pub name: String,
    /// The image's name.
    pub image: String,
    /// The image's id or digest in the runtime; empty before the first start.
    pub image_id: String,
    /// The container's id in the runtime; empty before the first start.
    pub id: String,
    /// How often it was restarted.
    pub restarts: u32,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it runs and its startup probe, if any, has succeeded.
    pub started: bool,
    /// Its present state.
    pub state: StateStatus,
    /// The API's `lastState`: how the previous start of it ended.
    pub last: Option<Terminated>,
}

/// One condition of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodCondition {
    /// The condition's type.
    pub kind: &'static str,
    /// Whether its status is `True`; otherwise it is `False`.
    pub holds: bool,
    /// The reason, empty if none.
    pub reason: &'static str,
    /// The message, empty if none.
    pub message: String,
}

/// The status of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodStatus {
    /// The phase of the pod as a whole.
    pub phase: Phase,
    /// Why the node rejected the pod, empty if it did not.
    pub reason: String,
    /// The message to that reason.
    pub message: String,
    /// The conditions that the node owns.
    pub conditions: Vec<PodCondition>,
    /// Statuses of the init containers.
    pub init: Vec<ContainerStatus>,
    /// Statuses of the main containers.
    pub main: Vec<ContainerStatus>,
    /// Statuses of the ephemeral containers.
    pub ephemeral: Vec<ContainerStatus>,
    /// The pod's addresses; empty without a ready sandbox or on the host network.
    pub ips: Vec<String>,
}
