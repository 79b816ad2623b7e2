//! What a node must do next for one of its pods. Pure: values in, values out.
//!
//! The shell observes (sandboxes, containers, probe results) and calls [`plan`]; it gets the
//! actions that are due, the time at which to ask again, and the status to report. It performs the
//! actions, notes their outcome in [`Memory`], observes again, and so on until nothing is due.

mod backoff;
mod plan;
mod sequence;
mod status;
mod view;

pub use backoff::{Backoff, Failure, Memory};
pub use plan::{Action, KillReason, Plan, plan};
pub use status::{
    Condition, ContainerStatus, Phase, PodStatus, State, Terminated, status as describe,
};
pub use view::{
    Container, ContainerSpec, ContainerState, Deletion, Millis, Observed, PodView, ProbeResults,
    Probes, RestartPolicy, Sandbox, container_hash,
};
