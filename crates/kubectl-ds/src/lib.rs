//! `kubectl ds explain` and `status`: for every node, whether a DaemonSet runs there, will, must not or
//! cannot yet, with every reason in one sentence, and the state of its rollout.
//!
//! Works on any Kubernetes cluster and only reads. Pure part: a [`Snapshot`] of objects goes in, a [`Report`]
//! comes out ([`explain`], [`dry_run`], [`status`]). The planner decides what is due; its plan is never
//! executed. The shell ([`run_explain`], [`run_status`]) reads the snapshot and prints the report, for
//! `kubectl ds` ([`Plugin`]) and for `pandaemon` alike.

mod args;
mod cluster;
mod command;
mod dryrun;
mod error;
mod event_failures;
mod explain;
mod explain_context;
pub mod manifest;
mod node_placement;
mod plan_preview;
mod pod_health;
mod read_cluster;
mod reason;
mod render;
mod report;
mod snapshot;
mod status;
mod watch;

pub use args::{ClusterArgs, ExplainArgs, Plugin, StatusArgs};
pub use cluster::Cluster;
pub use command::{explain_applied, explain_live, run_explain, run_status};
pub use dryrun::dry_run;
pub use error::CommandError;
pub use explain::explain;
pub use reason::{Kind, Reason};
pub use render::{TableOptions, render};
pub use report::{Change, Newest, NodeReport, PodReport, Report, Summary, Verdict};
pub use snapshot::{DaemonPod, Node, NotReady, Revision, Snapshot};
pub use status::{RevisionStatus, SlowNode, StatusReport, render_status, status};
pub use watch::follow_rollout;

impl Plugin {
    /// Runs the command that was asked for.
    ///
    /// # Errors
    /// With kubectl's message and exit status.
    pub async fn run(self) -> Result<(), CommandError> {
        match self.command {
            args::Command::Explain(args) => run_explain(args).await,
            args::Command::Status(args) => run_status(args).await,
        }
    }
}
