//! Files of Debian packages, without installing the packages on this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

/// Downloads and unpacks a package below `cache` (once), and returns the folder with its files.
///
/// # Errors
/// When `apt-get` or `dpkg-deb` fail; the text has their words.
pub fn unpack(package: &str, cache: &Path) -> anyhow::Result<PathBuf> {
    let target = cache.join(package);
    if target.is_dir() {
        return Ok(target);
    }
    fs::create_dir_all(cache)?;
    let download = tempfile::tempdir_in(cache)?;
    run(Command::new("apt-get")
        .args(["download", "-qq", "-o", "APT::Sandbox::User=root", package])
        .current_dir(download.path()))?;
    let archive = fs::read_dir(download.path())?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .with_context(|| format!("apt-get download {package} brought no package"))?;
    let files = download.path().join("files");
    run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&files))?;
    // Two builds at once: the loser's copy is dropped.
    if let Err(error) = fs::rename(&files, &target) {
        ensure!(target.is_dir(), "unpack {package}: {error}");
    }
    Ok(target)
}

/// The shared libraries that a program of this machine's architecture needs.
///
/// # Errors
/// When `ldd` cannot be run.
pub fn libraries(program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("run ldd")?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
