//! Explanations of DaemonSets: for every node, whether the DaemonSet runs there, will, must not or
//! cannot yet, with every reason in one sentence; and the state of its rollout.
//!
//! Pure: a [`Snapshot`] of objects goes in, a [`Report`] comes out ([`explain()`], [`dry_run()`]).
//! A [`RolloutTracker`] takes the changes that watches deliver and returns a [`StatusReport`] after
//! each.
//! `placement` words why a node does not fit. The planner decides availability, the order of a node's pods,
//! back-offs and the rollout; its plan is never executed. `docs/design/explain.md` has the
//! verdicts.

mod context;
mod dry_run;
mod event_failures;
mod explain;
pub mod manifest;
mod plan_preview;
mod pod_health;
mod reason;
mod render;
mod render_status;
mod report;
mod rollout_tracker;
mod snapshot;
mod status;
mod text;

pub use dry_run::dry_run;
pub use explain::explain;
pub use reason::{Reason, ReasonKind};
pub use render::{TableOptions, render};
pub use render_status::render_status;
pub use report::{Change, Newest, NodeReport, PodReport, Report, Summary, Verdict};
pub use rollout_tracker::RolloutTracker;
pub use snapshot::{DaemonPod, Node, NotReady, Revision, Snapshot};
pub use status::{RevisionStatus, SlowNode, StatusReport};
