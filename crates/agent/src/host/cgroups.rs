//! Control groups of pods: made before the sandbox, removed when the pod has gone.
//!
//! `ROOT/kubepods[/burstable|/besteffort]/podUID` as the kubelet names them; the runtime makes the
//! containers' own groups below. Limits of the pod as a whole are set here.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Cgroups;

/// How much a pod may count on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Qos {
    /// Requests equal limits everywhere.
    Guaranteed,
    /// Something is requested or limited.
    Burstable,
    /// Nothing is.
    BestEffort,
}

impl Qos {
    /// The name in a pod's status.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// The limits of a pod as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PodLimits {
    /// The weight against others, in the scale of version 1 (1024 for a processor).
    pub cpu_shares: u64,
    /// Microseconds of processor time in each 100,000; `None` for no limit.
    pub cpu_quota: Option<u64>,
    /// Bytes; `None` for no limit.
    pub memory: Option<u64>,
}

/// The period in which the quota counts, in microseconds.
const PERIOD: u64 = 100_000;
const MOUNT: &str = "/sys/fs/cgroup";

/// The control groups below one root.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    version: Cgroups,
    root: String,
}

impl Tree {
    /// The tree with this root, which is relative to the hierarchy.
    #[must_use]
    pub(crate) fn new(version: Cgroups, root: &str) -> Self {
        Self {
            version,
            root: format!("/{}", root.trim_matches('/')),
        }
    }

    /// A pod's group as the runtime is told it.
    #[must_use]
    pub(crate) fn pod(&self, uid: &str, qos: Qos) -> String {
        let class = match qos {
            Qos::Guaranteed => "",
            Qos::Burstable => "/burstable",
            Qos::BestEffort => "/besteffort",
        };
        format!("{}/kubepods{class}/pod{uid}", self.root)
    }

    /// Makes a pod's group with its limits.
    ///
    /// # Errors
    /// When a directory cannot be made. Limits that the kernel refuses are logged only: the
    /// containers' own limits still hold.
    pub(crate) fn create(&self, group: &str, limits: PodLimits) -> std::io::Result<()> {
        match self.version {
            Cgroups::V1 => create_v1(group, limits),
            Cgroups::V2 => create_v2(group, limits),
        }
    }

    /// Removes a pod's group in every class, and all below it.
    pub(crate) fn remove(&self, uid: &str) {
        for qos in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
            self.everywhere(&self.pod(uid, qos))
                .iter()
                .for_each(|dir| remove_tree(dir));
        }
    }

    /// Removes the whole tree; what still has processes stays.
    pub(crate) fn remove_all(&self) {
        self.everywhere(&self.root)
            .iter()
            .for_each(|dir| remove_tree(dir));
    }

    fn everywhere(&self, group: &str) -> Vec<PathBuf> {
        let hierarchies = match self.version {
            Cgroups::V2 => vec![PathBuf::from(MOUNT)],
            Cgroups::V1 => subdirectories(Path::new(MOUNT)),
        };
        let below = group.trim_start_matches('/');
        hierarchies
            .iter()
            .map(|one| one.join(below))
            .filter(|dir| dir.is_dir())
            .collect()
    }
}

fn create_v1(group: &str, limits: PodLimits) -> std::io::Result<()> {
    let dir = |controller: &str| {
        Path::new(MOUNT)
            .join(controller)
            .join(group.trim_start_matches('/'))
    };
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

fn create_v2(group: &str, limits: PodLimits) -> std::io::Result<()> {
    let mut dir = PathBuf::from(MOUNT);
    for part in group.split('/').filter(|part| !part.is_empty()) {
        for controller in ["+cpu", "+memory", "+pids", "+io", "+cpuset"] {
            // Each alone, so that one the kernel lacks does not cost the others.
            let _ = fs::write(dir.join("cgroup.subtree_control"), controller);
        }
        dir.push(part);
        if !dir.is_dir() {
            fs::create_dir(&dir)?;
        }
    }
    // The kernel's documented mapping of shares 2..262144 onto weights 1..10000.
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
        tracing::debug!(dir = %dir.display(), file, %error, "set a pod's limit");
    }
}

fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// Groups are removed leaf by leaf; their files vanish with them.
fn remove_tree(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&entry.path());
    }
    if let Err(error) = fs::remove_dir(dir) {
        tracing::debug!(dir = %dir.display(), %error, "remove a control group");
    }
}
