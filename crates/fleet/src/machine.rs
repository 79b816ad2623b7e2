//! Checks that this machine can run nodes. The error lists everything that is missing and the
//! command that installs it.

use std::path::Path;

use crate::command::find;

/// Directories in which distributions install CNI plugins.
const CNI_DIRS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

/// The programs that are needed, each with its Debian package.
const PROGRAMS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
    ("iptables", "iptables"),
    ("containerd", "containerd"),
    ("runc", "runc"),
];

/// What is missing on this machine.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MissingTools {
    /// Only root may create namespaces, mounts and cgroups.
    #[error("nodes need root to create namespaces, mounts and cgroups (try: sudo pandaemon ...)")]
    NotRoot,
    /// Programs or CNI plugins that are not installed, and their Debian packages.
    #[error("this machine lacks {}; install with: apt-get install -y {}", .0.join(", "), .1.join(" "))]
    Programs(Vec<String>, Vec<String>),
}

/// Checks that this machine can run nodes.
///
/// # Errors
/// Lists everything that is missing.
pub fn check() -> Result<(), MissingTools> {
    if !nix::unistd::geteuid().is_root() {
        return Err(MissingTools::NotRoot);
    }
    let mut missing: Vec<(String, &str)> = PROGRAMS
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(program, package)| ((*program).to_owned(), *package))
        .collect();
    if cni_dir().is_none() {
        missing.push((
            "the CNI plugin `bridge`".to_owned(),
            "containernetworking-plugins",
        ));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let (names, packages) = missing.into_iter().map(|(n, p)| (n, p.to_owned())).unzip();
    Err(MissingTools::Programs(names, packages))
}

/// The directory with the CNI plugins, if they are installed.
#[must_use]
pub fn cni_dir() -> Option<&'static Path> {
    CNI_DIRS
        .iter()
        .map(Path::new)
        .find(|dir| dir.join("bridge").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_what_is_missing_and_the_command_that_installs_it() {
        let missing = MissingTools::Programs(
            vec!["runc".into(), "iptables".into()],
            vec!["runc".into(), "iptables".into()],
        );
        assert_eq!(
            missing.to_string(),
            "this machine lacks runc, iptables; install with: apt-get install -y runc iptables"
        );
    }
}
