//! The desired state: the pod as its spec asks for it.

use std::collections::BTreeMap;

use pandaemon_types::{Phase, hash::fnv1a_32};

/// The pod spec's `restartPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartPolicy {
    /// Restart after every exit. Pods of a DaemonSet may have no other policy.
    #[default]
    Always,
    /// Restart after an exit with a code other than 0.
    OnFailure,
    /// Never restart, whatever the exit code.
    Never,
}

/// A deletion in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletion {
    /// The grace period in seconds.
    pub grace_seconds: i64,
}

/// Which probes a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProbeSet {
    /// It has a startup probe; the other two run only after it has succeeded.
    pub startup: bool,
    /// It has a liveness probe; the container is restarted when it fails.
    pub liveness: bool,
    /// It has a readiness probe; the container is not ready until it succeeds.
    pub readiness: bool,
}

/// A container of the pod spec.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerSpec {
    /// The container's name in the pod spec.
    pub name: String,
    /// The image as the pod spec names it.
    pub image: String,
    /// [`container_hash`] of name and image; a running container with another hash is replaced.
    pub hash: String,
    /// Whether this is a restartable init container ("sidecar").
    pub sidecar: bool,
    /// Which probes it has.
    pub probes: ProbeSet,
}

/// The pod as its spec asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DesiredPod {
    /// `NAME_NAMESPACE(UID)`, the form that the kubelet's messages use.
    pub label: String,
    /// When exited containers are restarted.
    pub restart_policy: RestartPolicy,
    /// The init containers, in the order in which they run.
    pub init: Vec<ContainerSpec>,
    /// The main containers.
    pub main: Vec<ContainerSpec>,
    /// The ephemeral containers (`kubectl debug`): each is started once and never restarted.
    pub ephemeral: Vec<ContainerSpec>,
    /// Set while the pod is being deleted.
    pub deletion: Option<Deletion>,
    /// The conditions named by the pod's readiness gates, and whether each is `True`.
    pub gates: BTreeMap<String, bool>,
    /// Set when the node rejects the pod: reason and message of its failure.
    pub rejected: Option<(String, String)>,
    /// `Succeeded` or `Failed` once that was reported. Such a pod never runs again, even if its
    /// containers are gone from the node.
    pub ended: Option<Phase>,
}

/// The hash of a container's name and image: FNV-1a, 32 bits, in hexadecimal. The API allows no
/// other change of a running pod's container that would need a restart.
#[must_use]
pub fn container_hash(name: &str, image: &str) -> String {
    let parts: [&[u8]; 3] = [name.as_bytes(), &[0], image.as_bytes()];
    format!("{:x}", fnv1a_32(parts))
}
