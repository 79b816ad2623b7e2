//! Decides what a node does next for one of its pods. Pure: values in, values out.
//!
//! A pod worker observes the pod's sandboxes, containers and probe results and calls
//! [`compute_pod_actions`], the counterpart of the kubelet's `computePodActions`. It gets the
//! actions that are due, the time at which to ask again, and the status to report. It performs the
//! actions, records their results in [`BackoffState`], observes again, and so on until nothing is
//! due.

mod action;
mod backoff;
mod conditions;
mod container_actions;
mod desired;
mod lifecycle;
mod observed;
mod pod_actions;
mod pod_status;
mod status;

pub use action::{KillReason, PodAction};
pub use backoff::{Backoff, BackoffState, StartFailure};
pub use desired::{ContainerSpec, Deletion, DesiredPod, ProbeSet, RestartPolicy, container_hash};
pub use observed::{Container, ContainerState, Millis, ObservedPod, ProbeResults, Sandbox};
pub use pod_actions::{PodActions, compute_pod_actions};
pub use status::{ContainerStatus, PodCondition, PodStatus, StateStatus, Terminated};
