//! The machine: what it can do, and what the agent therefore must do differently.

pub(crate) mod cgroups;
pub(crate) mod cni;
pub(crate) mod containerd;
pub(crate) mod mounts;

use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, statfs};

/// Which version of control groups the machine uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cgroups {
    /// One tree for each controller (also where the second version is mounted beside them).
    V1,
    /// One tree.
    V2,
}

/// What was found out about the machine.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// Its control groups.
    pub cgroups: Cgroups,
    /// Whether a process may be made less likely to be killed for memory.
    pub may_lower_oom_score: bool,
    /// Whether mounts made here reach containers that ask for it.
    pub shared_mounts: bool,
    /// Whether layers can be stacked without copying.
    pub overlay: bool,
    /// Whether packet filter rules can be set.
    pub iptables: bool,
    /// Memory in bytes.
    pub memory: u64,
    /// Processors.
    pub cpus: u32,
    /// The kernel's version.
    pub kernel: String,
    /// The system's name, as its vendor writes it.
    pub os_image: String,
}

impl Machine {
    /// Looks at the machine this runs on; `data` is where layers will be stored.
    #[must_use]
    pub(crate) fn detect(data: &Path) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            cgroups: cgroups(),
            may_lower_oom_score: has_capability(CAP_SYS_RESOURCE),
            shared_mounts: mounts::is_shared(Path::new("/")),
            overlay: overlay(data),
            iptables: find("iptables").is_some(),
            memory: meminfo("MemTotal"),
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
            kernel: read("/proc/sys/kernel/osrelease"),
            os_image: os_image(),
        }
    }

    /// Says what the machine lacks and what that means.
    pub(crate) fn warn(&self) {
        if !self.shared_mounts {
            tracing::warn!(
                "/ is not a shared mount: pods with mountPropagation HostToContainer or \
                 Bidirectional will fail; `mount --make-rshared /` helps"
            );
        }
        if !self.overlay {
            tracing::warn!("no overlay file system here: images are copied for every container");
        }
        if !self.iptables {
            tracing::warn!("iptables was not found: pods get no host ports and no way out");
        }
        if !self.may_lower_oom_score {
            tracing::info!("CAP_SYS_RESOURCE is missing: OOM scores are never lowered");
        }
    }
}

/// The number of the capability that lowering a process's OOM score needs.
const CAP_SYS_RESOURCE: u32 = 24;

fn has_capability(number: u32) -> bool {
    let status = read("/proc/self/status");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << number) != 0)
}

fn cgroups() -> Cgroups {
    let unified =
        statfs("/sys/fs/cgroup").is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC);
    if unified { Cgroups::V2 } else { Cgroups::V1 }
}

/// Overlay works unless the kernel lacks it or the directory is itself on an overlay.
fn overlay(data: &Path) -> bool {
    let known = read("/proc/filesystems")
        .lines()
        .any(|line| line.ends_with("overlay"));
    let stacked = statfs(data).is_ok_and(|found| found.filesystem_type() == OVERLAYFS_SUPER_MAGIC);
    known && !stacked
}

/// A value of `/proc/meminfo` in bytes.
#[must_use]
pub(crate) fn meminfo(key: &str) -> u64 {
    let text = read("/proc/meminfo");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

fn os_image() -> String {
    let text = read("/etc/os-release");
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(
        || "Linux".to_owned(),
        |name| name.trim_matches('"').to_owned(),
    )
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .map(|text| text.trim_end().to_owned())
        .unwrap_or_default()
}

/// Where a program is installed.
#[must_use]
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let places = [
        "/usr/local/bin",
        "/usr/local/sbin",
        "/usr/bin",
        "/usr/sbin",
        "/bin",
        "/sbin",
    ];
    places
        .iter()
        .map(|place| Path::new(place).join(program))
        .find(|path| path.is_file())
}
