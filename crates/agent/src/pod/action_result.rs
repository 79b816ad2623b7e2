//! The result of a pod action.

use pandaemon_podsync::BackoffState;

/// The result of a pod action.
#[derive(Debug, Clone)]
pub(crate) enum ActionResult {
    /// A sandbox was created and is ready.
    SandboxCreated,
    /// No sandbox could be created; the message.
    SandboxFailed(String),
    /// A container was started.
    Started {
        /// The container's name in the pod spec.
        name: String,
    },
    /// A container could not be created or started.
    StartFailed {
        /// The container's name in the pod spec.
        name: String,
        /// The reason of its waiting state.
        reason: &'static str,
        /// The message of its waiting state.
        message: String,
    },
    /// A container's image could not be pulled.
    PullFailed {
        /// The container's name in the pod spec.
        name: String,
        image: String,
        /// The message of its waiting state.
        message: String,
    },
    /// A container or sandbox was stopped or removed, or the volumes were updated.
    Done,
    /// The action failed and has been logged. It is computed again after a delay.
    Retry,
    /// All resources of the pod are released.
    CleanedUp,
    /// The action was cancelled or no longer applied.
    Skipped,
}

impl ActionResult {
    /// Records in `backoff` what later computations need.
    pub(crate) fn record(&self, backoff: &mut BackoffState, now: i64) {
        match self {
            Self::SandboxCreated => backoff.record_sandbox_created(),
            Self::SandboxFailed(message) => backoff.record_sandbox_failure(message, now),
            Self::Started { name } => backoff.record_started(name),
            Self::StartFailed {
                name,
                reason,
                message,
            } => backoff.record_failure(name, reason, message, now),
            Self::PullFailed {
                name,
                image,
                message,
            } => {
                backoff.record_pull_failure(name, image, message, now);
            }
            Self::Done | Self::Retry | Self::CleanedUp | Self::Skipped => (),
        }
    }
}
