//! Properties of the machine that decide how the agent configures containerd and cgroups.

pub(crate) mod api_server_rules;
pub(crate) mod cgroups;
pub(crate) mod cni;
pub(crate) mod containerd;
pub(crate) mod mounts;
pub(crate) mod tmpfs;
pub(crate) mod tools;

use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, statfs};

/// The version of cgroups on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CgroupVersion {
    /// One hierarchy for each controller, also if v2 is mounted beside them (hybrid).
    V1,
    /// The unified hierarchy.
    V2,
}

/// Properties of the machine.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// The version of cgroups.
    pub cgroups: CgroupVersion,
    /// Whether OOM scores can be lowered (CAP_SYS_RESOURCE).
    pub may_lower_oom_score: bool,
    /// Whether `/` is a shared mount, which mount propagation into containers needs.
    pub shared_mounts: bool,
    /// Whether overlayfs can be used for image layers.
    pub overlay: bool,
    /// Whether `iptables` is installed.
    pub iptables: bool,
    /// Its memory in bytes.
    pub memory: u64,
    /// The number of CPUs.
    pub cpus: u32,
    /// The kernel's release.
    pub kernel: String,
    /// `PRETTY_NAME` of `/etc/os-release`.
    pub os_image: String,
}

impl Machine {
    /// Reads the properties of this machine; `data` is where image layers will be stored.
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

    /// Logs what the machine lacks and what follows from it.
    pub(crate) fn warn(&self) {
        if !self.shared_mounts {
            tracing::warn!(
                "/ is not a shared mount: pods with mountPropagation HostToContainer or \
                 Bidirectional will fail; `mount --make-rshared /` helps"
            );
        }
        if !self.overlay {
            tracing::warn!("overlayfs cannot be used: image layers are copied for every container");
        }
        if !self.iptables {
            tracing::warn!(
                "iptables was not found: pods get no host ports, reach no other networks, and use the \
                 API server's own address instead of its Service; \
                 apt-get install -y iptables"
            );
        }
        if !self.may_lower_oom_score {
            tracing::info!("CAP_SYS_RESOURCE is missing: OOM scores are never lowered");
        }
    }
}

/// The number of the capability that is needed to lower OOM scores.
const CAP_SYS_RESOURCE: u32 = 24;

fn has_capability(number: u32) -> bool {
    let status = read("/proc/self/status");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << number) != 0)
}

fn cgroups() -> CgroupVersion {
    let unified =
        statfs("/sys/fs/cgroup").is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC);
    if unified {
        CgroupVersion::V2
    } else {
        CgroupVersion::V1
    }
}

/// overlayfs works unless the kernel lacks it or the directory is itself on one.
fn overlay(data: &Path) -> bool {
    let supported = read("/proc/filesystems")
        .lines()
        .any(|line| line.ends_with("overlay"));
    let stacked = statfs(data).is_ok_and(|found| found.filesystem_type() == OVERLAYFS_SUPER_MAGIC);
    supported && !stacked
}

/// An entry of `/proc/meminfo` in bytes.
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

/// The path of an installed program.
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
