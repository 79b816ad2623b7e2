//! The DaemonSet mind: what every DaemonSet needs next, and why.
//!
//! Pure. A [`Planner`] is told of events ([`Planner::observe`]) and says what to do ([`Planner::plan`]);
//! it never looks at a clock and never talks to anybody. The same history gives the same plan. An
//! event costs what it touches: a pod one node of one set, a node one answer per set, a heartbeat a
//! comparison. `docs/design/daemonset.md` has the definitions and the invariants.

mod action;
mod cell;
mod event;
mod explain;
mod index;
mod mould;
mod outcome;
mod plan;
mod revision;
mod rollout;
mod set;
mod view;

pub use action::{
    Action, Hold, Patch, Plan, PodRef, Purpose, Severity, Stance, Verdict, Wait, Why,
};
pub use event::{Event, Failure, FailureKind, Listed, Reply};
pub use index::{Options, Planner};
pub use mould::Mould;
pub use revision::{GENERATION_LABEL, HASH_LABEL, revision_text};
pub use rollout::Rollout;
pub use view::{DaemonSetView, RevisionView, SetKey, Status, Strategy};
