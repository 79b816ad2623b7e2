//! The arguments of the command line. Scripts rely on their names, defaults and environment
//! variables.

mod api_server;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use pandaemon_runtime::logs::LogArgs;
use pandaemon_types::Sensitive;

pub(crate) use self::api_server::{ApiServerArgs, ApiServerOptions, EncryptionArgs};

/// The text at the end of `--help`.
const EXAMPLES: &str = "\
Examples:
  pandaemon up --nodes 3                 a cluster of three nodes on this machine
  export KUBECONFIG=/etc/pandaemon/kubeconfig
  kubectl apply -f daemonset.yaml        plain kubectl, plain apps/v1 DaemonSets

  pandaemon server                       a control plane for many machines
  pandaemon token create --node n1       a token with which one machine can join, as n1
  pandaemon agent --server https://10.0.0.1:6443 --token-file token --node-name $(hostname)

Exit status:
  0  stopped by a signal, or the command is done
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
    /// A node: runs the pods that are bound to this machine
    Agent(AgentArgs),
    /// Make a kubeconfig for a person or a program, with the rights that its roles give
    Kubeconfig(KubeconfigArgs),
    /// Tokens with which machines join as nodes
    #[command(subcommand)]
    Token(TokenCommand),
    /// Hollow nodes, which report their pods as running without containers, for any Kubernetes API
    Hollow(HollowArgs),
    /// The DaemonSet controller alone, for an existing Kubernetes cluster of any size
    Controller(pandaemon_controllers::standalone::ControllerArgs),
    /// New keys of encryption at rest, while the control plane runs or while it does not
    RotateKeys(RotateKeysArgs),
    /// Everything that a control plane keeps, in one file: while it runs, or while it does not
    Backup(BackupArgs),
    /// Go on with the state of a backup; says what it replaces, asks, and keeps the old files
    Restore(RestoreArgs),
    /// The files of a store that does not open: see what can be read, and go on with that
    #[command(subcommand)]
    Store(StoreCommand),
    /// Measure a control plane with hollow nodes: roll-out, joins, update, roll back, deletion
    Bench(BenchArgs),
    /// Why a DaemonSet is (not) on a node, for every node of any cluster (also: kubectl ds explain)
    Explain(pandaemon_kubectl_ds::ExplainArgs),
    /// Revisions and progress of a DaemonSet's rollout, and what it waits for (also: kubectl ds
    /// status)
    Status(pandaemon_kubectl_ds::StatusArgs),
}

/// The files of a control plane.
#[derive(Debug, Args)]
pub(crate) struct PathArgs {
    /// Directory of objects, certificates, images and logs; the next start uses them again
    #[arg(
        long,
        env = "PANDAEMON_DATA_DIR",
        default_value = "/var/lib/pandaemon",
        value_name = "DIR"
    )]
    pub(crate) data_dir: PathBuf,
    /// The kubeconfig to write; it appears when the API is ready
    #[arg(long, default_value = "/etc/pandaemon/kubeconfig", value_name = "FILE")]
    pub(crate) write_kubeconfig: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RotateKeysArgs {
    /// The data directory of the control plane
    #[arg(
        long,
        env = "PANDAEMON_DATA_DIR",
        default_value = "/var/lib/pandaemon",
        value_name = "DIR"
    )]
    pub(crate) data_dir: PathBuf,
    /// The kubeconfig of an administrator, for a running control plane; without this option,
    /// admin.kubeconfig in the data directory
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Delete the objects that are encrypted with keys that are lost; the control plane does not
    /// start before
    #[arg(long)]
    pub(crate) delete_lost: bool,
    /// The file with the keys, for a control plane that does not run; without this option,
    /// encryption-keys in the data directory
    #[arg(long, env = "PANDAEMON_ENCRYPTION_KEY_FILE", value_name = "FILE")]
    pub(crate) encryption_key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file to write, with mode 0600; `-` is standard output
    pub(crate) file: PathBuf,
    /// The data directory of the control plane
    #[arg(
        long,
        env = "PANDAEMON_DATA_DIR",
        default_value = "/var/lib/pandaemon",
        value_name = "DIR"
    )]
    pub(crate) data_dir: PathBuf,
    /// The kubeconfig of an administrator, for a control plane that runs, here or elsewhere;
    /// without this option, admin.kubeconfig in the data directory
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Add the encryption keys, the CAs, the keys of tokens: anyone who has the file can then read
    /// every Secret and be anyone
    #[arg(long)]
    pub(crate) include_keys: bool,
    /// Replace the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
    /// The file with the encryption keys, for a control plane that does not run; without this
    /// option, encryption-keys in the data directory
    #[arg(long, env = "PANDAEMON_ENCRYPTION_KEY_FILE", value_name = "FILE")]
    pub(crate) encryption_key_file: Option<PathBuf>,
    /// Read the file instead of writing it, and print what is inside
    #[arg(long, conflicts_with_all = ["kubeconfig", "include_keys", "force"])]
    pub(crate) verify: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup; `-` is standard input
    pub(crate) file: PathBuf,
    /// The data directory of a control plane that does not run; it is made if it is missing
    #[arg(
        long,
        env = "PANDAEMON_DATA_DIR",
        default_value = "/var/lib/pandaemon",
        value_name = "DIR"
    )]
    pub(crate) data_dir: PathBuf,
    /// The file with the encryption keys; without this option, encryption-keys in the data
    /// directory
    #[arg(long, env = "PANDAEMON_ENCRYPTION_KEY_FILE", value_name = "FILE")]
    pub(crate) encryption_key_file: Option<PathBuf>,
    /// Restore although encryption keys are missing: what they encrypt cannot be read, and the
    /// control plane does not start before they are there or `pandaemon rotate-keys
    /// --delete-lost` was run
    #[arg(long)]
    pub(crate) allow_missing_keys: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// The number of nodes
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) nodes: usize,
    #[command(flatten)]
    pub(crate) paths: PathArgs,
    /// The address that the Kubernetes API listens on
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
    #[command(flatten)]
    pub(crate) api_server: ApiServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    pub(crate) paths: PathArgs,
    /// The address that the Kubernetes API listens on
    #[arg(
        long,
        env = "PANDAEMON_LISTEN",
        default_value = "0.0.0.0:6443",
        value_name = "ADDR:PORT"
    )]
    pub(crate) listen: SocketAddr,
    /// The address by which nodes and pods reach this server; by default that of --listen, or of
    /// the route to other machines
    #[arg(long, value_name = "IP")]
    pub(crate) advertise_address: Option<Ipv4Addr>,
    /// More names or addresses of this server, for its certificate
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) tls_san: Vec<String>,
    /// The controllers that run: `*` for all, `-NAME` for all but one
    #[arg(
        long,
        default_value = "*",
        value_name = "LIST",
        allow_hyphen_values = true
    )]
    pub(crate) controllers: String,
    #[command(flatten)]
    pub(crate) api_server: ApiServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// The URL of the server, such as https://10.0.0.1:6443
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
    pub(crate) token: Option<Sensitive>,
    /// A file with the join token
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// The name of this node in the cluster
    #[arg(long, env = "PANDAEMON_NODE_NAME", value_name = "NAME")]
    pub(crate) node_name: String,
    /// Directory of images, volumes, logs and the node's certificate
    #[arg(
        long,
        env = "PANDAEMON_DATA_DIR",
        default_value = "/var/lib/pandaemon-agent"
    )]
    #[arg(value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Socket of a running container runtime (CRI v1); without it the agent starts containerd
    #[arg(long, value_name = "PATH")]
    pub(crate) cri_socket: Option<PathBuf>,
    /// Labels of the node: key=value,...
    #[arg(
        long,
        value_name = "LABELS",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) node_labels: String,
    /// Taints of the node when it registers for the first time: key=value:Effect,...
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
    /// The address of this node; without it, the address of the default route
    #[arg(long, value_name = "IP")]
    pub(crate) node_ip: Option<std::net::IpAddr>,
    /// The address range of this node's pods, such as 10.85.3.0/24; without it, derived from the
    /// node's name
    #[arg(long, value_name = "CIDR")]
    pub(crate) pod_cidr: Option<String>,
    /// The parent cgroup of this node's pods
    #[arg(long, value_name = "PATH", default_value = "pandaemon")]
    pub(crate) cgroup_root: String,
    /// Port of the kubelet API of this node (logs, exec, statistics)
    #[arg(long, value_name = "PORT", default_value_t = 10250)]
    pub(crate) kubelet_port: u16,
    /// Stop all containers and the started containerd on SIGTERM instead of leaving them running
    #[arg(long)]
    pub(crate) stop_containers_on_exit: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token and print it; it is shown only once
    Create(CreateTokenArgs),
    /// List the tokens, without their secrets
    List(ClusterArgs),
    /// Revoke a token: no machine can join with it any more; those that have joined stay
    Revoke(RevokeTokenArgs),
}

/// The cluster of a command.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// The kubeconfig of the cluster
    #[arg(
        long,
        env = "KUBECONFIG",
        default_value = "/etc/pandaemon/kubeconfig",
        value_name = "FILE"
    )]
    pub(crate) kubeconfig: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct KubeconfigArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// The name of the user
    #[arg(long, value_name = "NAME")]
    pub(crate) user: String,
    /// A group of the user; may be given again
    #[arg(long = "group", value_name = "NAME")]
    pub(crate) groups: Vec<String>,
    /// How long the certificate is valid, such as 12h; at least 10m, at most a year
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = pandaemon_types::duration::parse_duration)]
    pub(crate) ttl: Duration,
    /// The URL of the server in the new kubeconfig; without it, that of the kubeconfig in use
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Write to this file, with mode 0600, instead of printing
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CreateTokenArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// The only node that can join with it; without it, any name that is not in use
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// How long it is valid, such as 2h or 30m; 0 is for ever
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = pandaemon_types::duration::parse_duration)]
    pub(crate) ttl: Duration,
    /// What it is for, for `token list`
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) description: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Read all files of a store and say what is in them; nothing is changed
    Check(CheckStoreArgs),
    /// Go on with what can be read of a damaged store; shows what is lost, asks, and keeps the old
    /// files
    Repair(RepairStoreArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CheckStoreArgs {
    /// The data directory of a control plane that does not run, or the directory of its store
    #[arg(
        env = "PANDAEMON_DATA_DIR",
        default_value = "/var/lib/pandaemon",
        value_name = "DIR"
    )]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RepairStoreArgs {
    #[command(flatten)]
    pub(crate) store: CheckStoreArgs,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeTokenArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// The ID of the token: the part between the dots
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct HollowArgs {
    /// The kubeconfig of the cluster
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub(crate) kubeconfig: PathBuf,
    #[command(flatten)]
    pub(crate) hollow: pandaemon_hollow::HollowArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// The kubeconfig of the cluster
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub(crate) kubeconfig: PathBuf,
    #[command(flatten)]
    pub(crate) bench: pandaemon_hollow::BenchArgs,
    #[command(subcommand)]
    pub(crate) command: Option<BenchCommand>,
}

/// What is measured without hollow nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// What single requests cost that are made to cost as much as possible. For a server without
    /// a cluster: they create and delete objects
    Hostile(pandaemon_hollow::hostile::HostileArgs),
    /// The process of the other clients (`--listers`, `--creators`)
    #[command(hide = true)]
    OtherClients,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn arguments_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
