//! The command line: a contract that scripts rely on.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use pandaemon_runtime::logs::LogArgs;

/// Shown below `--help`.
const EXAMPLES: &str = "\
Examples:
  pandaemon up --nodes 3                 three nodes on this machine, to play with
  export KUBECONFIG=/etc/pandaemon/kubeconfig
  kubectl apply -f daemonset.yaml        plain kubectl, plain apps/v1 DaemonSets

  pandaemon server                       a control plane for a fleet; its join token is in
                                         /var/lib/pandaemon/token
  pandaemon agent --server https://10.0.0.1:6443 --token-file token --node-name $(hostname)

Exit status:
  0  stopped as asked
  1  failed; the last line says what to do
  2  the command line is wrong
  3  this machine lacks something (root, a program, a plugin)
  4  an address or a data directory is in use by another process
  5  the server refused (wrong token, a node name that is taken)";

/// Runs a daemon on every node: Kubernetes DaemonSets, with or without Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "pandaemon", version, after_help = EXAMPLES, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) logs: LogArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A whole cluster on this machine: control plane and nodes with real containers
    Up(UpArgs),
    /// The control plane: Kubernetes API, store, controllers
    Server(ServerArgs),
    /// A node: runs the pods that the control plane puts on this machine
    Agent(AgentArgs),
    /// Pretend nodes that mark their pods running, against any Kubernetes API
    Hollow(HollowArgs),
    /// The DaemonSet controller alone, for an existing Kubernetes cluster of any size
    Controller(pandaemon_controllers::standalone::ControllerArgs),
    /// Measure a control plane with hollow nodes: roll-out, joins, update, roll back, deletion
    Bench(BenchArgs),
    /// Why a DaemonSet is (not) on a node, for every node of any cluster (also: kubectl ds explain)
    Explain(pandaemon_kubectl_ds::ExplainArgs),
    /// Revisions and progress of a DaemonSet's rollout, and what it waits for (also: kubectl ds status)
    Status(pandaemon_kubectl_ds::StatusArgs),
}

/// Where a control plane keeps and leaves things.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// Where objects, certificates, images and logs are kept; they are there again after the next start
    #[arg(
        long,
        env = "PANDAEMON_DATA_DIR",
        default_value = "/var/lib/pandaemon",
        value_name = "DIR"
    )]
    pub(crate) data_dir: PathBuf,
    /// The kubeconfig to write for kubectl; it appears when the API is ready
    #[arg(long, default_value = "/etc/pandaemon/kubeconfig", value_name = "FILE")]
    pub(crate) write_kubeconfig: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// How many nodes
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) nodes: usize,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// Where the Kubernetes API answers
    #[arg(
        long,
        env = "PANDAEMON_LISTEN",
        default_value = "127.0.0.1:6443",
        value_name = "ADDR:PORT"
    )]
    pub(crate) listen: SocketAddr,
    /// Image archives (OCI or docker) that each node imports at start
    #[arg(long, env = "PANDAEMON_IMAGES", value_name = "DIR")]
    pub(crate) images: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// Where the Kubernetes API answers
    #[arg(
        long,
        env = "PANDAEMON_LISTEN",
        default_value = "0.0.0.0:6443",
        value_name = "ADDR:PORT"
    )]
    pub(crate) listen: SocketAddr,
    /// Further names or addresses that clients use for this server (for its certificate)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) tls_san: Vec<String>,
    /// Which controllers run: `*` for all, `-NAME` for all but one
    #[arg(
        long,
        default_value = "*",
        value_name = "LIST",
        allow_hyphen_values = true
    )]
    pub(crate) controllers: String,
}

#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// The server, such as https://10.0.0.1:6443
    #[arg(long, env = "PANDAEMON_SERVER", value_name = "URL")]
    pub(crate) server: String,
    /// The join token from the server's data directory
    #[arg(
        long,
        env = "PANDAEMON_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    #[arg(required_unless_present = "token_file")]
    pub(crate) token: Option<String>,
    /// A file with the join token
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// The name of this node in the cluster
    #[arg(long, env = "PANDAEMON_NODE_NAME", value_name = "NAME")]
    pub(crate) node_name: String,
    /// Where images, volumes, logs and the node's identity are kept
    #[arg(
        long,
        env = "PANDAEMON_DATA_DIR",
        default_value = "/var/lib/pandaemon-agent"
    )]
    #[arg(value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Socket of a container runtime that runs already (CRI v1); without it containerd is started
    #[arg(long, value_name = "PATH")]
    pub(crate) cri_socket: Option<PathBuf>,
    /// Labels of the node: k=v,...
    #[arg(
        long,
        value_name = "LABELS",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) node_labels: String,
    /// Taints of the node when it registers first: key=value:Effect,...
    #[arg(
        long,
        value_name = "TAINTS",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) node_taints: String,
    /// Image archives (OCI or docker) to import at start
    #[arg(long, env = "PANDAEMON_IMAGES", value_name = "DIR")]
    pub(crate) images: Option<PathBuf>,
    /// This node's address; without it, the one of the default route
    #[arg(long, value_name = "IP")]
    pub(crate) node_ip: Option<std::net::IpAddr>,
    /// Addresses for this node's pods, such as 10.85.3.0/24; without it, chosen by the node's name
    #[arg(long, value_name = "CIDR")]
    pub(crate) pod_cidr: Option<String>,
    /// Parent of all cgroups of this node's pods
    #[arg(long, value_name = "PATH", default_value = "pandaemon")]
    pub(crate) cgroup_root: String,
    /// Port of the node's own API (logs, exec, statistics)
    #[arg(long, value_name = "PORT", default_value_t = 10250)]
    pub(crate) kubelet_port: u16,
    /// Stop all containers and the started containerd on SIGTERM instead of leaving them running
    #[arg(long)]
    pub(crate) stop_containers_on_exit: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HollowArgs {
    /// The cluster
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub(crate) kubeconfig: PathBuf,
    #[command(flatten)]
    pub(crate) hollow: pandaemon_hollow::HollowArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// The cluster
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub(crate) kubeconfig: PathBuf,
    #[command(flatten)]
    pub(crate) bench: pandaemon_hollow::BenchArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
