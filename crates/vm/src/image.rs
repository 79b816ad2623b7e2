//! Disk images of Debian, built once for each set of inputs.

use std::{
    fmt::Write as _,
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest as _, Sha256};

/// What every image has: a kernel, systemd, and what the guest's scripts call.
const BASE_PACKAGES: [&str; 8] = [
    "linux-image-cloud-amd64",
    "lz4",
    "systemd",
    "systemd-sysv",
    "udev",
    "dbus",
    "iproute2",
    "kmod",
];

/// Files that let the host run scripts in the guest, and how the kernel finds its disk.
const BASE_FILES: [(&str, &str, u32); 8] = [
    (
        "usr/local/sbin/vm-agent",
        include_str!("guest/agent"),
        0o755,
    ),
    (
        "usr/local/sbin/vm-network",
        include_str!("guest/network"),
        0o755,
    ),
    (
        "etc/systemd/system/vm-agent.service",
        include_str!("guest/vm-agent.service"),
        0o644,
    ),
    (
        "etc/systemd/system/vm-network.service",
        include_str!("guest/vm-network.service"),
        0o644,
    ),
    // The host may be slow. It has time limits of its own.
    (
        "etc/systemd/system.conf.d/vm.conf",
        "[Manager]\nDefaultTimeoutStartSec=900\nDefaultDeviceTimeoutSec=900\n",
        0o644,
    ),
    // An empty file masks a unit. This one looks for snapshots of LVM.
    ("etc/systemd/system/e2scrub_reap.service", "", 0o644),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n", 0o644),
    ("etc/resolv.conf", "", 0o644),
];

/// The drivers that the initial RAM disk needs; udev loads the others from the disk.
const INITRAMFS: [(&str, &str); 2] = [
    (
        "etc/initramfs-tools/conf.d/vm",
        "MODULES=list\nCOMPRESS=lz4\n",
    ),
    (
        "usr/share/initramfs-tools/modules.d/vm",
        "virtio_pci\nvirtio_blk\n",
    ),
];

/// What `dpkg` leaves out: a guest has no readers.
const EXCLUDED: [&str; 3] = [
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
];

/// Changes with what the build does beside its inputs.
const FORMAT: &str = "1";
/// The size of the root file system, most of it a hole in the file.
const SIZE: &str = "4G";

/// What an image is built from.
#[derive(Debug, Clone)]
pub struct ImageOptions {
    /// The Debian release.
    pub release: String,
    /// Where its packages are.
    pub mirror: String,
    /// Packages beside those that every image has.
    pub packages: Vec<String>,
    /// Files beside those of the packages: path, content, mode.
    pub files: Vec<(String, Vec<u8>, u32)>,
}

impl ImageOptions {
    /// Debian 12 with these packages.
    #[must_use]
    pub fn debian12(packages: &[&str]) -> Self {
        Self {
            release: "bookworm".into(),
            mirror: "http://deb.debian.org/debian".into(),
            packages: packages.iter().map(|name| (*name).to_owned()).collect(),
            files: Vec::new(),
        }
    }

    fn packages(&self) -> String {
        let mut names: Vec<&str> = self.packages.iter().map(String::as_str).collect();
        names.extend(BASE_PACKAGES);
        names.sort_unstable();
        names.dedup();
        names.join(",")
    }

    fn files(&self) -> Vec<(&str, &[u8], u32)> {
        let base = BASE_FILES.iter();
        let base = base.map(|(path, text, mode)| (*path, text.as_bytes(), *mode));
        let own = self.files.iter();
        let own = own.map(|(path, content, mode)| (path.as_str(), content.as_slice(), *mode));
        base.chain(own).collect()
    }

    /// The digest of all inputs, packages by name.
    fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        let words = [FORMAT, SIZE, &self.release, &self.mirror, &self.packages()];
        words.iter().for_each(|word| part(word.as_bytes()));
        for (path, text) in INITRAMFS {
            part(path.as_bytes());
            part(text.as_bytes());
        }
        EXCLUDED.iter().for_each(|word| part(word.as_bytes()));
        for (path, content, mode) in self.files() {
            part(path.as_bytes());
            part(content);
            part(&mode.to_le_bytes());
        }
        let digest = hash.finalize();
        digest.iter().take(8).fold(String::new(), |mut text, byte| {
            // Writing to a string does not fail.
            let _written = write!(text, "{byte:02x}");
            text
        })
    }
}

/// A built image: the root file system, which machines do not write to, and the kernel beside it.
#[derive(Debug, Clone)]
pub struct Image {
    dir: PathBuf,
}

impl Image {
    /// The image of these inputs. It is built below `cache` unless it is there; a build that was
    /// interrupted is done again. Builds as root, with mounts in a namespace of its own.
    ///
    /// # Errors
    /// When `mmdebstrap` or `mke2fs` fail, with their output, or `cache` cannot be written.
    pub fn build(cache: &Path, options: &ImageOptions) -> anyhow::Result<Self> {
        fs::create_dir_all(cache).with_context(|| format!("create {}", cache.display()))?;
        let dir = cache.join(format!("image-{}", options.digest()));
        let lock = cache.join("image.lock");
        let lock = File::create(&lock).with_context(|| format!("create {}", lock.display()))?;
        let _one_build = Flock::lock(lock, FlockArg::LockExclusive)
            .map_err(|(_, error)| error)
            .context("wait for the build of another process")?;
        if !dir.is_dir() {
            ensure!(
                nix::unistd::geteuid().is_root(),
                "an image is built as root"
            );
            let partial = dir.with_extension("partial");
            remove(&partial)?;
            fs::create_dir_all(&partial)?;
            install(options, &partial)?;
            fs::rename(&partial, &dir)?;
        }
        Ok(Self { dir })
    }

    /// The root file system.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.join("root.img")
    }

    /// The kernel, as qemu loads it.
    #[must_use]
    pub fn kernel(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    /// The initial RAM disk.
    #[must_use]
    pub fn initrd(&self) -> PathBuf {
        self.dir.join("initrd")
    }
}

/// Fills the directory with root file system, kernel and initial RAM disk.
fn install(options: &ImageOptions, dir: &Path) -> anyhow::Result<()> {
    let settings = dir.join("settings");
    for (path, text) in INITRAMFS {
        write_file(&settings.join(path), text.as_bytes(), 0o644)?;
    }
    let files = dir.join("files");
    for (path, content, mode) in options.files() {
        write_file(&files.join(path.trim_start_matches('/')), content, mode)?;
    }
    let root = dir.join("root");
    let mut command = Command::new("mmdebstrap");
    command.args(["--mode=root", "--variant=minbase", "--format=directory"]);
    command.arg(format!("--include={}", options.packages()));
    command.args(EXCLUDED.map(|word| format!("--dpkgopt={word}")));
    // Read when the kernel is installed, which makes the initial RAM disk.
    command.arg(sync_in("essential", &settings));
    command.arg(sync_in("customize", &files));
    command.arg(
        "--customize-hook=chroot \"$1\" systemctl enable --quiet vm-agent.service \
         vm-network.service",
    );
    // Every machine makes an id of its own; the host gives it its name.
    command.arg("--customize-hook=rm -f \"$1/etc/hostname\"");
    command.arg("--customize-hook=: >\"$1/etc/machine-id\"");
    command.arg(&options.release).arg(&root);
    command.arg(&options.mirror);
    finish(&mut command)?;
    take(&root, "vmlinuz", &dir.join("vmlinuz"))?;
    take(&root, "initrd.img", &dir.join("initrd"))?;
    let mut command = Command::new("mke2fs");
    command.args(["-q", "-t", "ext4", "-E", "lazy_itable_init=1", "-d"]);
    command.arg(&root).arg(dir.join("root.img")).arg(SIZE);
    finish(&mut command)?;
    for spent in [&root, &files, &settings] {
        remove(spent)?;
    }
    Ok(())
}

/// The option of mmdebstrap that copies this directory over the root file system.
fn sync_in(step: &str, from: &Path) -> String {
    format!(
        "--{step}-hook=cp --recursive --no-target-directory '{}' \"$1\"",
        from.display()
    )
}

/// Copies what a link in the root directory leads to.
fn take(root: &Path, link: &str, target: &Path) -> anyhow::Result<()> {
    let leads_to = fs::read_link(root.join(link)).with_context(|| format!("no /{link}"))?;
    fs::copy(root.join(leads_to), target)?;
    Ok(())
}

fn write_file(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let parent = path.parent().context("a file has a directory")?;
    fs::create_dir_all(parent)?;
    fs::write(path, content).with_context(|| format!("write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn remove(dir: &Path) -> anyhow::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))?;
    }
    Ok(())
}

/// Runs a program to its end.
fn finish(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {:?}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().collect();
    bail!(
        "{:?} failed ({}):\n{}",
        command.get_program(),
        output.status,
        lines[lines.len().saturating_sub(30)..].join("\n")
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_counts() {
        let base = ImageOptions::debian12(&["procps"]);
        let file = |content: &[u8], mode| ("etc/x".to_owned(), content.to_vec(), mode);
        let with = |change: &dyn Fn(&mut ImageOptions)| {
            let mut options = base.clone();
            change(&mut options);
            options.digest()
        };
        let digests = [
            base.digest(),
            with(&|options| options.release = "trixie".into()),
            with(&|options| options.mirror = "http://localhost".into()),
            with(&|options| options.packages.push("runc".into())),
            with(&|options| options.files.push(file(b"a", 0o644))),
            with(&|options| options.files.push(file(b"b", 0o644))),
            with(&|options| options.files.push(file(b"b", 0o755))),
        ];
        let different: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(different.len(), digests.len(), "{digests:?}");
        assert_eq!(
            with(&|options| options.packages.push("procps".into())),
            base.digest()
        );
    }
}
