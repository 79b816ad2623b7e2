//! Files of Debian packages, downloaded with apt-get and not installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

/// Downloads and unpacks a package below `cache`, unless that was done before. Returns the
/// directory with its files.
///
/// # Errors
/// When `apt-get` or `dpkg-deb` fail. The error contains their standard error.
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
        .with_context(|| format!("apt-get download {package} wrote no .deb file"))?;
    let files = download.path().join("files");
    run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&files))?;
    // Fails if a concurrent build has unpacked the package meanwhile; then its copy is used.
    if let Err(error) = fs::rename(&files, &target) {
        ensure!(target.is_dir(), "unpack {package}: {error}");
    }
    Ok(target)
}

/// Paths of the shared libraries that a program needs, as `ldd` finds them on this machine.
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
