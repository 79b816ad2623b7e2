//! hostPath volumes: paths of the node, checked or created by their type.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Checks that the path has this hostPath type, and creates it for the `...OrCreate` types.
pub(super) fn check(path: &str, kind: &str) -> Result<PathBuf, String> {
    let target = PathBuf::from(path);
    match kind {
        "" => {}
        "DirectoryOrCreate" => create_dir(&target)?,
        "FileOrCreate" => create_file(&target)?,
        _ => {}
    }
    let meta = fs::metadata(&target);
    let is =
        |test: fn(&fs::FileType) -> bool| meta.as_ref().is_ok_and(|meta| test(&meta.file_type()));
    let (fits, what) = match kind {
        "" => (true, ""),
        "Directory" | "DirectoryOrCreate" => (is(fs::FileType::is_dir), "a directory"),
        "File" | "FileOrCreate" => (is(fs::FileType::is_file), "a file"),
        "Socket" => (is(|kind| kind.is_socket()), "a socket file"),
        "CharDevice" => (is(|kind| kind.is_char_device()), "a character device"),
        "BlockDevice" => (is(|kind| kind.is_block_device()), "a block device"),
        other => return Err(format!("hostPath type {other:?} is unknown")),
    };
    if fits {
        Ok(target)
    } else {
        Err(format!("hostPath type check failed: {path} is not {what}"))
    }
}

fn create_dir(path: &Path) -> Result<(), String> {
    if path.exists() {
        return Ok(());
    }
    let created = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path);
    created.map_err(|error| format!("mkdir {}: {error}", path.display()))
}

/// Creates the file but not its directory, as the kubelet does.
fn create_file(path: &Path) -> Result<(), String> {
    if path.exists() {
        return Ok(());
    }
    let created = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o644)
        .open(path);
    created
        .map(|_| ())
        .map_err(|error| format!("open {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn each_type_is_checked_or_created() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        assert!(check(&path("none"), "").is_ok(), "the runtime creates it");
        let error = check(&path("none"), "Directory").unwrap_err();
        assert!(error.starts_with("hostPath type check failed:"), "{error}");
        assert!(error.ends_with("is not a directory"), "{error}");
        assert!(check(&path("a/b"), "DirectoryOrCreate").is_ok());
        assert!(check(&path("a/b"), "Directory").is_ok());
        assert!(check(&path("a/file"), "File").is_err());
        assert!(check(&path("a/file"), "FileOrCreate").is_ok());
        assert!(check(&path("a/file"), "File").is_ok());
        assert!(check(&path("none/file"), "FileOrCreate").is_err());
        assert!(check("/dev/null", "CharDevice").is_ok());
        assert!(check("/dev/null", "BlockDevice").is_err());
        let socket = path("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(check(&socket, "Socket").is_ok());
    }
}
