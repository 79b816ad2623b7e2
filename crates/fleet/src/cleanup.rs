//! Removes the processes, mounts, cgroups, network devices, namespaces and iptables rules of a
//! fleet. It does not stop at an error: what cannot be removed is reported, and the rest is
//! removed.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{command, plan::Plan};

/// Where the cgroup hierarchies are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Removes everything that a fleet with this plan may have created. Returns a description of each
/// thing that is left.
pub async fn clean_up(plan: &Plan, data_dir: &Path, holders: &[u32]) -> Vec<String> {
    let mut left = Vec::new();
    for _ in 0..50 {
        let running = processes(plan, holders);
        if running.is_empty() {
            break;
        }
        for pid in running {
            // An error means that it has just ended by itself.
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    unmount_below(data_dir);
    for dir in cgroup_dirs(plan) {
        remove_cgroups(&dir).await;
        if dir.exists() {
            left.push(format!("cgroup {}", dir.display()));
        }
    }
    for step in plan.rules().iter().chain(&plan.steps()).rev() {
        if !step.remove.is_empty() && exists(&step.remove) {
            let _may_be_gone = command::run(&step.remove).await;
        }
    }
    left.extend(leftovers(plan));
    left
}

fn exists(remove: &[String]) -> bool {
    match remove {
        [ip, kind, _, name] if ip == "ip" && kind == "link" => device_exists(name),
        [ip, kind, _, name] if ip == "ip" && kind == "netns" => netns_path(name).exists(),
        _ => true,
    }
}

fn device_exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

fn netns_path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

fn leftovers(plan: &Plan) -> Vec<String> {
    let bridge = plan.bridge();
    let mut left: Vec<String> = plan
        .nodes
        .iter()
        .filter(|node| netns_path(&node.netns).exists())
        .map(|node| format!("network namespace {}", node.netns))
        .collect();
    if device_exists(&bridge) {
        left.push(format!("bridge {bridge}"));
    }
    left
}

/// All processes of the fleet: those in a node's network namespace or cgroups, and the holders.
fn processes(plan: &Plan, holders: &[u32]) -> BTreeSet<i32> {
    let namespaces: BTreeSet<u64> = plan
        .nodes
        .iter()
        .filter_map(|node| fs::metadata(netns_path(&node.netns)).ok())
        .map(|meta| meta.ino())
        .collect();
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let mut found: BTreeSet<i32> = all_pids()
        .filter(|pid| {
            fs::metadata(format!("/proc/{pid}/ns/net"))
                .is_ok_and(|meta| namespaces.contains(&meta.ino()))
        })
        .collect();
    found.extend(cgroup_dirs(plan).iter().flat_map(|dir| pids_below(dir)));
    found.extend(holders.iter().filter_map(|pid| {
        let alive = plan
            .nodes
            .iter()
            .any(|node| crate::holder::is_alive(*pid, &node.netns));
        i32::try_from(*pid).ok().filter(|_| alive)
    }));
    found.remove(&own);
    found
}

fn all_pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The fleet's cgroup in every hierarchy (v1), or in the only one (v2).
fn cgroup_dirs(plan: &Plan) -> Vec<PathBuf> {
    let root = plan.cgroup_root();
    let mut dirs = vec![PathBuf::from(CGROUPS)];
    dirs.extend(
        fs::read_dir(CGROUPS)
            .into_iter()
            .flatten()
            .filter_map(|e| Some(e.ok()?.path())),
    );
    dirs.into_iter()
        .map(|dir| dir.join(&root))
        .filter(|dir| dir.is_dir())
        .collect()
}

fn dirs_below(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn pids_below(dir: &Path) -> Vec<i32> {
    let mut pids: Vec<i32> = fs::read_to_string(dir.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    pids.extend(dirs_below(dir).iter().flat_map(|below| pids_below(below)));
    pids
}

/// Removes a cgroup and all below it. It stays busy for a moment after its last process, so this is
/// tried for a second.
async fn remove_cgroups(dir: &Path) {
    for _ in 0..50 {
        remove_cgroup_tree(dir);
        if !dir.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn remove_cgroup_tree(dir: &Path) {
    for below in dirs_below(dir) {
        remove_cgroup_tree(&below);
    }
    let _busy_or_gone = fs::remove_dir(dir);
}

/// Unmounts all mounts below `dir`, the deepest first.
fn unmount_below(dir: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut paths: Vec<&str> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|path| Path::new(path).starts_with(dir) && Path::new(path) != dir)
        .collect();
    paths.sort_unstable_by_key(|path| std::cmp::Reverse(path.len()));
    for path in paths {
        if let Err(error) = umount2(path, MntFlags::MNT_DETACH) {
            tracing::warn!(path, %error, "cannot unmount; unmount it by hand");
        }
    }
}
