//! The actions that a pod worker performs.

use crate::observed::{Container, Millis};

/// Why a container is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillReason {
    /// The pod is being deleted.
    PodDeleted,
    /// The pod's sandbox stopped or is about to be replaced.
    SandboxChanged,
    /// The container's hash differs from the one in the pod spec.
    SpecChanged,
    /// The liveness probe failed.
    LivenessProbeFailed,
    /// The startup probe failed.
    StartupProbeFailed,
    /// The pod has succeeded or failed, so the containers that still run are stopped.
    PodCompleted,
}

/// One action on a pod, performed by its worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodAction {
    /// Create and start a sandbox.
    CreateSandbox {
        /// Number of this sandbox within the pod, from 0.
        attempt: u32,
    },
    /// Stop a sandbox. Its containers have been stopped before.
    StopSandbox {
        /// The sandbox's id in the runtime.
        id: String,
    },
    /// Pull the image of a container, create the container in the newest sandbox, and start it.
    StartContainer {
        /// The container's name in the pod spec.
        name: String,
        /// Number of this start of the container, from 0; reported as the restart count.
        attempt: u32,
        /// When the previous start of this container exited, if there was one.
        ended: Option<Millis>,
    },
    /// Stop a running container.
    KillContainer {
        /// The container's name in the pod spec.
        name: String,
        /// The container's id in the runtime.
        id: String,
        /// Why it is killed; chooses the event and the grace period.
        reason: KillReason,
    },
    /// Remove an exited container whose log and last state are no longer needed.
    RemoveContainer {
        /// The container's id in the runtime.
        id: String,
    },
    /// All containers and sandboxes have stopped: release the pod's resources, report its last
    /// status and delete its object. The kubelet's `SyncTerminatedPod`.
    CleanUp,
}

/// The action that kills this container.
pub(crate) fn kill(container: &Container, reason: KillReason) -> PodAction {
    PodAction::KillContainer {
        name: container.name.clone(),
        id: container.id.clone(),
        reason,
    }
}
