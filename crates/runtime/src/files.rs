//! Files and directories that only their owner may use, whatever the umask of the process.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// The mode of directories.
const DIRECTORY: u32 = 0o700;
/// The mode of files.
const FILE: u32 = 0o600;
/// The bits of a mode that give rights to the group and to others.
const OTHERS: u32 = 0o077;
/// The bit of directories that everybody shares, such as `/tmp`.
const STICKY: u32 = 0o1000;

/// The calls whose order decides what is left after a power failure; tests record them.
trait Calls {
    /// The content of a file is durable (fsync).
    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// The names in a directory are durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

struct System;

impl Calls for System {}

/// Makes created, renamed and removed names in a directory durable.
///
/// # Errors
/// If the file system refuses.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    System.sync_directory(path)
}

/// Makes the name of a file or directory durable.
///
/// # Errors
/// If the file system refuses, or the directory that it is in may not be read.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    sync_directory(parent(path))
}

/// The directory that a file or directory is in.
fn parent(path: &Path) -> &Path {
    let parent = path.parent().unwrap_or(path);
    // That of a relative path may be empty: the current directory.
    if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    }
}

/// Creates a directory and its missing parents with mode 0700; their names are durable then. Does
/// nothing if it exists.
///
/// # Errors
/// If the file system refuses.
pub fn private_dir(path: &Path) -> io::Result<()> {
    create_dir(path, &System)
}

fn create_dir(path: &Path, calls: &dyn Calls) -> io::Result<()> {
    // The parent of a relative path may be empty: the current directory.
    if path.is_dir() || path.as_os_str().is_empty() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_dir(parent, calls)?;
    }
    match DirBuilder::new().mode(DIRECTORY).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => {
            // The umask may have taken rights of the owner, too.
            fs::set_permissions(path, Permissions::from_mode(DIRECTORY))?;
            calls.sync_directory(parent(path))
        }
    }
}

/// Opens a file with these options. Its mode is 0600.
///
/// # Errors
/// If the file system refuses.
pub fn open_private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.mode(FILE).open(path)?;
    if file.metadata()?.permissions().mode() & 0o777 != FILE {
        // Fails for a file of another owner only, which existed before: `restrict` reports it.
        drop(file.set_permissions(Permissions::from_mode(FILE)));
    }
    Ok(file)
}

/// Replaces a file in one step: a reader, also after a crash, sees the old or the new content. Its
/// mode is 0600.
///
/// # Errors
/// If the file system refuses.
pub fn replace_private(path: &Path, content: &[u8]) -> io::Result<()> {
    replace(path, content, &System)
}

fn replace(path: &Path, content: &[u8], calls: &dyn Calls) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let draft = path.with_file_name(name);
    // One of an earlier crash. It may be a link, which must not be followed.
    let _absent = fs::remove_file(&draft);
    let mut file = open_private(OpenOptions::new().write(true).create_new(true), &draft)?;
    file.write_all(content)?;
    calls.sync_file(&file)?;
    calls.rename(&draft, path)?;
    calls.sync_directory(parent(path))
}

/// Takes the rights of the group and of others from a file or directory, and logs it. Links are
/// left alone. What cannot be changed is logged, too.
pub fn restrict(path: &Path) {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return;
    };
    let mode = metadata.permissions().mode() & 0o7777;
    let is_ours = metadata.is_file() || metadata.is_dir();
    if !is_ours || mode & OTHERS == 0 {
        return;
    }
    let shown = path.display();
    if mode & STICKY != 0 {
        return tracing::warn!(
            "{shown} is shared with other users (mode {mode:04o}); keep data in a directory of its own"
        );
    }
    let private = mode & !OTHERS;
    match fs::set_permissions(path, Permissions::from_mode(private)) {
        Ok(()) => tracing::warn!("{shown}: changed the mode {mode:04o} to {private:04o}"),
        Err(error) => tracing::warn!(
            "{shown}: cannot change the mode {mode:04o} to {private:04o}, so other users may have access: {error}"
        ),
    }
}

/// [`restrict`] of a directory and everything below it.
pub fn restrict_tree(path: &Path) {
    restrict(path);
    for child in children(path) {
        match fs::symlink_metadata(&child) {
            Ok(metadata) if metadata.is_dir() => restrict_tree(&child),
            _ => restrict(&child),
        }
    }
}

/// What is in a directory; nothing, if it cannot be read.
pub fn children(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Makes the calls and keeps their names.
    #[derive(Default)]
    struct Recorder(RefCell<Vec<String>>);

    impl Recorder {
        fn add(&self, call: String) {
            self.0.borrow_mut().push(call);
        }
    }

    fn name(path: &Path) -> &str {
        path.file_name().unwrap().to_str().unwrap()
    }

    impl Calls for Recorder {
        fn sync_file(&self, file: &File) -> io::Result<()> {
            self.add(format!("sync {} bytes", file.metadata()?.len()));
            file.sync_all()
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.add(format!("rename {} to {}", name(from), name(to)));
            fs::rename(from, to)
        }

        fn sync_directory(&self, path: &Path) -> io::Result<()> {
            let below = children(path);
            let below: Vec<&str> = below.iter().map(|path| name(path)).collect();
            self.add(format!("sync directory with {}", below.join(",")));
            sync_directory(path)
        }
    }

    #[test]
    fn a_file_is_durable_before_it_gets_its_name_and_names_are_durable_in_the_end() {
        let root = tempfile::tempdir().unwrap();
        let calls = Recorder::default();
        let dir = root.path().join("a/b");
        create_dir(&dir, &calls).unwrap();
        create_dir(&dir, &calls).unwrap();
        replace(&dir.join("key"), b"12345", &calls).unwrap();
        let expected = [
            "sync directory with a",
            "sync directory with b",
            "sync 5 bytes",
            "rename key.new to key",
            "sync directory with key",
        ];
        assert_eq!(*calls.0.borrow(), expected);
        assert_eq!(parent(Path::new("name")), Path::new("."));
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_others_may_use_is_restricted_and_links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let outside = root.path().join("outside");
        fs::write(&outside, "").unwrap();
        fs::set_permissions(&outside, Permissions::from_mode(0o644)).unwrap();
        let data = root.path().join("data");
        fs::create_dir_all(data.join("below")).unwrap();
        for (name, before) in [("a", 0o644), ("b", 0o400), ("below/c", 0o777)] {
            fs::write(data.join(name), "").unwrap();
            fs::set_permissions(data.join(name), Permissions::from_mode(before)).unwrap();
        }
        fs::set_permissions(data.join("below"), Permissions::from_mode(0o2775)).unwrap();
        fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&outside, data.join("link")).unwrap();
        restrict_tree(&data);
        let modes = ["", "a", "b", "below", "below/c"].map(|name| mode(&data.join(name)));
        assert_eq!(modes, [0o700, 0o600, 0o400, 0o2700, 0o700]);
        assert_eq!(mode(&outside), 0o644);
    }

    #[test]
    fn a_file_is_replaced_and_readable_by_its_owner_only() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        private_dir(&dir).unwrap();
        private_dir(&dir).unwrap();
        assert_eq!(mode(&root.path().join("a")), 0o700);
        let path = dir.join("token");
        for content in ["long content", "short"] {
            replace_private(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(mode(&path), 0o600);
        assert_eq!(children(&dir), [path]);
    }
}
