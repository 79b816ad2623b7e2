//! Reads the mount table, and unmounts.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use nix::mount::MntFlags;

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

/// The mounts at and below a path, the innermost first.
fn targets_below(path: &Path) -> Vec<PathBuf> {
    // The table has no links.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let targets = table().into_iter().map(|entry| entry.target);
    let mut targets: Vec<_> = targets.filter(|target| target.starts_with(&path)).collect();
    targets.sort_by_key(|target| std::cmp::Reverse(target.as_os_str().len()));
    targets
}

/// Unmounts everything at and below a path, the innermost first.
///
/// # Errors
/// If something is still mounted.
pub(crate) fn unmount_below(path: &Path) -> io::Result<()> {
    let mut refused = BTreeMap::new();
    for target in targets_below(path) {
        if let Err(error) = nix::mount::umount2(&target, MntFlags::MNT_DETACH) {
            refused.insert(target, error);
        }
    }
    // What could not be unmounted may have gone with an outer mount.
    let left = targets_below(path).into_iter().next();
    left.map_or(Ok(()), |target| {
        let error = refused.remove(&target).unwrap_or(nix::errno::Errno::EBUSY);
        let text = format!("cannot unmount {}: {error}", target.display());
        Err(io::Error::new(io::Error::from(error).kind(), text))
    })
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
