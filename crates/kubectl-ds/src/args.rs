//! The command line of `kubectl ds`, `pandaemon explain` and `pandaemon status`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use pandaemon_types::parse_duration_or_seconds;

/// Shown below `--help`.
const EXAMPLES: &str = "\
Examples:
  kubectl ds explain agent -n kube-system            every node, those that need attention first
  kubectl ds explain agent --node worker-3           one node
  kubectl ds explain -f agent.yaml                   what applying the file would change
  kubectl ds status agent -w                         follow a rollout until it is done

Exit status: 0 answered; 1 failed; 3 with --exit-code, if some node is not settled";

/// Why is a DaemonSet (not) on a node, and how is its rollout?
#[derive(Debug, Parser)]
#[command(name = "kubectl-ds", bin_name = "kubectl ds", version, after_help = EXAMPLES)]
pub struct Plugin {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// For every node: does the DaemonSet run there, and if not, why
    Explain(ExplainArgs),
    /// Revisions, progress, and what the rollout waits for
    Status(StatusArgs),
}

/// The options that choose a cluster, as kubectl has them.
#[derive(Debug, Clone, Default, Args)]
pub struct ClusterArgs {
    /// Kubeconfig file (default: those of KUBECONFIG, or ~/.kube/config)
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Cluster of the kubeconfig, in place of the context's
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// User of the kubeconfig, in place of the context's
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Namespace, in place of the context's
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// User to act as
    #[arg(long = "as", value_name = "USER")]
    pub(crate) impersonate: Option<String>,
    /// Group to act as; may be given several times
    #[arg(long = "as-group", value_name = "GROUP")]
    pub(crate) impersonate_groups: Vec<String>,
}

/// The output format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A table
    #[default]
    Table,
    /// A table with more columns, every node on a line of its own
    Wide,
    /// One object
    Json,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The DaemonSet
    #[arg(required_unless_present = "file", value_parser = set_name)]
    pub(crate) name: Option<String>,
    /// Only this node
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// Dry run: explain the DaemonSets of a manifest (`-` for standard input) without applying it
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// Every node on a line of its own, however many there are
    #[arg(long)]
    pub(crate) all: bool,
    /// End with status 3 if some node is not settled
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[command(flatten)]
    pub(crate) color: ColorArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The DaemonSet
    #[arg(value_parser = set_name)]
    pub(crate) name: String,
    /// Follow the rollout until it is done
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// With --watch: fail if it is not done after this time, such as 90s or 5m; 0 waits for ever
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = parse_duration_or_seconds)]
    pub(crate) timeout: Duration,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) color: ColorArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// Whether output is coloured.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ColorArgs {
    /// Any value switches colours off
    #[arg(long, env = "NO_COLOR", hide = true, num_args = 0..=1, default_missing_value = "1")]
    pub(crate) no_color: Option<String>,
}

impl ColorArgs {
    /// Colours are used on terminals, unless `NO_COLOR` is set.
    pub(crate) fn colours(&self, terminal: bool) -> bool {
        terminal && self.no_color.as_deref().is_none_or(str::is_empty)
    }
}

/// `agent`, `ds/agent`, `daemonset/agent` and so on, as kubectl takes them.
fn set_name(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        None if text.is_empty() => Err("a name must not be empty".to_owned()),
        None => Ok(text.to_owned()),
        Some(("ds" | "daemonset" | "daemonsets" | "daemonset.apps" | "daemonsets.apps", name)) => {
            set_name(name)
        }
        Some((kind, _)) => Err(format!("{kind} is not a DaemonSet")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Plugin::command().debug_assert();
    }

    #[test]
    fn names_are_parsed_as_kubectl_does() {
        assert_eq!(set_name("ds/agent").as_deref(), Ok("agent"));
        assert_eq!(set_name("daemonset.apps/agent").as_deref(), Ok("agent"));
        assert!(set_name("deploy/agent").is_err());
    }
}
