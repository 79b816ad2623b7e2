//! Secrets in the data directory: the first start of an upgrade, rotation of the keys, modes of
//! files.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use pandaemon_testkit::ServerProcess;

use crate::process::{client, program, run_to_end, start_server, start_server_with};

const PLAIN: &str = "the-plain-text-of-a-secret";
/// Its base64, as it is in JSON.
const ENCODED: &str = "dGhlLXBsYWluLXRleHQtb2YtYS1zZWNyZXQ=";

/// All files and directories below a directory, and itself.
fn below(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    let mut at = 0;
    while at < found.len() {
        let entries = fs::read_dir(&found[at]).into_iter().flatten();
        found.extend(entries.map(|entry| entry.unwrap().path()));
        at += 1;
    }
    found
}

/// The files that contain the secret, in any form.
fn files_with_secret(data: &Path) -> Vec<PathBuf> {
    let mut files = below(data);
    files.retain(|path| {
        let content = fs::read(path).unwrap_or_default();
        let has = |text: &str| content.windows(text.len()).any(|w| w == text.as_bytes());
        has(PLAIN) || has(ENCODED)
    });
    files
}

async fn secrets(server: &ServerProcess) -> Api<Secret> {
    Api::namespaced(client(server).await, "default")
}

async fn create(server: &ServerProcess) {
    let data = ByteString(PLAIN.as_bytes().to_vec());
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some("s".to_owned()),
            ..ObjectMeta::default()
        },
        data: Some([("key".to_owned(), data)].into()),
        ..Secret::default()
    };
    let secrets = secrets(server).await;
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
}

async fn read(server: &ServerProcess) -> String {
    let secret = secrets(server).await.get("s").await.unwrap();
    String::from_utf8(secret.data.unwrap()["key"].0.clone()).unwrap()
}

fn rotate(data: &Path) -> String {
    let output = program()
        .args(["rotate-keys", "--data-dir"])
        .arg(data)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("1 value has the new key"), "{stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_encrypted_by_the_first_start_of_an_upgrade_and_keys_are_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let program = Path::new(env!("CARGO_BIN_EXE_pandaemon"));
    let mut server = start_server_with(program, folder.path(), &["--encrypt-resources", ""]);
    create(&server).await;
    server.kill().unwrap();
    assert_ne!(files_with_secret(&data), [""; 0].map(PathBuf::from));

    let mut server = start_server(folder.path());
    assert_eq!(files_with_secret(&data), [""; 0].map(PathBuf::from));
    assert_eq!(read(&server).await, PLAIN);
    let keys = data.join("encryption-keys");
    let online = rotate(&data);
    assert!(fs::read_to_string(&keys).unwrap().contains(&online));
    assert_eq!(read(&server).await, PLAIN);
    server.kill().unwrap();

    let offline = rotate(&data);
    let text = fs::read_to_string(&keys).unwrap();
    assert!(text.contains(&offline) && !text.contains(&online), "{text}");
    let mut server = start_server(folder.path());
    assert_eq!(read(&server).await, PLAIN);
    assert_eq!(files_with_secret(&data), [""; 0].map(PathBuf::from));
    assert_eq!(server.stop().unwrap().code(), Some(0));
}

/// The files and directories that others than their owner may use.
fn open_to_others(data: &Path) -> Vec<String> {
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    let expected = |path: &Path| if path.is_dir() { 0o700 } else { 0o600 };
    let others = below(data).into_iter();
    others
        .filter(|path| mode(path) != expected(path))
        .map(|path| format!("{} {:o}", path.display(), mode(&path)))
        .collect()
}

#[test]
fn files_are_private_whatever_the_umask_and_repaired_at_start() {
    for umask in ["000", "277"] {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("program");
        let binary = env!("CARGO_BIN_EXE_pandaemon");
        fs::write(
            &script,
            format!("#!/bin/sh\numask {umask}\nexec {binary} \"$@\"\n"),
        )
        .unwrap();
        fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
        let data = folder.path().join("data");
        let mut server = start_server_with(&script, folder.path(), &[]);
        assert!(below(&data).len() > 10);
        assert_eq!(open_to_others(&data), [""; 0], "umask {umask}");
        let kubeconfig = fs::metadata(server.kubeconfig()).unwrap();
        assert_eq!(kubeconfig.permissions().mode() & 0o777, 0o600);
        server.kill().unwrap();

        let opened = ["", "token", "pki", "pki/ca.key", "store", "store/lock"];
        for name in opened {
            let path = data.join(name);
            let mode = if path.is_dir() { 0o755 } else { 0o644 };
            fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        }
        // It ends because of the address, after the files were repaired.
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let mut again = Command::new(&script);
        again.args(["server", "--listen", &address, "--data-dir"]);
        again.arg(&data).arg("--write-kubeconfig");
        let (code, stderr) = run_to_end(again.arg(folder.path().join("other")));
        assert_eq!(code, 4, "{stderr}");
        assert_eq!(open_to_others(&data), [""; 0]);
        for name in opened {
            let path = data.join(name);
            let (before, after) = if path.is_dir() {
                ("0755", "0700")
            } else {
                ("0644", "0600")
            };
            let shown = path.display().to_string();
            let shown = shown.trim_end_matches('/');
            let line = format!("{shown}: changed the mode {before} to {after}");
            assert!(stderr.contains(&line), "{line}: {stderr}");
        }
    }
}

#[test]
fn a_control_plane_without_its_keys_does_not_start_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let start = |more: &[&str]| {
        let mut command = program();
        command.args(["server", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(&data).arg("--write-kubeconfig");
        run_to_end(command.arg(folder.path().join("other")).args(more))
    };
    let (code, stderr) = start(&["--encrypt-resources", "secret"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains("there is no resource \"secret\""),
        "{stderr}"
    );
    assert!(!data.exists());

    let mut server = start_server(folder.path());
    tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(create(&server));
    server.kill().unwrap();
    let keys = data.join("encryption-keys");
    fs::rename(&keys, folder.path().join("keys")).unwrap();
    let (code, stderr) = start(&[]);
    assert_eq!(code, 1, "{stderr}");
    let text = format!("the encryption key file {} is missing", keys.display());
    assert!(stderr.contains(&text), "{stderr}");
    let moved = folder.path().join("keys");
    let more = ["--encryption-key-file", moved.to_str().unwrap()];
    let program = Path::new(env!("CARGO_BIN_EXE_pandaemon"));
    drop(start_server_with(program, folder.path(), &more));
}
