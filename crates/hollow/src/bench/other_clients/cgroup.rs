//! A cgroup whose processes may use half of the processors together.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

/// The period of the limit, in microseconds: the kernel's default.
const PERIOD: usize = 100_000;

/// The cgroup. It is removed on drop; its processes must have ended.
#[derive(Debug)]
pub(super) struct HalfOfProcessors(PathBuf);

impl HalfOfProcessors {
    /// Creates it below the root of cgroup v2, or of the controller `cpu` of v1.
    pub(super) fn create() -> Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let processors = std::thread::available_parallelism()?.get();
        let quota = processors * PERIOD / 2;
        let name = format!("pandaemon-bench-{}", std::process::id());
        let (folder, file, limit) = if root.join("cgroup.controllers").exists() {
            (root.join(name), "cpu.max", format!("{quota} {PERIOD}"))
        } else {
            let folder = root.join("cpu").join(name);
            (folder, "cpu.cfs_quota_us", quota.to_string())
        };
        fs::create_dir(&folder)
            .with_context(|| format!("create the cgroup {}", folder.display()))?;
        let made = Self(folder);
        let file = made.0.join(file);
        ensure!(file.exists(), "{} is missing", file.display());
        fs::write(&file, limit).with_context(|| format!("write {}", file.display()))?;
        Ok(made)
    }

    /// Moves a process into it.
    pub(super) fn add(&self, pid: u32) -> Result<()> {
        let file = self.0.join("cgroup.procs");
        fs::write(&file, pid.to_string()).with_context(|| format!("write {}", file.display()))
    }
}

impl Drop for HalfOfProcessors {
    fn drop(&mut self) {
        // A process that was killed may still be there for a moment.
        for _ in 0..50 {
            match fs::remove_dir(&self.0) {
                Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                _ => return,
            }
        }
    }
}
