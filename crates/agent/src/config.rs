//! What an agent is told at its start, and where it keeps its files.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

/// How to run an agent.
#[derive(Debug, Clone)]
pub struct Config {
    /// The API server's address, such as `https://10.0.0.1:6443`.
    pub server: String,
    /// The token for joining: `SHA256-OF-THE-CA.SECRET`.
    pub token: String,
    /// The node's name.
    pub node_name: String,
    /// Where keys, pods, images and logs are kept.
    pub data_dir: PathBuf,
    /// The socket of a running container runtime; without one, containerd is started as a child.
    pub cri_socket: Option<PathBuf>,
    /// Labels to register the node with.
    pub labels: BTreeMap<String, String>,
    /// Taints to register the node with: `key=value:Effect` or `key:Effect`.
    pub taints: Vec<String>,
    /// A directory of image archives to import at start.
    pub images_dir: Option<PathBuf>,
    /// The node's address; found by asking the routing table if not given.
    pub node_ip: Option<IpAddr>,
    /// The addresses for pods, such as `10.85.3.0/24`; derived from the node's name if not given.
    pub pod_cidr: Option<String>,
    /// The cgroup below which all pods go, relative to the root of the hierarchy.
    pub cgroup_root: String,
    /// The port of the agent's own HTTPS surface; 0 lets the machine choose.
    pub kubelet_port: u16,
    /// Where pod logs go (`pods` and `containers` below it); below the data directory if not given.
    pub log_dir: Option<PathBuf>,
    /// Whether a shutdown also stops all pods and the runtime started here. An agent alone leaves
    /// them running, a cluster that is taken down as a whole does not.
    pub stop_containers_on_exit: bool,
    /// How many pods the node takes.
    pub max_pods: u32,
}

impl Config {
    /// A configuration with everything optional left out.
    #[must_use]
    pub fn new(server: &str, token: &str, node_name: &str, data_dir: &Path) -> Self {
        Self {
            server: server.to_owned(),
            token: token.to_owned(),
            node_name: node_name.to_owned(),
            data_dir: data_dir.to_owned(),
            cri_socket: None,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            images_dir: None,
            node_ip: None,
            pod_cidr: None,
            cgroup_root: "pandaemon".to_owned(),
            kubelet_port: 10250,
            log_dir: None,
            stop_containers_on_exit: false,
            max_pods: 110,
        }
    }
}

/// Where an agent keeps its files.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    data: PathBuf,
    logs: PathBuf,
    /// Differs between two agents on one machine; short enough for names of interfaces.
    pub short: String,
}

impl Paths {
    /// The paths for this configuration.
    #[must_use]
    pub(crate) fn new(config: &Config) -> Self {
        let data =
            std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
        let digest = Sha256::digest(data.to_string_lossy().as_bytes());
        let short = digest
            .iter()
            .take(4)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let logs = config.log_dir.clone().unwrap_or_else(|| data.join("logs"));
        Self { data, logs, short }
    }

    /// Keys and certificates.
    #[must_use]
    pub(crate) fn identity(&self) -> PathBuf {
        self.data.join("agent/identity")
    }

    /// The last known pods, one file each.
    #[must_use]
    pub(crate) fn known_pods(&self) -> PathBuf {
        self.data.join("agent/pods")
    }

    /// The last known config maps and secrets.
    #[must_use]
    pub(crate) fn known_objects(&self) -> PathBuf {
        self.data.join("agent/objects")
    }

    /// The names of images that were imported.
    #[must_use]
    pub(crate) fn imported(&self) -> PathBuf {
        self.data.join("agent/imported-images")
    }

    /// The runtime's own directory.
    #[must_use]
    pub(crate) fn containerd(&self) -> PathBuf {
        self.data.join("containerd")
    }

    /// Configuration and address book of pod networking.
    #[must_use]
    pub(crate) fn cni(&self) -> PathBuf {
        self.data.join("cni")
    }

    /// Everything of one pod except its logs.
    #[must_use]
    pub(crate) fn pod(&self, uid: &str) -> PathBuf {
        self.data.join("pods").join(uid)
    }

    /// The directory of all pods.
    #[must_use]
    pub(crate) fn pods(&self) -> PathBuf {
        self.data.join("pods")
    }

    /// The log directory of one pod.
    #[must_use]
    pub(crate) fn pod_logs(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.logs
            .join("pods")
            .join(format!("{namespace}_{name}_{uid}"))
    }

    /// The log directory of all pods.
    #[must_use]
    pub(crate) fn all_pod_logs(&self) -> PathBuf {
        self.logs.join("pods")
    }

    /// Links to all container logs, as log shippers expect them.
    #[must_use]
    pub(crate) fn container_logs(&self) -> PathBuf {
        self.logs.join("containers")
    }

    /// A path for a socket: below the data directory, or below `/run` where that would be longer
    /// than a socket's address may be.
    #[must_use]
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        /// A socket's address holds 108 bytes; the runtime appends up to 12 of its own.
        const LONGEST: usize = 94;
        let near = self.containerd().join(name);
        if near.as_os_str().len() <= LONGEST {
            return near;
        }
        Path::new("/run/pandaemon").join(&self.short).join(name)
    }

    /// Pod addresses for a node that was given none: a `/24` out of `10.64.0.0/10`.
    #[must_use]
    pub(crate) fn default_pod_cidr(node_name: &str) -> String {
        let digest = Sha256::digest(node_name.as_bytes());
        format!("10.{}.{}.0/24", 64 + digest[0] % 64, digest[1])
    }
}

/// This machine cannot carry a node: it lacks root, a program or a plugin.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Lacking(pub String);

/// The data directory belongs to another agent that runs.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InUse(pub String);
