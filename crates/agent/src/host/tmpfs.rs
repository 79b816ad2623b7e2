//! Mounts file systems in memory.

use std::{io, os::unix::fs::MetadataExt as _, path::Path};

use nix::{
    errno::Errno,
    mount::MsFlags,
    sys::statfs::{TMPFS_MAGIC, statfs},
};

/// Mounts file systems in memory. Tests of the agent only record it: mounting needs root.
#[derive(Debug, Clone, Default)]
pub(crate) enum Tmpfs {
    /// The kernel's tmpfs.
    #[default]
    System,
    /// The mounted paths; their content is on disk.
    #[cfg(test)]
    Recorded(std::sync::Arc<parking_lot::Mutex<Vec<std::path::PathBuf>>>),
}

impl Tmpfs {
    /// Mounts a tmpfs of this mode and size in bytes at an existing directory, unless one is
    /// mounted there.
    ///
    /// # Errors
    /// If the kernel refuses; without CAP_SYS_ADMIN it always does.
    pub(crate) fn mount(&self, target: &Path, mode: u32, size: u64) -> io::Result<()> {
        match self {
            Self::System if is_mounted(target)? => Ok(()),
            Self::System => mount(target, mode, size).map_err(|error| {
                let text = format!("mount a tmpfs at {}: {error}", target.display());
                io::Error::new(io::Error::from(error).kind(), text)
            }),
            #[cfg(test)]
            Self::Recorded(mounted) => {
                let mut mounted = mounted.lock();
                if !mounted.iter().any(|one| one == target) {
                    mounted.push(target.to_owned());
                }
                Ok(())
            }
        }
    }
}

/// Whether a tmpfs is mounted at exactly this directory. A tmpfs has a device number of its own, so
/// it differs from that of the directory above.
fn is_mounted(target: &Path) -> io::Result<bool> {
    if statfs(target)?.filesystem_type() != TMPFS_MAGIC {
        return Ok(false);
    }
    let above = target.parent().unwrap_or(target);
    Ok(target.metadata()?.dev() != above.metadata()?.dev())
}

fn mount(target: &Path, mode: u32, size: u64) -> nix::Result<()> {
    let with = |options: &str| {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let kind = Some("tmpfs");
        nix::mount::mount(kind, target, kind, flags, Some(options))
    };
    let options = format!("mode={mode:o},size={size}");
    match with(&format!("{options},noswap")) {
        // Kernels before 6.4 do not know `noswap`, nor may it be used in a user namespace.
        Err(Errno::EINVAL) => with(&options),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use nix::sys::statvfs::statvfs;

    use super::{Tmpfs, is_mounted};
    use crate::host::mounts::unmount_below;

    #[test]
    fn a_tmpfs_is_mounted_once_and_nothing_is_removed_across_a_mount() {
        if !nix::unistd::geteuid().is_root() {
            pandaemon_testkit::skipped_here("not root");
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("real")).unwrap();
        // The data directory may be reached by a link, which the mount table does not show.
        let base = temp.path().join("link");
        std::os::unix::fs::symlink("real", &base).unwrap();
        let dir = base.join("pod/volume");
        fs::create_dir_all(&dir).unwrap();
        assert!(!is_mounted(&dir).unwrap());
        if let Err(error) = Tmpfs::System.mount(&dir, 0o755, 1 << 20) {
            assert_eq!(
                error.kind(),
                std::io::ErrorKind::PermissionDenied,
                "{error}"
            );
            pandaemon_testkit::skipped_here("no CAP_SYS_ADMIN");
            return;
        }
        fs::write(dir.join("secret"), "s").unwrap();
        Tmpfs::System.mount(&dir, 0o755, 1 << 20).unwrap();
        assert!(dir.join("secret").exists(), "the first one is used again");
        let disk = statvfs(&dir).unwrap();
        assert_eq!(disk.blocks() * disk.fragment_size(), 1 << 20);
        assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
        unmount_below(&base.join("pod")).unwrap();
        assert!(!is_mounted(&dir).unwrap());
        assert!(!dir.join("secret").exists(), "nothing was on disk");
    }
}
