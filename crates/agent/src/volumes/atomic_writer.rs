//! Replaces the files of a volume atomically, as the kubelet's AtomicWriter: each version has a
//! directory of its own, the link `..data` points to the present one, and each file name links to
//! `..data/NAME`.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use crate::files;

/// A file of a volume. The path is relative to the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
}

/// Makes a directory hold exactly these files; does nothing if it already does.
pub(super) fn write(dir: &Path, wanted: &[File], group: Option<u32>) -> io::Result<()> {
    files::volume_dir(dir, 0o755)?;
    for file in wanted {
        if !is_relative(&file.path) {
            let text = format!("path {:?} must be relative and without '..'", file.path);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
    }
    let current = dir.join("..data");
    if current.exists() && is_current(&current, wanted) {
        return Ok(());
    }
    let old = fs::read_link(&current).ok();
    let version = format!(
        "..{}",
        jiff::Timestamp::now().strftime("%Y_%m_%d_%H_%M_%S.%9f")
    );
    let new_version = dir.join(&version);
    fs::create_dir(&new_version)?;
    fs::set_permissions(&new_version, fs::Permissions::from_mode(0o755))?;
    for file in wanted {
        write_file(&new_version, file, group)?;
    }
    let link = dir.join("..data_tmp");
    files::remove(&link)?;
    symlink(&version, &link)?;
    fs::rename(&link, &current)?;
    link_names(dir, wanted)?;
    if let Some(old) = old {
        files::remove_dir(&dir.join(old))?;
    }
    Ok(())
}

fn is_relative(path: &str) -> bool {
    use std::path::Component;
    !path.is_empty()
        && !path.starts_with("..")
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

fn write_file(root: &Path, file: &File, group: Option<u32>) -> io::Result<()> {
    let path = root.join(&file.path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    // The pod's group (`fsGroup`) can read every file.
    let mode = if group.is_some() {
        file.mode | 0o440
    } else {
        file.mode
    };
    let mut options = fs::OpenOptions::new();
    options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?
        .write_all(&file.content)?;
    if group.is_some() {
        std::os::unix::fs::chown(&path, None, group)?;
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))
}

/// Whether the present version has exactly these files.
fn is_current(current: &Path, wanted: &[File]) -> bool {
    let same = |file: &File| {
        fs::read(current.join(&file.path)).is_ok_and(|content| content == file.content)
    };
    wanted.iter().all(same) && count_files(current) == wanted.len()
}

fn count_files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |path: PathBuf| if path.is_dir() { count_files(&path) } else { 1 };
    entries.map(|entry| size(entry.path())).sum()
}

/// Links the first part of each path to its place below `..data`, and removes dangling links.
fn link_names(dir: &Path, wanted: &[File]) -> io::Result<()> {
    for file in wanted {
        let first = file.path.split('/').next().unwrap_or_default();
        let link = dir.join(first);
        if !link.is_symlink() {
            symlink(Path::new("..data").join(first), &link)?;
        }
    }
    for entry in fs::read_dir(dir)?.flatten() {
        let name = entry.file_name();
        let stale = !name.to_string_lossy().starts_with("..") && !entry.path().exists();
        if stale {
            files::remove(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::{File, write};

    fn file(path: &str, content: &str) -> File {
        File {
            path: path.into(),
            content: content.into(),
            mode: 0o640,
        }
    }

    #[test]
    fn all_files_are_replaced_at_once() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("v/config");
        write(&dir, &[file("a", "1"), file("sub/b", "2")], None).unwrap();
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(dir.join("sub/b")).unwrap(), "2");
        let mode = fs::metadata(dir.join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let first = fs::read_link(dir.join("..data")).unwrap();
        write(&dir, &[file("a", "1"), file("sub/b", "2")], None).unwrap();
        assert_eq!(
            fs::read_link(dir.join("..data")).unwrap(),
            first,
            "an unchanged volume keeps its version"
        );
        write(&dir, &[file("a", "3")], None).unwrap();
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "3");
        assert!(
            !dir.join("sub").is_symlink(),
            "links to removed files are removed"
        );
        assert!(!dir.join(first).exists(), "the old version is removed");
    }

    #[test]
    fn paths_that_leave_the_volume_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        for path in ["../x", "/etc/x", "a/../../x", ""] {
            assert!(
                write(&temp.path().join("v"), &[file(path, "")], None).is_err(),
                "{path}"
            );
        }
    }
}
