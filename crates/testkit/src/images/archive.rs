//! Writes images as docker archives (the format of `docker save`). The same image gives the same
//! bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// An entry of the root file system.
#[derive(Debug, Clone)]
pub enum FileEntry {
    /// A regular file: its contents and permission bits.
    File(Vec<u8>, u32),
    /// A symbolic link to this target.
    Link(String),
    /// A directory with these permission bits.
    Directory(u32),
}

/// An image: names, files, and how it starts.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// All names of the image, as manifests write them (`nginx:latest`).
    pub names: Vec<String>,
    /// Entries of the root file system by path, without a leading slash.
    pub files: BTreeMap<PathBuf, FileEntry>,
    /// The command that the container runs.
    pub entrypoint: Vec<String>,
    /// Environment variables, as `NAME=value`.
    pub env: Vec<String>,
}

impl Image {
    /// Adds a file.
    #[must_use]
    pub fn file(mut self, path: &str, bytes: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.files
            .insert(path.into(), FileEntry::File(bytes.into(), mode));
        self
    }

    /// Adds a directory.
    #[must_use]
    pub fn directory(mut self, path: &str, mode: u32) -> Self {
        self.files.insert(path.into(), FileEntry::Directory(mode));
        self
    }

    /// Writes the archive to a temporary file and renames it, so that readers never see a part of
    /// it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let temporary = path.with_extension("part");
        let file =
            File::create(&temporary).with_context(|| format!("create {}", temporary.display()))?;
        self.write_to(file)?;
        std::fs::rename(&temporary, path).with_context(|| format!("write {}", path.display()))
    }

    fn write_to(&self, out: impl Write) -> anyhow::Result<()> {
        let layer = self.layer()?;
        let layer_id = hex(&Sha256::digest(&layer));
        let config = serde_json::to_vec(&self.config(&layer_id))?;
        let config_id = hex(&Sha256::digest(&config));
        let layer_path = format!("{layer_id}/layer.tar");
        let manifest = json!([{
            "Config": format!("{config_id}.json"),
            "RepoTags": self.names,
            "Layers": [layer_path],
        }]);
        let mut tar = Builder::new(out);
        append(
            &mut tar,
            Path::new(&format!("{config_id}.json")),
            &config,
            0o644,
        )?;
        append(&mut tar, Path::new(&layer_path), &layer, 0o644)?;
        append(
            &mut tar,
            Path::new("manifest.json"),
            &serde_json::to_vec(&manifest)?,
            0o644,
        )?;
        tar.into_inner()?.flush()?;
        Ok(())
    }

    fn config(&self, layer_id: &str) -> serde_json::Value {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        json!({
            "architecture": architecture,
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": { "Entrypoint": self.entrypoint, "Env": self.env, "WorkingDir": "/" },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_id}")] },
            "history": [{ "created": "2026-01-01T00:00:00Z", "created_by": "pandaemon testkit" }],
        })
    }

    fn layer(&self) -> anyhow::Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        for directory in self.missing_parents() {
            append_directory(&mut tar, &directory, 0o755)?;
        }
        for (path, node) in &self.files {
            match node {
                FileEntry::File(bytes, mode) => append(&mut tar, path, bytes, *mode)?,
                FileEntry::Link(target) => append_link(&mut tar, path, target)?,
                FileEntry::Directory(mode) => append_directory(&mut tar, path, *mode)?,
            }
        }
        Ok(tar.into_inner()?)
    }

    fn missing_parents(&self) -> BTreeSet<PathBuf> {
        self.files
            .keys()
            .flat_map(|path| path.ancestors().skip(1))
            .filter(|parent| !parent.as_os_str().is_empty() && !self.files.contains_key(*parent))
            .map(Path::to_owned)
            .collect()
    }
}

fn header(kind: EntryType, size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn append(
    tar: &mut Builder<impl Write>,
    path: &Path,
    bytes: &[u8],
    mode: u32,
) -> std::io::Result<()> {
    let mut header = header(EntryType::Regular, bytes.len() as u64, mode);
    tar.append_data(&mut header, path, bytes)
}

fn append_link(tar: &mut Builder<impl Write>, path: &Path, target: &str) -> std::io::Result<()> {
    tar.append_link(&mut header(EntryType::Symlink, 0, 0o777), path, target)
}

fn append_directory(tar: &mut Builder<impl Write>, path: &Path, mode: u32) -> std::io::Result<()> {
    tar.append_data(
        &mut header(EntryType::Directory, 0, mode),
        path,
        std::io::empty(),
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_reproducible_and_list_the_image_names() {
        let image = Image {
            names: vec!["app:v1".into()],
            ..Image::default()
        }
        .file("bin/app", "x", 0o755)
        .directory("tmp", 0o1777);
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.tar"), dir.path().join("b.tar"));
        image.write(&a).unwrap();
        image.write(&b).unwrap();
        assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
        let mut tar = tar::Archive::new(File::open(&a).unwrap());
        let manifest = tar
            .entries()
            .unwrap()
            .map(Result::unwrap)
            .find(|entry| entry.path().unwrap().ends_with("manifest.json"))
            .unwrap();
        let manifest: serde_json::Value = serde_json::from_reader(manifest).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0], "app:v1");
    }
}
