//! `kubectl ds explain` and `status`, on any Kubernetes cluster. They only read.
//!
//! The commands ([`run_explain`], [`run_status`]) read a [`Snapshot`](pandaemon_explain::Snapshot)
//! of objects, have `pandaemon-explain` explain it, and print the report, for `kubectl ds`
//! ([`Plugin`]) and for
//! `pandaemon` alike.

mod args;
mod cluster;
mod command;
mod error;
mod output;
mod read_cluster;
mod status_printer;
mod updates;
mod watch;

pub use args::{ClusterArgs, ExplainArgs, Plugin, StatusArgs};
pub use cluster::Cluster;
pub use command::{explain_applied, explain_live, run_explain, run_status};
pub use error::CommandError;
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
