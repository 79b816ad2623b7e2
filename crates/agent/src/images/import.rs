//! Imports image archives into containerd, for nodes without a registry.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use pandaemon_cri::Runtime;
use tokio::process::Command;

use super::{PAUSE_IMAGE, name, pause};
use crate::{config::Paths, host::find};

/// Timeout of an import. Unpacking a large image on a slow disk takes minutes.
const IMPORT_TIMEOUT: Duration = Duration::from_secs(600);

/// Imports archives with containerd's client `ctr`.
#[derive(Debug, Clone)]
pub(crate) struct ImageImporter {
    ctr: PathBuf,
    socket: PathBuf,
    snapshotter: &'static str,
}

impl ImageImporter {
    /// An importer into the containerd that listens at `socket`.
    ///
    /// # Errors
    /// If `ctr` is not installed.
    pub(crate) fn new(socket: &Path, overlay: bool) -> anyhow::Result<Self> {
        let ctr = find("ctr")
            .context("`ctr` was not found; install it: apt-get install -y containerd")?;
        let snapshotter = if overlay { "overlayfs" } else { "native" };
        Ok(Self {
            ctr,
            socket: socket.to_owned(),
            snapshotter,
        })
    }

    /// Imports the pause image unless containerd has it.
    ///
    /// # Errors
    /// If the import fails, with the output of `ctr`.
    pub(crate) async fn import_pause_image(
        &self,
        runtime: &dyn Runtime,
        paths: &Paths,
    ) -> anyhow::Result<()> {
        if runtime.image(PAUSE_IMAGE.to_owned()).await?.is_some() {
            return Ok(());
        }
        let path = paths.containerd().join("pause.tar");
        std::fs::write(&path, pause::archive(PAUSE_IMAGE)).context("write the pause image")?;
        self.import(&path).await?;
        wait_for(runtime, PAUSE_IMAGE).await
    }

    /// Imports every archive in a directory and returns the full names of the images. An archive
    /// that cannot be imported is logged and skipped.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub(crate) async fn import_directory(
        &self,
        dir: &Path,
        runtime: &dyn Runtime,
    ) -> anyhow::Result<BTreeSet<String>> {
        let entries = std::fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
        let mut archives: Vec<_> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| is_archive(path))
            .collect();
        archives.sort();
        let mut names = BTreeSet::new();
        for archive in archives {
            match self.import(&archive).await {
                Ok(found) => names.extend(found),
                Err(error) => {
                    tracing::error!("skipped the image archive {}: {error:#}", archive.display());
                }
            }
        }
        for image in &names {
            wait_for(runtime, image).await?;
        }
        Ok(names)
    }

    /// Imports one archive and tags each image with its full name.
    async fn import(&self, archive: &Path) -> anyhow::Result<Vec<String>> {
        let path = archive.to_string_lossy();
        let output = self
            .run(&["images", "import", "--snapshotter", self.snapshotter, &path])
            .await
            .with_context(|| format!("import {path}"))?;
        let mut names = Vec::new();
        for found in output.lines().filter_map(imported_name) {
            let full = name::normalize(found);
            if full != found {
                self.run(&["images", "tag", "--force", found, &full])
                    .await?;
            }
            tracing::info!(image = full, "imported an image");
            names.push(full);
        }
        if names.is_empty() {
            bail!("the archive names no image: {}", output.trim());
        }
        Ok(names)
    }

    async fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.ctr);
        command
            .arg("--address")
            .arg(&self.socket)
            .args(["--namespace", "k8s.io"])
            .args(args);
        command.kill_on_drop(true);
        let output = tokio::time::timeout(IMPORT_TIMEOUT, command.output())
            .await
            .context("ctr did not end in time")??;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The name in a line `unpacking NAME (DIGEST)...done` of the output.
fn imported_name(line: &str) -> Option<&str> {
    line.strip_prefix("unpacking ")?.split_whitespace().next()
}

fn is_archive(path: &Path) -> bool {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy())
        .unwrap_or_default();
    path.is_file()
        && [".tar", ".tar.gz", ".tgz", ".tar.zst", ".oci"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// Waits until CRI shows an imported image, which takes a moment.
async fn wait_for(runtime: &dyn Runtime, image: &str) -> anyhow::Result<()> {
    for _ in 0..500 {
        if runtime.image(image.to_owned()).await?.is_some() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("the runtime does not list the imported image {image} after 5 s")
}

#[cfg(test)]
mod tests {
    use super::imported_name;

    #[test]
    fn the_output_of_ctr_names_the_image() {
        let line = "unpacking docker.io/library/a:1 (sha256:12)...done";
        assert_eq!(imported_name(line), Some("docker.io/library/a:1"));
        assert_eq!(imported_name("something else"), None);
    }
}
