//! The configuration of an agent, and the paths of its files.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use pandaemon_types::{Sensitive, hash::hex};
use sha2::{Digest as _, Sha256};

/// The configuration of an agent.
#[derive(Debug, Clone)]
pub struct Config {
    /// The URL of the API server, such as `https://10.0.0.1:6443`.
    pub server: String,
    /// The join token: `SHA256-OF-THE-CA.SECRET`.
    pub token: Sensitive,
    /// The name of the Node object.
    pub node_name: String,
    /// The directory for keys, pods, images and logs.
    pub data_dir: PathBuf,
    /// The socket of a running container runtime. Without one, the agent starts its own containerd.
    pub cri_socket: Option<PathBuf>,
    /// Labels that the Node gets when it is registered.
    pub labels: BTreeMap<String, String>,
    /// Taints that the Node gets when it is registered: `key=value:Effect` or `key:Effect`.
    pub taints: Vec<String>,
    /// A directory with image archives that are imported at start.
    pub images_dir: Option<PathBuf>,
    /// The node's address. By default the one from which the API server is reached.
    pub node_ip: Option<IpAddr>,
    /// The range of pod addresses, such as `10.85.3.0/24`. By default derived from the node's name.
    pub pod_cidr: Option<String>,
    /// The parent cgroup of all pods, relative to the root of the hierarchy.
    pub cgroup_root: String,
    /// The port of the kubelet server; 0 chooses a free one.
    pub kubelet_port: u16,
    /// Whether a shutdown also stops all pods and the containerd of this agent. `pandaemon up` sets
    /// this; by default both go on running.
    pub stop_containers_on_exit: bool,
    /// The largest number of pods on the node.
    pub max_pods: u32,
}

impl Config {
    /// A configuration with the default for everything optional.
    #[must_use]
    pub fn new(server: &str, token: &str, node_name: &str, data_dir: &Path) -> Self {
        Self {
            server: server.to_owned(),
            token: token.into(),
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
            stop_containers_on_exit: false,
            max_pods: 110,
        }
    }
}

/// The paths of an agent's files.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    data: PathBuf,
    logs: PathBuf,
    /// Eight hexadecimal digits derived from the data directory. They are part of names that must
    /// differ between agents on one machine.
    pub short: String,
}

impl Paths {
    /// The paths for this configuration.
    #[must_use]
    pub(crate) fn new(config: &Config) -> Self {
        let data =
            std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
        let digest = Sha256::digest(data.to_string_lossy().as_bytes());
        let short = hex(digest.iter().take(4));
        let logs = data.join("logs");
        Self { data, logs, short }
    }

    /// Keys and certificates.
    #[must_use]
    pub(crate) fn identity(&self) -> PathBuf {
        self.data.join("agent/identity")
    }

    /// The saved pods of this node, one file each.
    #[must_use]
    pub(crate) fn saved_pods(&self) -> PathBuf {
        self.data.join("agent/pods")
    }

    /// The saved ConfigMaps and Secrets of these pods.
    #[must_use]
    pub(crate) fn saved_objects(&self) -> PathBuf {
        self.data.join("agent/objects")
    }

    /// The key with which these objects and the tokens of pods are encrypted.
    #[must_use]
    pub(crate) fn sealing_key(&self) -> PathBuf {
        self.identity().join("sealing.key")
    }

    /// The file with the names of imported images.
    #[must_use]
    pub(crate) fn imported_images(&self) -> PathBuf {
        self.data.join("agent/imported-images")
    }

    /// The directory of the agent's containerd.
    #[must_use]
    pub(crate) fn containerd(&self) -> PathBuf {
        self.data.join("containerd")
    }

    /// CNI configuration and address allocations.
    #[must_use]
    pub(crate) fn cni(&self) -> PathBuf {
        self.data.join("cni")
    }

    /// The directory of one pod: volumes, tokens, termination messages.
    #[must_use]
    pub(crate) fn pod(&self, uid: &str) -> PathBuf {
        self.data.join("pods").join(uid)
    }

    /// The parent of all pod directories.
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

    /// The parent of all log directories.
    #[must_use]
    pub(crate) fn all_pod_logs(&self) -> PathBuf {
        self.logs.join("pods")
    }

    /// The directory with a link to each container log, as log collectors expect it.
    #[must_use]
    pub(crate) fn container_logs(&self) -> PathBuf {
        self.logs.join("containers")
    }

    /// The path of a socket: below the data directory, or below `/run` if that path would be too
    /// long for the address of a Unix socket.
    #[must_use]
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        /// The address of a Unix socket holds 108 bytes; containerd appends up to 12.
        const MAX_LENGTH: usize = 94;
        let below_data = self.containerd().join(name);
        if below_data.as_os_str().len() <= MAX_LENGTH {
            return below_data;
        }
        self.run_dir().join(name)
    }

    /// The directory below `/run` for sockets; it exists only if one would be too long elsewhere.
    #[must_use]
    pub(crate) fn run_dir(&self) -> PathBuf {
        Path::new("/run/pandaemon").join(&self.short)
    }

    /// The default range of pod addresses: a `/24` in `10.64.0.0/10` chosen by the node's name.
    #[must_use]
    pub(crate) fn default_pod_cidr(node_name: &str) -> String {
        let digest = Sha256::digest(node_name.as_bytes());
        format!("10.{}.{}.0/24", 64 + digest[0] % 64, digest[1])
    }
}

/// This machine cannot run an agent: it lacks root, a program or a CNI plugin.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MissingRequirement(pub String);

/// The configuration of the agent is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(pub String);

/// The Node of this agent was deleted. Its pods have ended, and its keys and certificates are
/// removed.
#[derive(Debug, thiserror::Error)]
#[error(
    "the Node {node:?} (uid {uid}) was deleted: its pods have ended, and its keys are removed; to have \
     it back, start the agent again with a token"
)]
pub struct NodeDeleted {
    /// The name of the Node.
    pub node: String,
    /// The uid of the Node object.
    pub uid: String,
}

/// Another running agent uses the data directory.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DataDirInUse(pub String);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::object_cache::ObjectData;

    #[test]
    fn debug_forms_show_no_token_and_no_data() {
        let config = Config::new("https://s", "digest.marker", "n", Path::new("/d"));
        let data = ObjectData([("key".to_owned(), b"marker".to_vec())].into());
        let shown = format!("{config:?} {data:?}");
        assert!(
            shown.contains("https://s") && shown.contains("key"),
            "{shown}"
        );
        let bytes = format!("{:?}", b"marker");
        assert!(
            !shown.contains("marker") && !shown.contains(&bytes),
            "{shown}"
        );
    }
}
