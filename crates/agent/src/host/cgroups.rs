//! Cgroups of pods: created before the sandbox, removed after the pod.
//!
//! They are named as by the kubelet: `ROOT/kubepods[/burstable|/besteffort]/podUID`. The runtime
//! creates the cgroups of containers below. The limits of the pod are set here.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::CgroupVersion;

/// The QoS class of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Qos {
    /// Every container has equal requests and limits of CPU and memory.
    Guaranteed,
    /// A container has a request or limit.
    Burstable,
    /// No container has a request or limit.
    BestEffort,
}

impl Qos {
    /// The name in the pod status.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// The limits of a pod cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PodLimits {
    /// CPU shares in the scale of v1: 1024 for one CPU.
    pub cpu_shares: u64,
    /// CPU time in each period of 100,000, in microseconds; `None` for no limit.
    pub cpu_quota: Option<u64>,
    /// Memory in bytes; `None` for no limit.
    pub memory: Option<u64>,
}

/// The period of CPU quotas in microseconds.
const PERIOD: u64 = 100_000;
/// The mount point of the cgroup file systems.
pub(crate) const MOUNT: &str = "/sys/fs/cgroup";

/// The cgroups below one root.
#[derive(Debug, Clone)]
pub(crate) struct PodCgroups {
    version: CgroupVersion,
    mount: PathBuf,
    root: String,
}

impl PodCgroups {
    /// The cgroups below `root`, which is relative to the hierarchies mounted at `mount`.
    #[must_use]
    pub(crate) fn new(version: CgroupVersion, mount: &Path, root: &str) -> Self {
        Self {
            version,
            mount: mount.to_owned(),
            root: format!("/{}", root.trim_matches('/')),
        }
    }

    /// The path of a pod's cgroup in the form of CRI's `cgroup_parent`.
    #[must_use]
    pub(crate) fn pod(&self, uid: &str, qos: Qos) -> String {
        let class = match qos {
            Qos::Guaranteed => "",
            Qos::Burstable => "/burstable",
            Qos::BestEffort => "/besteffort",
        };
        format!("{}/kubepods{class}/pod{uid}", self.root)
    }

    /// Creates a pod's cgroup with its limits.
    ///
    /// # Errors
    /// If a directory cannot be created. Limits that the kernel refuses are only logged: the limits
    /// of the containers still hold.
    pub(crate) fn create(&self, group: &str, limits: PodLimits) -> std::io::Result<()> {
        match self.version {
            CgroupVersion::V1 => create_v1(&self.mount, group, limits),
            CgroupVersion::V2 => create_v2(&self.mount, group, limits),
        }
    }

    /// Removes a pod's cgroup of every QoS class, and all below it.
    pub(crate) fn remove(&self, uid: &str) {
        for qos in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
            self.in_all_hierarchies(&self.pod(uid, qos))
                .iter()
                .for_each(|dir| remove_tree(dir));
        }
    }

    /// Removes all cgroups below the root except those that still have processes.
    pub(crate) fn remove_all(&self) {
        self.in_all_hierarchies(&self.root)
            .iter()
            .for_each(|dir| remove_tree(dir));
    }

    fn in_all_hierarchies(&self, group: &str) -> Vec<PathBuf> {
        let hierarchies = match self.version {
            CgroupVersion::V2 => vec![self.mount.clone()],
            CgroupVersion::V1 => subdirectories(&self.mount),
        };
        let below = group.trim_start_matches('/');
        hierarchies
            .iter()
            .map(|one| one.join(below))
            .filter(|dir| dir.is_dir())
            .collect()
    }
}

fn create_v1(mount: &Path, group: &str, limits: PodLimits) -> std::io::Result<()> {
    let dir = |controller: &str| mount.join(controller).join(group.trim_start_matches('/'));
    let (cpu, memory) = (dir("cpu"), dir("memory"));
    fs::create_dir_all(&cpu)?;
    fs::create_dir_all(&memory)?;
    set(&cpu, "cpu.shares", limits.cpu_shares.max(2));
    if let Some(quota) = limits.cpu_quota {
        set(&cpu, "cpu.cfs_period_us", PERIOD);
        set(&cpu, "cpu.cfs_quota_us", quota);
    }
    if let Some(bytes) = limits.memory {
        set(&memory, "memory.limit_in_bytes", bytes);
    }
    Ok(())
}

fn create_v2(mount: &Path, group: &str, limits: PodLimits) -> std::io::Result<()> {
    let mut dir = mount.to_owned();
    for part in group.split('/').filter(|part| !part.is_empty()) {
        for controller in ["+cpu", "+memory", "+pids", "+io", "+cpuset"] {
            // One write each, so that a controller that the kernel lacks does not prevent the
            // others.
            let _ = fs::write(dir.join("cgroup.subtree_control"), controller);
        }
        dir.push(part);
        if !dir.is_dir() {
            fs::create_dir(&dir)?;
        }
    }
    // The mapping of shares 2..262144 onto weights 1..10000 in the kernel's documentation.
    let weight = 1 + (limits.cpu_shares.clamp(2, 262_144) - 2) * 9_999 / 262_142;
    set(&dir, "cpu.weight", weight);
    if let Some(quota) = limits.cpu_quota {
        set(&dir, "cpu.max", format_args!("{quota} {PERIOD}"));
    }
    if let Some(bytes) = limits.memory {
        set(&dir, "memory.max", bytes);
    }
    Ok(())
}

fn set(dir: &Path, file: &str, value: impl std::fmt::Display) {
    if let Err(error) = fs::write(dir.join(file), value.to_string()) {
        tracing::debug!(dir = %dir.display(), file, %error, "cannot set a limit of a pod cgroup");
    }
}

fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// Removes a cgroup and those below it, the lowest first.
fn remove_tree(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&entry.path());
    }
    if let Err(error) = fs::remove_dir(dir) {
        tracing::debug!(dir = %dir.display(), %error, "cannot remove a cgroup");
    }
}
