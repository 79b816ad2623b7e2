//! The fields of a pod that a hollow node reads.

mod start;
mod status_patch;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;

use pandaemon_client::object_meta::{Object, ObjectMeta};
use pandaemon_types::{Phase, hash::fnv1a_64_seeded};
use serde::Deserialize;

pub(crate) use self::start::StartAttempt;
use crate::condition::Condition;

/// A pod, reduced to the fields that are read.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Pod {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: Spec,
    #[serde(default)]
    pub(crate) status: Status,
}

impl Object for Pod {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    pub(crate) node_name: Option<Box<str>>,
    pub(crate) host_network: bool,
    pub(crate) restart_policy: Option<Box<str>>,
    pub(crate) containers: Vec<Container>,
    pub(crate) init_containers: Vec<Container>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Container {
    pub(crate) name: Box<str>,
    #[serde(default)]
    pub(crate) image: Box<str>,
    /// `Always` makes an init container a sidecar.
    #[serde(default)]
    restart_policy: Option<Box<str>>,
}

impl Container {
    /// Images whose name contains `non-existent` count as missing.
    fn lacks_image(&self) -> bool {
        self.image.contains("non-existent")
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub(crate) phase: Phase,
    pub(crate) container_statuses: Vec<ContainerStatus>,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ContainerStatus {
    #[serde(default)]
    pub(crate) image: Box<str>,
    #[serde(default)]
    pub(crate) ready: bool,
}

impl Pod {
    /// Whether its status says that containers with these images run: an earlier process reported
    /// it.
    pub(crate) fn is_reported(&self) -> bool {
        let reported = self
            .status
            .container_statuses
            .iter()
            .map(|status| &*status.image);
        self.is_running() && reported.eq(self.images())
    }

    fn is_running(&self) -> bool {
        self.status.phase == Phase::Running
    }

    fn images(&self) -> impl Iterator<Item = &str> {
        let containers = self.spec.containers.iter();
        containers.map(|container| &*container.image)
    }

    /// Whether it succeeded or failed: it is not started again.
    pub(crate) fn has_ended(&self) -> bool {
        self.status.phase.is_terminal()
    }

    /// A hash of its images: with another one, the containers are started again.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.images().fold(1, mix)
    }

    /// Whether it runs with all its containers ready.
    pub(crate) fn is_ready(&self) -> bool {
        let containers = &self.status.container_statuses;
        self.is_running()
            && !containers.is_empty()
            && containers.iter().all(|container| container.ready)
    }

    /// Whether another client says that it is not ready, although its containers are: the node life
    /// cycle controller does while the node's leases come late.
    pub(crate) fn is_marked_not_ready(&self) -> bool {
        let mut conditions = self.status.conditions.iter();
        self.is_ready() && conditions.any(|one| &*one.kind == "Ready" && &*one.status == "False")
    }

    /// Whether one of its images does not exist.
    pub(crate) fn lacks_image(&self) -> bool {
        let containers = self.spec.containers.iter();
        let mut containers = containers.chain(&self.spec.init_containers);
        containers.any(Container::lacks_image)
    }

    /// An address in 100.64.0.0/10, derived from the uid, so that it never changes.
    fn ip(&self) -> Ipv4Addr {
        let bits = u32::try_from(mix(7, &self.metadata.uid) & 0x3f_ffff).unwrap_or(1);
        Ipv4Addr::from_bits((100 << 24) | (64 << 16) | bits)
    }
}

/// Whether a pod belongs to the share `rate` that crashes; derived from its uid.
pub(crate) fn crashes(uid: &str, rate: f64) -> bool {
    rate > 0.0 && unit(mix(3, uid)) < rate
}

/// A number from 0 to 1 derived from a pod's uid.
pub(crate) fn share_of(uid: &str) -> f64 {
    unit(mix(11, uid))
}

fn unit(bits: u64) -> f64 {
    let bits = u32::try_from(bits >> 33).unwrap_or(0);
    f64::from(bits) / f64::from(1_u32 << 31)
}

/// FNV-1a with a final mix, so that the upper bits depend on all bytes.
fn mix(seed: u64, text: &str) -> u64 {
    let hash = fnv1a_64_seeded(seed, [text.as_bytes()]);
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}
