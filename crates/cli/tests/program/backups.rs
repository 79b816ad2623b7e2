//! `pandaemon backup` and `pandaemon restore`: of a server under load, without keys, and killed.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, PostParams, WatchEvent, WatchParams},
};
use nix::sys::signal::Signal;
use pandaemon_testkit::ServerProcess;
use parking_lot::Mutex;

use crate::process::{PROGRAM, client, program, start_server};

const PLAIN: &str = "the-plain-text-of-a-secret";

/// Runs the program: exit status, standard output and standard error.
pub(crate) fn run(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> (i32, String, String) {
    let mut command = program();
    let output = command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

pub(crate) fn restore(file: &Path, data: &Path, more: &str) -> (i32, String, String) {
    run(&[&"restore", &file, &"--data-dir", &data, &more])
}

fn map(name: &str, count: u64) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    let data = [
        ("count".to_owned(), count.to_string()),
        ("again".to_owned(), count.to_string().repeat(100)),
    ];
    map.data = Some(data.into());
    map
}

async fn maps(server: &ServerProcess) -> Api<ConfigMap> {
    Api::namespaced(client(server).await, "default")
}

/// The counts of the objects: each is whole.
async fn counts(maps: &Api<ConfigMap>) -> BTreeMap<String, u64> {
    let list = maps.list(&ListParams::default()).await.unwrap();
    let own = list
        .items
        .iter()
        .filter(|map| map.name_any() != "kube-root-ca.crt");
    own.map(|map| {
        let data = map.data.as_ref().unwrap();
        assert_eq!(data["again"], data["count"].repeat(100));
        (map.name_any(), data["count"].parse().unwrap())
    })
    .collect()
}

/// What was acknowledged: counts by name.
type Acknowledged = Arc<Mutex<BTreeMap<String, u64>>>;

/// Creates and replaces objects until the server is gone.
async fn write(maps: Api<ConfigMap>, writer: usize, known: Acknowledged) {
    for count in 0.. {
        let name = format!("w{writer}-{}", count % 50);
        let options = PostParams::default();
        let written = match count {
            0..50 => maps.create(&options, &map(&name, count)).await,
            _ => maps.replace(&name, &options, &map(&name, count)).await,
        };
        if written.is_err() {
            return;
        }
        known.lock().insert(name, count);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_has_all_that_was_acknowledged_before_and_clients_list_again() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let file = folder.path().join("backup");
    fs::create_dir_all(&first).unwrap();
    fs::create_dir_all(&second).unwrap();
    let mut server = start_server(&first);
    let known = Acknowledged::default();
    for writer in 0..8 {
        let writes = write(maps(&server).await, writer, Arc::clone(&known));
        pandaemon_runtime::spawn("writer", writes);
    }
    while known.lock().len() < 300 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let before = known.lock().clone();
    let data = first.join("data");
    let arguments = (data.clone(), file.clone());
    let taken = tokio::task::spawn_blocking(move || {
        let (data, file) = arguments;
        run(&[&"backup", &file, &"--data-dir", &data, &"--include-keys"])
    });
    let (code, _, stderr) = taken.await.unwrap();
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("WARNING: encryption keys, CAs"), "{stderr}");
    let after = known.lock().clone();
    assert!(
        after.values().sum::<u64>() > before.values().sum(),
        "no load"
    );
    let newest = maps(&server)
        .await
        .list(&ListParams::default())
        .await
        .unwrap();
    let newest: u64 = newest.metadata.resource_version.unwrap().parse().unwrap();
    let (code, _, stderr) = restore(&file, &data, "--yes");
    assert_eq!(code, 4, "{stderr}");
    let text = format!("is in use by process {}", server.pid());
    assert!(stderr.contains(&text), "{stderr}");
    server.kill().unwrap();

    let (code, stdout, stderr) = restore(&file, &second.join("data"), "--yes");
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("configmaps"), "{stdout}");
    let mut restored = start_server(&second);
    // Its CA is that of the first one.
    let own = maps(&restored).await;
    let found = counts(&own).await;
    for (name, count) in &before {
        let there = found.get(name).copied().unwrap_or_default();
        assert!(
            there >= *count,
            "{name}: {there}, and {count} was acknowledged before"
        );
    }
    let all = known.lock().clone();
    for (name, count) in &found {
        let most = all.get(name).map_or(0, |known| known + 50);
        assert!(*count <= most, "{name}: {count} was never written");
    }
    // A client that goes on from what it has seen lists again, and sees later versions only.
    let (options, from) = (WatchParams::default().timeout(3), newest.to_string());
    let code = match own.watch(&options, &from).await {
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
        Ok(watch) => match Box::pin(watch).next().await {
            Some(Ok(WatchEvent::Error(status))) => status.code,
            other => panic!("{other:?}"),
        },
    };
    assert_eq!(code, 410);
    let list = own.list(&ListParams::default()).await.unwrap();
    for map in &list.items {
        let version: u64 = map.resource_version().unwrap().parse().unwrap();
        assert!(version > newest, "{version} is not later than {newest}");
    }
    assert_eq!(restored.stop().unwrap().code(), Some(0));
}

async fn create_secret(server: &ServerProcess) {
    let secret: Secret = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "s"}, "stringData": {"key": PLAIN},
    }))
    .unwrap();
    let secrets: Api<Secret> = Api::namespaced(client(server).await, "default");
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
}

async fn read_secret(server: &ServerProcess) -> String {
    let secrets: Api<Secret> = Api::namespaced(client(server).await, "default");
    let secret = secrets.get("s").await.unwrap();
    String::from_utf8(secret.data.unwrap()["key"].0.clone()).unwrap()
}

/// Copies a file or a directory with all that is in it.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

fn has(content: &[u8], text: &str) -> bool {
    content
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_without_keys_names_them_and_is_not_restored_without_them() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    fs::create_dir_all(&first).unwrap();
    let (data, file) = (first.join("data"), folder.path().join("backup"));
    let mut server = start_server(&first);
    create_secret(&server).await;
    let (code, _, stderr) = run(&[&"backup", &file, &"--kubeconfig", &server.kubeconfig()]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(server.stop().unwrap().code(), Some(0));
    let keys = fs::read_to_string(data.join("encryption-keys")).unwrap();
    let key = keys
        .lines()
        .find_map(|line| line.strip_prefix("# key "))
        .unwrap();
    assert!(
        stderr.contains(&format!("needs the encryption keys {key}")),
        "{stderr}"
    );
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let content = fs::read(&file).unwrap();
    assert!(!has(&content, PLAIN) && !has(&content, "PRIVATE KEY"));

    // The files of a server that does not run; and no backup is replaced by accident.
    let (code, _, stderr) = run(&[&"backup", &file, &"--data-dir", &data]);
    assert!(code == 1 && stderr.contains("--force"), "{stderr}");
    assert_eq!(fs::read(&file).unwrap(), content);
    let (code, _, stderr) = run(&[&"backup", &file, &"--data-dir", &data, &"--force"]);
    assert_eq!(code, 0, "{stderr}");
    let (code, stdout, stderr) = run(&[&"backup", &"--verify", &file]);
    assert_eq!(code, 0, "{stderr}");
    let lines: Vec<Vec<&str>> = stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    for line in [
        vec!["secrets", "1"],
        vec!["encryption", "keys", "needed", key],
        vec!["keys", "and", "CAs", "not", "inside"],
    ] {
        assert!(lines.contains(&line), "{line:?}: {stdout}");
    }
    let cut = folder.path().join("cut");
    fs::write(&cut, &content[..content.len() / 2]).unwrap();
    for arguments in [
        [&"backup" as &dyn AsRef<_>, &"--verify", &cut],
        [&"restore", &cut, &"--yes"],
    ] {
        let (code, _, stderr) = run(&arguments);
        let text = format!("cut off at byte {}", content.len() / 2);
        assert!(code == 1 && stderr.contains(&text), "{stderr}");
    }

    let second = folder.path().join("second");
    let other = second.join("data");
    let (code, _, stderr) = restore(&file, &other, "--yes");
    assert_eq!(code, 1, "{stderr}");
    let place = other.join("encryption-keys");
    let text = format!(
        "nothing was changed: the backup needs the encryption keys {key}, which are neither in {}",
        place.display()
    );
    assert!(stderr.contains(&text), "{stderr}");
    assert!(stderr.contains("The CA is missing"), "{stderr}");
    assert!(!second.exists());
    fs::create_dir_all(&other).unwrap();
    copy(&data.join("encryption-keys"), &place);
    copy(&data.join("pki"), &other.join("pki"));
    let (code, _, stderr) = restore(&file, &other, "--no");
    assert_eq!(code, 2, "{stderr}");
    let (code, _, stderr) = run(&[&"restore", &file, &"--data-dir", &other]);
    assert!(
        code == 1 && stderr.contains("--yes restores without asking"),
        "{stderr}"
    );
    let (code, _, stderr) = restore(&file, &other, "--yes");
    assert_eq!(code, 0, "{stderr}");
    let mut restored = start_server(&second);
    assert_eq!(read_secret(&restored).await, PLAIN);
    assert_eq!(restored.stop().unwrap().code(), Some(0));
    without_lost_keys(folder.path(), &file).await;
}

/// The rest can be restored when the keys are lost.
async fn without_lost_keys(folder: &Path, file: &Path) {
    let third = folder.join("third");
    let data = third.join("data");
    let allowed: [&dyn AsRef<_>; 6] = [
        &"restore",
        &file,
        &"--data-dir",
        &data,
        &"--yes",
        &"--allow-missing-keys",
    ];
    let (code, _, stderr) = run(&allowed);
    assert!(
        code == 0 && stderr.contains("WARNING: the backup needs"),
        "{stderr}"
    );
    let delete = run(&[&"rotate-keys", &"--data-dir", &data, &"--delete-lost"]);
    assert_eq!(delete.0, 0, "{}", delete.2);
    let mut server = start_server(&third);
    let secrets: Api<Secret> = Api::namespaced(client(&server).await, "default");
    assert!(secrets.get_opt("s").await.unwrap().is_none());
    assert_eq!(server.stop().unwrap().code(), Some(0));
}

/// A data directory, and what is in it: the CA, and which ConfigMap is stored.
async fn is_restored(folder: &Path, ca: &[u8]) -> bool {
    let mut server = start_server(folder);
    assert_eq!(read_secret(&server).await, PLAIN);
    let found = counts(&maps(&server).await).await;
    let is_new = found.contains_key("backed-up");
    assert_ne!(is_new, found.contains_key("later"), "{found:?}");
    let has_ca = fs::read(folder.join("data/pki/ca.crt")).unwrap() == ca;
    assert_eq!(is_new, has_ca, "objects and CA belong together");
    assert_eq!(server.stop().unwrap().code(), Some(0));
    is_new
}

/// A stopped server in this folder with a ConfigMap.
async fn stopped(folder: PathBuf, name: &str) -> PathBuf {
    fs::create_dir_all(&folder).unwrap();
    let mut server = start_server(&folder);
    create_secret(&server).await;
    let maps = maps(&server).await;
    maps.create(&PostParams::default(), &map(name, 1))
        .await
        .unwrap();
    assert_eq!(server.stop().unwrap().code(), Some(0));
    folder
}

/// What an interrupted restore has left in a data directory.
fn unfinished(data: &Path) -> Vec<String> {
    let names = fs::read_dir(data).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.starts_with(".restoring-"))
        .collect()
}

/// The limit of the size of files kills a process that writes beyond it, with SIGXFSZ.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_is_killed_leaves_the_old_or_the_new_state_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let source = stopped(folder.path().join("source"), "backed-up").await;
    let old = stopped(folder.path().join("old"), "later").await;
    let file = folder.path().join("backup");
    let data = source.join("data");
    let (code, _, stderr) = run(&[&"backup", &file, &"--data-dir", &data, &"--include-keys"]);
    assert_eq!(code, 0, "{stderr}");
    let ca = fs::read(data.join("pki/ca.crt")).unwrap();
    let (mut killed, mut done) = (0, 0);
    // In blocks of 512 bytes: the key file, the CAs, the log, the checkpoint.
    for limit in [0, 1, 2, 8, 100, 400, 100_000] {
        let copied = folder.path().join(limit.to_string());
        copy(&old, &copied);
        let data = copied.join("data");
        let script = format!("ulimit -c 0; ulimit -f {limit}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, PROGRAM, "restore"]).arg(&file);
        command.arg("--data-dir").arg(&data).arg("--yes");
        let ended = command.stdin(Stdio::null()).output().unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr);
        let is_killed = ended.status.signal() == Some(Signal::SIGXFSZ as i32);
        assert!(
            is_killed || ended.status.success(),
            "{}: {stderr}",
            ended.status
        );
        killed += usize::from(is_killed);
        let is_new = is_restored(&copied, &ca).await;
        assert_eq!(is_new, !is_killed, "limit {limit}");
        done += usize::from(is_new);
        assert_eq!(
            unfinished(&data),
            [""; 0],
            "a start removes what did not happen"
        );
        if is_killed {
            let (code, _, stderr) = restore(&file, &data, "--yes");
            assert_eq!(code, 0, "{stderr}");
            assert_eq!(unfinished(&data), [""; 0], "it is over before a start");
            assert!(is_restored(&copied, &ca).await);
        }
        assert_eq!(unfinished(&data), [""; 0]);
    }
    assert!(killed >= 4 && done >= 1, "{killed} killed, {done} done");
}
