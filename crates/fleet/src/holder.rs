//! The process that keeps a node's namespaces alive while its agent does not run.
//!
//! Mounts made by the agent must be seen by containerd and by the next agent, so all of a node's
//! processes share one mount namespace. Mounts of the machine propagate into it (slave), its own
//! propagate among the node's processes (shared), and none propagates back to the machine.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, process::Stdio};

use tokio::process::Command;

use crate::{command::ToolError, plan::NodePlan};

/// The holder's script: hide the machine's named network namespaces, set the node's host name,
/// sleep.
const SCRIPT: &str = "mount --make-rslave / && mount --make-rshared / \
    && mount -t tmpfs -o mode=0755 pandaemon-netns /run/netns \
    && echo \"$1\" > /proc/sys/kernel/hostname && exec sleep infinity";

/// Starts the holder of a node and returns its process id. It outlives this process.
///
/// # Errors
/// If it cannot be started, ends at once, or its namespaces are not ready after 2 s.
pub async fn start(node: &NodePlan) -> Result<u32, ToolError> {
    let line = format!(
        "nsenter --net=/run/netns/{} unshare --mount --uts sh",
        node.netns
    );
    let failed = |message: String| ToolError {
        line: line.clone(),
        message,
    };
    let mut child = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{}", node.netns))
        .args([
            "unshare",
            "--mount",
            "--uts",
            "--propagation",
            "unchanged",
            "sh",
            "-c",
            SCRIPT,
        ])
        .args(["pandaemon-node", &node.name])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let pid = child
        .id()
        .ok_or_else(|| failed("it ended at once".into()))?;
    for _ in 0..200 {
        if is_ready(pid) {
            return Ok(pid);
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(failed(status.to_string()));
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    Err(failed("its namespaces are not ready after 2 s".into()))
}

/// Whether the script has reached its last command, the `sleep`.
fn is_ready(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep")
}

/// Whether `pid` is the running holder of the node: a `sleep` in the node's network namespace.
#[must_use]
pub fn is_alive(pid: u32, netns: &str) -> bool {
    let inode = |path: &Path| fs::metadata(path).map(|m| m.ino()).ok();
    let held = inode(Path::new(&format!("/proc/{pid}/ns/net")));
    is_ready(pid) && held.is_some() && held == inode(&Path::new("/run/netns").join(netns))
}
