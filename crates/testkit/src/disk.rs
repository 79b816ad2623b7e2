//! Disks that are small or cannot be written: a tmpfs for one test.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::skip::skipped_here;

/// A mounted tmpfs; unmounted on drop.
#[derive(Debug)]
pub struct Tmpfs {
    path: PathBuf,
}

impl Tmpfs {
    /// Mounts a file system of so many MiB at a path, which is made. `None` where this user or
    /// machine cannot mount: the test is then noted as skipped.
    #[must_use]
    pub fn mount(path: &Path, mebibytes: u32) -> Option<Self> {
        let options = format!("size={mebibytes}m");
        let mounted = std::fs::create_dir_all(path)
            .map_err(|error| error.to_string())
            .and_then(|()| {
                let kind = Some("tmpfs");
                mount(kind, path, kind, MsFlags::empty(), Some(options.as_str()))
                    .map_err(|error| error.to_string())
            });
        match mounted {
            Ok(()) => Some(Self {
                path: path.to_owned(),
            }),
            Err(error) => {
                skipped_here(format!(
                    "cannot mount a tmpfs at {}: {error}",
                    path.display()
                ));
                None
            }
        }
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses writes from now on (or takes them again).
    ///
    /// # Errors
    /// When the kernel will not change the mount.
    pub fn set_read_only(&self, read_only: bool) -> nix::Result<()> {
        let mut flags = MsFlags::MS_REMOUNT;
        flags.set(MsFlags::MS_RDONLY, read_only);
        mount(None::<&str>, &self.path, None::<&str>, flags, None::<&str>)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily, since a program of the test may still have files open; what is left unmounted
        // would fail the removal of the folder, which the test sees.
        let _unmounted = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}
