//! Starts that cannot succeed: the error names the cause, and the exit status its kind.

use std::{os::unix::fs::PermissionsExt, path::Path, process::Command};

use pandaemon_testkit::{disk::Tmpfs, skipped_here};

use crate::process::{program, run_to_end};

fn server(data: &Path, kubeconfig: &Path) -> Command {
    let mut command = program();
    command
        .args(["server", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        .arg("--write-kubeconfig")
        .arg(kubeconfig);
    command
}

#[test]
fn error_names_a_read_only_data_directory() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let Some(disk) = Tmpfs::mount(&data, 1) else {
        return;
    };
    disk.set_read_only(true).unwrap();
    let (code, stderr) = run_to_end(&mut server(&data, &root.path().join("k")));
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains(data.to_str().unwrap()), "{stderr}");
    assert!(stderr.contains("Read-only file system"), "{stderr}");
    let below = data.join("below");
    let (code, stderr) = run_to_end(&mut server(&below, &root.path().join("k")));
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains(below.to_str().unwrap()) && stderr.contains("Read-only"),
        "{stderr}"
    );
}

#[test]
fn error_names_a_data_directory_without_write_permission() {
    use std::os::unix::process::CommandExt as _;
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o500)).unwrap();
    std::fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = server(&data, &root.path().join("k"));
    if nix::unistd::geteuid().is_root() {
        // Root may write everywhere, so a copy of the program runs as the user nobody.
        let copy = root.path().join("pandaemon");
        std::fs::copy(env!("CARGO_BIN_EXE_pandaemon"), &copy).unwrap();
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        command = Command::new(copy);
        command.args(arguments).uid(65_534).gid(65_534);
    }
    let (code, stderr) = run_to_end(&mut command);
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains(data.to_str().unwrap()) && stderr.contains("Permission denied"),
        "{stderr}"
    );
}

#[test]
fn error_names_a_data_directory_that_is_a_file() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    std::fs::write(&data, "x").unwrap();
    let (code, stderr) = run_to_end(&mut server(&data, &root.path().join("k")));
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains(data.to_str().unwrap()), "{stderr}");
}

#[test]
fn error_names_a_kubeconfig_that_cannot_be_written() {
    let root = tempfile::tempdir().unwrap();
    let kubeconfig = Path::new("/proc/nothing/kubeconfig");
    let (code, stderr) = run_to_end(&mut server(&root.path().join("data"), kubeconfig));
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains("write the kubeconfig /proc/nothing/kubeconfig"),
        "{stderr}"
    );
}

#[test]
fn error_names_an_admission_configuration_that_cannot_be_used() {
    let root = tempfile::tempdir().unwrap();
    let (data, file) = (root.path().join("data"), root.path().join("admission.yaml"));
    std::fs::write(&file, "kind: Pod\n").unwrap();
    let mut command = server(&data, &root.path().join("k"));
    command.arg("--admission-control-config-file").arg(&file);
    let (code, stderr) = run_to_end(&mut command);
    assert_eq!(code, 1, "{stderr}");
    let expected = format!(
        "the admission configuration in {}: expected kind AdmissionConfiguration",
        file.display()
    );
    assert!(stderr.contains(&expected), "{stderr}");
    assert!(!data.exists(), "it created the data directory");
}

/// Runs the program as on a machine without containerd: in a mount namespace of its own,
/// `/dev/null` covers the binary.
fn without_containerd(arguments: &[&str]) -> (i32, String) {
    let script = r#"
        for dir in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do
            if [ -f $dir/containerd ]; then mount --bind /dev/null $dir/containerd || exit 77; fi
        done
        exec "$@""#;
    let mut command = Command::new("timeout");
    command.args(["60", "unshare", "-m", "sh", "-c", script, "sh"]);
    run_to_end(command.arg(env!("CARGO_BIN_EXE_pandaemon")).args(arguments))
}

/// Checks that the program ended with status 3 and prints how to install containerd.
fn assert_missing_containerd((code, stderr): &(i32, String)) {
    if *code == 77 || stderr.contains("unshare failed") {
        return skipped_here(format!("cannot cover containerd: {stderr}"));
    }
    assert_eq!(*code, 3, "{stderr}");
    let (before, line) = stderr.split_once("apt-get install -y ").expect(stderr);
    assert!(
        before.contains("containerd") && line.contains("containerd"),
        "{stderr}"
    );
}

#[test]
fn up_without_containerd_prints_how_to_install_it() {
    let root = tempfile::tempdir().unwrap();
    let (data, kubeconfig) = (root.path().join("data"), root.path().join("k"));
    assert_missing_containerd(&without_containerd(&[
        "up",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        data.to_str().unwrap(),
        "--write-kubeconfig",
        kubeconfig.to_str().unwrap(),
    ]));
    assert!(!data.exists(), "it created the data directory");
}

#[test]
fn agent_without_containerd_prints_how_to_install_it() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    // No server listens on that address: the machine is checked before the server is called.
    assert_missing_containerd(&without_containerd(&[
        "agent",
        "--server",
        "https://127.0.0.1:1",
        "--token",
        "a.b",
        "--node-name",
        "n1",
        "--data-dir",
        data.to_str().unwrap(),
    ]));
}
