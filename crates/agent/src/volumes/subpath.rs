//! Parts of volumes: a path inside a volume must stay inside, whatever links a pod put there.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Component, Path, PathBuf},
};

/// The real path of `sub` inside `volume`, made as a directory if missing.
///
/// # Errors
/// When it leads out of the volume, or cannot be made.
pub(crate) fn inside(volume: &Path, sub: &str) -> Result<PathBuf, String> {
    let plain = Path::new(sub)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !plain {
        return Err(format!(
            "subPath {sub:?} must be a relative path without '..'"
        ));
    }
    let root = volume
        .canonicalize()
        .map_err(|error| format!("{}: {error}", volume.display()))?;
    let mut at = root.clone();
    for part in Path::new(sub).components() {
        let next = at.join(part);
        match next.canonicalize() {
            Ok(real) if real.starts_with(&root) => at = real,
            Ok(_) => return Err(format!("subPath {sub:?} not within volume path")),
            // A link to nothing must not be followed by what is made next.
            Err(_) if next.is_symlink() => {
                return Err(format!("subPath {sub:?} is a broken link"));
            }
            Err(_) => {
                let made = fs::DirBuilder::new().mode(0o750).create(&next);
                made.map_err(|error| format!("make subPath {sub:?}: {error}"))?;
                at = next;
            }
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::inside;

    #[test]
    fn a_part_of_a_volume_stays_inside() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("volume");
        std::fs::create_dir(&volume).unwrap();
        std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
        std::os::unix::fs::symlink("made", volume.join("in")).unwrap();
        assert!(
            inside(&volume, "made/deep")
                .unwrap()
                .ends_with("volume/made/deep")
        );
        assert!(
            inside(&volume, "in/deep")
                .unwrap()
                .ends_with("volume/made/deep")
        );
        assert!(inside(&volume, "out").unwrap_err().contains("not within"));
        assert!(inside(&volume, "../x").is_err());
        assert!(inside(&volume, "/etc").is_err());
    }
}
