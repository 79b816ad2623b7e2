//! subPath mounts: the path must stay inside the volume, whatever links a pod has created there.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Component, Path, PathBuf},
};

/// Resolves `sub` inside `volume`, and creates it as a directory if it does not exist.
///
/// # Errors
/// If it leads out of the volume or cannot be created. The reason does not name the path, which may
/// hold the value of a variable from a Secret. It says what exists on the host: it is for the log.
pub(crate) fn resolve(volume: &Path, sub: &str) -> Result<PathBuf, String> {
    let is_relative = Path::new(sub)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !is_relative {
        return Err("the path must be relative and without '..'".to_owned());
    }
    let root = volume
        .canonicalize()
        .map_err(|error| format!("{}: {error}", volume.display()))?;
    let mut at = root.clone();
    for part in Path::new(sub).components() {
        let next = at.join(part);
        match next.canonicalize() {
            Ok(real) if real.starts_with(&root) => at = real,
            Ok(_) => return Err("the path leads out of the volume".to_owned()),
            // Creating the next part would follow a dangling link.
            Err(_) if next.is_symlink() => {
                return Err("the path has a dangling link".to_owned());
            }
            Err(_) => {
                let created = fs::DirBuilder::new().mode(0o750).create(&next);
                created.map_err(|error| format!("create a directory: {error}"))?;
                at = next;
            }
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn a_subpath_does_not_leave_its_volume() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("volume");
        std::fs::create_dir(&volume).unwrap();
        std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
        std::os::unix::fs::symlink("made", volume.join("in")).unwrap();
        assert!(
            resolve(&volume, "made/deep")
                .unwrap()
                .ends_with("volume/made/deep")
        );
        assert!(
            resolve(&volume, "in/deep")
                .unwrap()
                .ends_with("volume/made/deep")
        );
        assert!(resolve(&volume, "out").unwrap_err().contains("leads out"));
        assert!(resolve(&volume, "../x").is_err());
        assert!(resolve(&volume, "/etc").is_err());
    }
}
