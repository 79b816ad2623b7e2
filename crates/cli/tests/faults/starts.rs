//! Starts that cannot succeed: the text says what to do, the exit status says which kind of fault it is.

use std::{os::unix::fs::PermissionsExt, path::Path, process::Command};

use pandaemon_testkit::{disk::Tmpfs, skipped_here};

use crate::program::{ended, program};

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
fn a_read_only_data_directory_is_named() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let Some(disk) = Tmpfs::mount(&data, 1) else {
        return;
    };
    disk.set_read_only(true).unwrap();
    let (code, said) = ended(&mut server(&data, &root.path().join("k")));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(data.to_str().unwrap()), "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
    let below = data.join("below");
    let (code, said) = ended(&mut server(&below, &root.path().join("k")));
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains(below.to_str().unwrap()) && said.contains("Read-only"),
        "{said}"
    );
}

#[test]
fn a_data_directory_that_may_not_be_written_is_named() {
    use std::os::unix::process::CommandExt as _;
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o500)).unwrap();
    std::fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = server(&data, &root.path().join("k"));
    if nix::unistd::geteuid().is_root() {
        // Root may write everywhere: a copy of the program that anybody may run, as nobody.
        let copy = root.path().join("pandaemon");
        std::fs::copy(env!("CARGO_BIN_EXE_pandaemon"), &copy).unwrap();
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        command = Command::new(copy);
        command.args(arguments).uid(65_534).gid(65_534);
    }
    let (code, said) = ended(&mut command);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains(data.to_str().unwrap()) && said.contains("Permission denied"),
        "{said}"
    );
}

#[test]
fn a_data_directory_that_is_a_file_is_named() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    std::fs::write(&data, "x").unwrap();
    let (code, said) = ended(&mut server(&data, &root.path().join("k")));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(data.to_str().unwrap()), "{said}");
}

#[test]
fn a_kubeconfig_that_cannot_be_written_is_named() {
    let root = tempfile::tempdir().unwrap();
    let kubeconfig = Path::new("/proc/nothing/kubeconfig");
    let (code, said) = ended(&mut server(&root.path().join("data"), kubeconfig));
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("write the kubeconfig /proc/nothing/kubeconfig"),
        "{said}"
    );
}

/// The program on a machine without containerd: in a mount namespace of its own, something that is no
/// file covers it.
fn without_containerd(arguments: &[&str]) -> (i32, String) {
    let script = r#"
        for dir in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do
            if [ -f $dir/containerd ]; then mount --bind /dev/null $dir/containerd || exit 77; fi
        done
        exec "$@""#;
    let mut command = Command::new("timeout");
    command.args(["60", "unshare", "-m", "sh", "-c", script, "sh"]);
    ended(command.arg(env!("CARGO_BIN_EXE_pandaemon")).args(arguments))
}

fn assert_lacking((code, said): &(i32, String)) {
    if *code == 77 || said.contains("unshare failed") {
        return skipped_here(format!("cannot cover containerd: {said}"));
    }
    assert_eq!(*code, 3, "{said}");
    let (before, line) = said.split_once("apt-get install -y ").expect(said);
    assert!(
        before.contains("containerd") && line.contains("containerd"),
        "{said}"
    );
}

#[test]
fn up_without_containerd_says_how_to_install_it() {
    let root = tempfile::tempdir().unwrap();
    let (data, kubeconfig) = (root.path().join("data"), root.path().join("k"));
    assert_lacking(&without_containerd(&[
        "up",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        data.to_str().unwrap(),
        "--write-kubeconfig",
        kubeconfig.to_str().unwrap(),
    ]));
    assert!(!data.exists(), "it began all the same");
}

#[test]
fn an_agent_without_containerd_says_how_to_install_it() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    // Nobody answers at that address: the machine is looked at first.
    assert_lacking(&without_containerd(&[
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
