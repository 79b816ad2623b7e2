//! Is this machine able to carry nodes? Everything that is missing is said at once, with the cure.

use std::path::Path;

use crate::command::find;

/// Folders in which distributions keep CNI plugins.
const CNI_FOLDERS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

/// Program, Debian package.
const PROGRAMS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
    ("iptables", "iptables"),
    ("containerd", "containerd"),
    ("runc", "runc"),
];

/// What the machine lacks.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MissingTools {
    /// Only root may make namespaces and mounts.
    #[error("nodes need root: namespaces, mounts and cgroups are made (try: sudo pandaemon ...)")]
    NotRoot,
    /// Programs or plugins that are not installed.
    #[error("this machine lacks {}; install with: apt-get install -y {}", .0.join(", "), .1.join(" "))]
    Programs(Vec<String>, Vec<String>),
}

/// Checks the machine.
///
/// # Errors
/// What is missing.
pub fn check() -> Result<(), MissingTools> {
    if !nix::unistd::geteuid().is_root() {
        return Err(MissingTools::NotRoot);
    }
    let mut lacking: Vec<(String, &str)> = PROGRAMS
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(program, package)| ((*program).to_owned(), *package))
        .collect();
    if cni_folder().is_none() {
        lacking.push((
            "the CNI plugin `bridge`".to_owned(),
            "containernetworking-plugins",
        ));
    }
    if lacking.is_empty() {
        return Ok(());
    }
    let (names, packages) = lacking.into_iter().map(|(n, p)| (n, p.to_owned())).unzip();
    Err(MissingTools::Programs(names, packages))
}

/// Where the CNI plugins are.
#[must_use]
pub fn cni_folder() -> Option<&'static Path> {
    CNI_FOLDERS
        .iter()
        .map(Path::new)
        .find(|folder| folder.join("bridge").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_the_line_that_installs_it() {
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
