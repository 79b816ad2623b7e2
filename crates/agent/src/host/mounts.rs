//! Reads the mount table, mounts and unmounts.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags};

/// An entry of the mount table.
struct Entry {
    target: PathBuf,
    shared: bool,
}

fn table() -> Vec<Entry> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(entry).collect()
}

/// Parses a line of `mountinfo`: id, parent, device, root, target, options, optional fields, a
/// dash, and more.
fn entry(line: &str) -> Option<Entry> {
    let mut fields = line.split(' ');
    let target = PathBuf::from(unescape(fields.nth(4)?));
    let shared = fields
        .skip(1)
        .take_while(|&field| field != "-")
        .any(|f| f.starts_with("shared:"));
    Some(Entry { target, shared })
}

/// Decodes blanks, tabs and backslashes, which the kernel writes as octal numbers.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\134", "\\")
}

/// Whether the mount at exactly this path is shared.
#[must_use]
pub(crate) fn is_shared(path: &Path) -> bool {
    table()
        .iter()
        .rev()
        .find(|entry| entry.target == path)
        .is_some_and(|entry| entry.shared)
}

/// Whether something is mounted at exactly this path.
#[must_use]
pub(crate) fn is_mounted(path: &Path) -> bool {
    table().iter().any(|entry| entry.target == path)
}

/// Unmounts everything at and below a path, the innermost first.
pub(crate) fn unmount_below(path: &Path) {
    let mut targets: Vec<_> = table()
        .into_iter()
        .map(|entry| entry.target)
        .filter(|target| target.starts_with(path))
        .collect();
    targets.sort_by_key(|target| std::cmp::Reverse(target.as_os_str().len()));
    for target in targets {
        if let Err(error) = nix::mount::umount2(&target, MntFlags::MNT_DETACH) {
            tracing::warn!(path = %target.display(), %error, "cannot unmount");
        }
    }
}

/// Mounts a tmpfs, optionally with a size in bytes.
///
/// # Errors
/// If the kernel refuses.
pub(crate) fn mount_tmpfs(target: &Path, size: Option<u64>) -> std::io::Result<()> {
    let options = size.map(|size| format!("size={size}"));
    let (none, flags) = (None::<&str>, MsFlags::MS_NOSUID | MsFlags::MS_NODEV);
    nix::mount::mount(
        Some("tmpfs"),
        target,
        Some("tmpfs"),
        flags,
        options.as_deref().or(none),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::entry;

    #[test]
    fn the_optional_fields_of_mountinfo_say_whether_a_mount_is_shared() {
        let shared = entry("36 35 98:0 / /mnt\\0402 rw,noatime master:1 shared:7 - ext3 /dev/r rw");
        let shared = shared.unwrap();
        assert!(shared.shared);
        assert_eq!(shared.target.to_str(), Some("/mnt 2"));
        let private = entry("36 35 98:0 / /mnt rw - ext3 /dev/shared:1 rw").unwrap();
        assert!(!private.shared);
    }
}
