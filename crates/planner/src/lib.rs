//! The DaemonSet planner: decides which requests every DaemonSet needs next, and why.
//!
//! Pure: no IO, no clock, no task. A [`Planner`] takes events ([`Planner::observe`]) and returns
//! actions ([`Planner::plan`]). Equal histories give equal plans. An event costs what it changes: a
//! pod event one node of one set, a node event one placement per set, a heartbeat one comparison.
//! `docs/design/daemonset.md` has the definitions and the invariants.

mod action;
mod assess;
mod back_off;
mod candidates;
mod canonical;
mod event;
mod explain;
mod ids;
mod node_state;
mod node_status;
mod observe;
mod owner;
mod pacing;
mod patches;
mod plan;
mod planner;
mod pod_rules;
mod pod_state;
mod pod_template;
mod queues;
mod revision;
mod rollout;
mod set;
mod tables;
mod totals;
mod view;

pub use action::{Action, DeleteReason, Patch, Plan, PodRef, Purpose, Severity};
pub use back_off::failed_pod_back_off;
pub use canonical::{GENERATION_LABEL, HASH_LABEL, revision_text};
pub use event::{Event, Failure, FailureKind, Listed, Reply};
pub use node_status::{BlockedBy, Explanation, NodeStatus, Wait};
pub use planner::{Options, Planner};
pub use pod_rules::{is_available, pod_order};
pub use pod_template::PodTemplate;
pub use rollout::Rollout;
pub use view::{DaemonSetView, RevisionView, SetKey, Status, Strategy};
