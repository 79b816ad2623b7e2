//! "Why is it (not) here?": for every node, whether a DaemonSet runs there, will, must not or cannot yet,
//! with every reason in one sentence. Also the state of its rollout.
//!
//! Works on any Kubernetes cluster and only reads. Pure part: a [`World`] of objects goes in, a [`Report`]
//! comes out ([`explain`], [`dry_run`], [`status`]). The planner decides what is due; its plan is never
//! carried out. The shell ([`run_explain`], [`run_status`]) reads the world and prints the report, for
//! `kubectl ds` ([`Plugin`]) and for `pandaemon` alike.

mod ailment;
mod args;
mod cluster;
mod command;
mod dryrun;
mod explain;
mod failed;
mod failures;
mod follow;
mod gather;
mod judge;
pub mod manifest;
mod misfit;
mod reason;
mod render;
mod report;
mod status;
mod survey;
mod world;

pub use args::{ClusterArgs, ExplainArgs, Plugin, StatusArgs};
pub use cluster::Cluster;
pub use command::{explain_applied, explain_live, run_explain, run_status};
pub use dryrun::dry_run;
pub use explain::explain;
pub use failed::Failed;
pub use follow::follow_rollout;
pub use reason::{Kind, Reason};
pub use render::{Look, render};
pub use report::{Change, Newest, NodeReport, PodReport, Report, Summary, Verdict};
pub use status::{RevisionStatus, Slow, StatusReport, render_status, status};
pub use world::{Daemon, Node, NotReady, Revision, World};

impl Plugin {
    /// Runs the command that was asked for.
    ///
    /// # Errors
    /// With kubectl's words.
    pub async fn run(self) -> Result<(), Failed> {
        match self.command {
            args::Command::Explain(args) => run_explain(args).await,
            args::Command::Status(args) => run_status(args).await,
        }
    }
}
