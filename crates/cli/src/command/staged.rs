//! Keys and CAs of a backup on their way into a data directory. A restore writes them into a
//! directory of their own first, then replaces the store in one step, and then moves them to their
//! places. If it is interrupted, the revision of the store says what is left to do: the name of the
//! directory has the revision of the restored store, which no store before it can have.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use pandaemon_runtime::files::{children, private_dir, replace_private, sync_directory};

/// What the directory of new files is called, with a revision.
const STAGED: &str = ".restoring-";
/// What the directory of those that they replace is called, with the same revision.
const KEPT: &str = "before-restore-";

/// Gives a file or directory another name.
type Rename<'a> = &'a dyn Fn(&Path, &Path) -> io::Result<()>;

/// Writes files, by their paths in a data directory, for a store that is about to be restored at
/// this revision.
///
/// # Errors
/// If they cannot be written, or could not be moved to their places later.
pub(super) fn stage<'a>(
    data_dir: &Path,
    revision: u64,
    files: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> io::Result<()> {
    let staged = data_dir.join(format!("{STAGED}{revision}"));
    let device = fs::metadata(data_dir)?.dev();
    for (name, content) in files {
        let first = Path::new(name).components().next();
        let place = first.map_or_else(|| data_dir.join(name), |first| data_dir.join(first));
        // Once the store is restored, nothing may be in the way.
        if fs::symlink_metadata(&place).is_ok_and(|place| place.dev() != device) {
            return Err(io::Error::other(format!(
                "{} is on another file system and cannot be replaced: unmount it for the restore",
                place.display()
            )));
        }
        let path = staged.join(name);
        private_dir(path.parent().unwrap_or(&staged))?;
        replace_private(&path, content)?;
    }
    Ok(())
}

/// Moves the files of a restore to their places, if the store is the restored one, whose revision
/// is not lower; otherwise removes them. Returns the directory of those that were replaced.
///
/// # Errors
/// If the disk refuses. It can be repeated.
pub(super) fn settle(data_dir: &Path, revision: u64) -> io::Result<Option<PathBuf>> {
    settle_with(data_dir, revision, &|from, to| fs::rename(from, to))
}

fn settle_with(data_dir: &Path, revision: u64, rename: Rename<'_>) -> io::Result<Option<PathBuf>> {
    let mut replaced = None;
    for staged in children(data_dir) {
        let name = staged.file_name().and_then(|name| name.to_str());
        let restored = name.and_then(|name| name.strip_prefix(STAGED)?.parse::<u64>().ok());
        let Some(restored) = restored else { continue };
        if revision < restored {
            tracing::info!(
                "{}: removed the keys of a restore that did not happen",
                staged.display()
            );
            fs::remove_dir_all(&staged)?;
            continue;
        }
        let kept = data_dir.join(format!("{KEPT}{restored}"));
        for new in children(&staged) {
            let name = new.file_name().unwrap_or_default();
            let place = data_dir.join(name);
            if place.symlink_metadata().is_ok() {
                private_dir(&kept)?;
                rename(&place, &kept.join(name))?;
            }
            rename(&new, &place)?;
        }
        if kept.is_dir() {
            sync_directory(&kept)?;
            replaced = Some(kept);
        }
        sync_directory(&staged)?;
        sync_directory(data_dir)?;
        fs::remove_dir(&staged)?;
    }
    Ok(replaced)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use pandaemon_testkit::disk::Tmpfs;

    use super::*;

    const OLD: [(&str, &str); 4] = [
        ("pki/ca.crt", "old"),
        ("pki/server.crt", "old"),
        ("token", "old"),
        ("other", "old"),
    ];
    const NEW: [(&str, &[u8]); 3] = [
        ("pki/ca.crt", b"new"),
        ("token", b"new"),
        ("admin-token", b"new"),
    ];

    /// The files below a directory, without the directories of a restore.
    fn files(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut left = vec![folder.to_owned()];
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(children(&path));
            } else {
                let name = path.strip_prefix(folder).unwrap().display();
                found.push(format!("{name}={}", fs::read_to_string(&path).unwrap()));
            }
        }
        found.sort();
        found
    }

    fn data_dir() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("pki")).unwrap();
        for (name, content) in OLD {
            fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    #[test]
    fn what_could_not_be_moved_later_is_refused_before_the_store_is_restored() {
        let folder = data_dir();
        let pki = folder.path().join("pki");
        fs::remove_dir_all(&pki).unwrap();
        let Some(_disk) = Tmpfs::mount(&pki, 1) else {
            return;
        };
        let error = stage(folder.path(), 9, NEW.into_iter()).unwrap_err();
        assert!(
            error.to_string().contains("on another file system"),
            "{error}"
        );
        assert!(
            files(folder.path())
                .iter()
                .all(|file| !file.contains("new"))
        );
    }

    #[test]
    fn keys_are_moved_with_the_restored_store_only_wherever_it_was_interrupted() {
        let moved = [
            "admin-token=new",
            "before-restore-9/pki/ca.crt=old",
            "before-restore-9/pki/server.crt=old",
            "before-restore-9/token=old",
            "other=old",
            "pki/ca.crt=new",
            "token=new",
        ];
        for most in 0.. {
            let folder = data_dir();
            let data = folder.path();
            let before = files(data);
            stage(data, 9, NEW.into_iter()).unwrap();
            // The store was not restored.
            assert_eq!(settle(data, 8).unwrap(), None);
            assert_eq!(files(data), before);

            stage(data, 9, NEW.into_iter()).unwrap();
            let done = Cell::new(0);
            let rename = |from: &Path, to: &Path| {
                if done.get() == most {
                    return Err(io::Error::other("killed"));
                }
                done.set(done.get() + 1);
                fs::rename(from, to)
            };
            let is_over = settle_with(data, 9, &rename).is_ok();
            assert_eq!(settle(data, 20).unwrap().is_some(), !is_over);
            assert_eq!(files(data), moved, "after {most}");
            assert!(
                children(data)
                    .iter()
                    .all(|path| !path.ends_with(".restoring-9"))
            );
            if is_over {
                assert_eq!(most, 5);
                return;
            }
        }
    }
}
