//! Files and directories of the agent.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

pub(crate) use pandaemon_runtime::files::private_dir;
use pandaemon_runtime::files::replace_private;

/// Replaces a file in one step, and creates its directory if needed. Its mode is 0600.
///
/// # Errors
/// If the file system refuses.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        private_dir(parent)?;
    }
    replace_private(path, content)
}

/// Creates the directory of a volume with this mode unless it exists; its parents are private.
///
/// # Errors
/// If the file system refuses.
pub(crate) fn volume_dir(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        private_dir(parent)?;
    }
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// The names and paths of what is in a directory; nothing if it cannot be read.
pub(crate) fn entries(dir: &Path) -> impl Iterator<Item = (String, PathBuf)> + use<> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, entry.path())
    })
}

/// Removes a file. Succeeds if it does not exist.
///
/// # Errors
/// If the file system refuses.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes a directory and all its content. Succeeds if it does not exist.
///
/// # Errors
/// If the file system refuses.
pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
