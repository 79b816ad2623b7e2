//! An agent with real containers and without a control plane: its pods are saved on disk, as after
//! a reboot while the API server cannot be reached. Needs root, containerd and the CNI plugins;
//! where they are missing the test is listed as skipped.

#![expect(clippy::unwrap_used, reason = "a test must fail loudly")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use pandaemon_agent::{Config, Identity, Tar, identity_scope, oci_image};
use pandaemon_cri::{CriClient, Runtime as _, pb::ExecRequest};
use pandaemon_runtime::Shutdown;
use pandaemon_testkit::skipped_here;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const UID: &str = "6f2c1a52-0000-4000-8000-000000000001";

/// Why this machine cannot run the test, if it cannot.
fn obstacle() -> Option<&'static str> {
    let id = Command::new("id").arg("-u").output().ok()?;
    if String::from_utf8_lossy(&id.stdout).trim() != "0" {
        return Some("not root");
    }
    let has = |program: &str| {
        ["/usr/bin", "/usr/sbin"]
            .iter()
            .any(|d| Path::new(d).join(program).exists())
    };
    if !has("containerd") || !has("runc") || !has("ctr") {
        return Some("containerd is not installed");
    }
    let plugins = ["/opt/cni/bin", "/usr/lib/cni"];
    if !plugins
        .iter()
        .any(|dir| Path::new(dir).join("bridge").exists())
    {
        return Some("the CNI plugins are not installed");
    }
    None
}

/// A layer with programs of this machine and the libraries that they need.
fn layer(programs: &[&str]) -> Vec<u8> {
    let mut tar = Tar::default();
    let mut files: Vec<PathBuf> = Vec::new();
    for program in programs {
        let path = fs::canonicalize(Path::new("/bin").join(program)).unwrap();
        let content = fs::read(&path).unwrap();
        tar.file(&format!("bin/{program}"), 0o755, &content);
        let ldd = Command::new("ldd").arg(&path).output().unwrap();
        let text = String::from_utf8(ldd.stdout).unwrap();
        files.extend(
            text.split_whitespace()
                .filter(|w| w.starts_with('/'))
                .map(PathBuf::from),
        );
    }
    files.sort();
    files.dedup();
    for file in files {
        let name = file.to_string_lossy();
        tar.file(
            name.trim_start_matches('/'),
            0o755,
            &fs::read(&file).unwrap(),
        );
    }
    tar.finish()
}

/// Certificates as joining would have left them, long ago: they have expired.
fn identity(config: &Config, dir: PathBuf) {
    let identity = Identity::new(dir);
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    identity.write("ca.crt", &ca.pem()).unwrap();
    for name in ["client", "serving"] {
        let key = identity.key(&format!("{name}.key")).unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        identity
            .write(&format!("{name}.crt"), &certificate.pem())
            .unwrap();
    }
    let address = "127.0.0.1".parse().unwrap();
    identity
        .write(
            "subject",
            &identity_scope(&config.node_name, address, "digest"),
        )
        .unwrap();
}

fn pod(out: &Path) -> serde_json::Value {
    // `$$$$` reaches the shell as `$$`.
    let script = "echo $$$$ > /out/pid; echo $GREETING from $(cat /about/name); cat /out/pid; while :; do sleep 1; done";
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "real", "namespace": "default", "uid": UID },
        "spec": {
            "nodeName": "real-test", "hostPID": true, "hostNetwork": true,
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "c", "image": "test/real:1", "command": ["/bin/sh", "-c", script],
                "env": [{ "name": "WHO", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                    { "name": "GREETING", "value": "hello $(WHO)" }],
                "resources": { "limits": { "memory": "32Mi", "cpu": "500m" } },
                "volumeMounts": [{ "name": "out", "mountPath": "/out" },
                    { "name": "scratch", "mountPath": "/scratch" },
                    { "name": "about", "mountPath": "/about" }],
            }],
            "volumes": [{ "name": "out", "hostPath": { "path": out, "type": "Directory" } },
                { "name": "scratch", "emptyDir": { "medium": "Memory" } },
                { "name": "about", "downwardAPI": { "items": [
                    { "path": "name", "fieldRef": { "fieldPath": "metadata.name" } }] } }],
        },
    })
}

fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs an agent beside `look`, and stops it after.
fn with_agent<T>(config: &Config, look: impl FnOnce() -> T) -> T {
    let shutdown = Shutdown::default();
    let (config, stop) = (config.clone(), shutdown.clone());
    let agent = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime
            .block_on(pandaemon_agent::run(config, stop))
            .unwrap();
    });
    let found = look();
    shutdown.trigger();
    agent.join().unwrap();
    found
}

/// Ends what a failed test would leave: its containerd, its shims and containers, their mounts.
struct Cleanup {
    dir: tempfile::TempDir,
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let dir = self.dir.path().to_string_lossy().into_owned();
        let kill = |pid: &str| drop(Command::new("kill").args(["-9", pid]).output());
        if let Ok(pid) = fs::read_to_string(self.dir.path().join("data/containerd/containerd.pid"))
        {
            kill(pid.trim());
        }
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&format!("{dir}/data/containerd")) {
                let children = entry.path().join(format!("task/{name}/children"));
                let children = fs::read_to_string(children).unwrap_or_default();
                children.split_whitespace().for_each(kill);
                kill(&name);
            }
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let targets = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for target in
            targets.filter(|target| target.starts_with(&dir) && Path::new(target).exists())
        {
            let _ = Command::new("umount").args(["-l", target]).output();
        }
    }
}

fn alive(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

/// The entries of the mount table at and below a directory.
fn mounts_below(dir: &Path) -> impl Iterator<Item = String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let dir = dir.to_string_lossy().into_owned();
    let lines: Vec<_> = mounts.lines().map(str::to_owned).collect();
    lines.into_iter().filter(move |line| line.contains(&dir))
}

/// Checks that an agent that stopped its containers has left no mounts and no cgroups.
fn assert_nothing_left(config: &Config) {
    let left: Vec<_> = mounts_below(&config.data_dir).collect();
    assert!(left.is_empty(), "mounts are left: {left:?}");
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).unwrap().flatten().map(|one| one.path());
    for hierarchy in hierarchies.chain([root.to_owned()]) {
        let group = hierarchy.join(&config.cgroup_root);
        assert!(!group.exists(), "a cgroup is left: {}", group.display());
    }
}

/// An agent's configuration, and the directory that its pod writes to: the pod, its image and the
/// agent's certificates are on disk.
fn node(dir: &Path) -> (Config, PathBuf) {
    let (data, out, images) = (dir.join("data"), dir.join("out"), dir.join("images"));
    for one in [&out, &images, &data.join("agent/pods")] {
        fs::create_dir_all(one).unwrap();
    }
    let architecture = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let environment = json!({ "Env": ["PATH=/bin"] });
    let image = oci_image(
        "test/real:1",
        architecture,
        &environment,
        &layer(&["sh", "sleep", "cat"]),
    );
    fs::write(images.join("real.tar"), image).unwrap();
    fs::write(
        data.join(format!("agent/pods/{UID}.json")),
        pod(&out).to_string(),
    )
    .unwrap();

    let mut config = Config::new("https://127.0.0.1:1", "digest.secret", "real-test", &data);
    config.node_ip = Some("127.0.0.1".parse().unwrap());
    config.images_dir = Some(images);
    config.kubelet_port = 0;
    config.cgroup_root = format!("pandaemon-test-{}", std::process::id());
    identity(&config, data.join("agent/identity"));
    (config, out)
}

#[test]
fn saved_pods_start_without_a_control_plane_and_outlive_the_agent() {
    if let Some(why) = obstacle() {
        skipped_here(why);
        return;
    }
    let cleanup = Cleanup {
        dir: tempfile::tempdir().unwrap(),
    };
    let (mut config, out) = node(cleanup.dir.path());
    let data = config.data_dir.clone();
    let read_pid = || {
        let text = fs::read_to_string(out.join("pid")).ok()?;
        text.ends_with('\n').then(|| text.trim().to_owned())
    };
    let log = data.join(format!("logs/pods/default_real_{UID}/c/0.log"));
    let pid = with_agent(&config, || {
        let pid = wait("the container", read_pid);
        let text = wait("its log", || {
            let text = fs::read_to_string(&log).ok()?;
            text.contains(" stdout F ").then_some(text)
        });
        assert!(text.contains(" stdout F hello real from real"), "{text}");
        // An agent that goes while the runtime answers a start takes that start with it.
        std::thread::sleep(Duration::from_secs(1));
        pid
    });
    assert!(alive(&pid), "the container outlives the agent");
    let in_memory = || {
        let volumes = data.join(format!("pods/{UID}/volumes"));
        mounts_below(&volumes)
            .filter(|line| line.contains(" tmpfs "))
            .count()
    };
    assert_eq!(in_memory(), 2, "scratch and about");

    config.stop_containers_on_exit = true;
    with_agent(&config, || {
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(in_memory(), 2, "the new agent uses those that are mounted");
    });
    assert_eq!(
        read_pid().as_deref(),
        Some(pid.as_str()),
        "it was adopted, not started again"
    );
    wait("the container's end", || (!alive(&pid)).then_some(()));
    assert_nothing_left(&config);

    // As after a reboot: nothing is mounted.
    fs::remove_file(out.join("pid")).unwrap();
    with_agent(&config, || {
        let again = wait("the container", read_pid);
        assert_ne!(again, pid);
        assert_eq!(in_memory(), 2);
        std::thread::sleep(Duration::from_secs(1));
    });
    assert_nothing_left(&config);
}

/// The head of the answer to a plain GET.
async fn get(url: &str) -> String {
    let (authority, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut stream = TcpStream::connect(authority).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// What the agent relies on when it gives a token of the streaming server back, and what the fake
/// runtime of its tests does.
#[test]
fn containerd_takes_a_token_with_a_request_for_no_upgrade_and_runs_nothing() {
    if let Some(why) = obstacle() {
        skipped_here(why);
        return;
    }
    let cleanup = Cleanup {
        dir: tempfile::tempdir().unwrap(),
    };
    let (mut config, out) = node(cleanup.dir.path());
    config.stop_containers_on_exit = true;
    let use_up = async {
        let cri = CriClient::new(&config.data_dir.join("containerd/containerd.sock")).unwrap();
        let containers = cri.list_containers(Default::default()).await.unwrap();
        let exec = || {
            cri.exec_url(ExecRequest {
                container_id: containers[0].id.clone(),
                cmd: ["/bin/sh", "-c", "echo > /out/ran"]
                    .map(str::to_owned)
                    .into(),
                stdout: true,
                ..Default::default()
            })
        };
        for _ in 0..1_100 {
            let url = exec().await.unwrap();
            let answer = get(&url).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
            assert!(get(&url).await.starts_with("HTTP/1.1 404 "), "it is gone");
        }
        for _ in 0..1_000 {
            exec().await.unwrap();
        }
        let full = exec().await.unwrap_err().to_string();
        assert!(
            full.contains("maximum number of in-flight requests exceeded"),
            "{full}"
        );
    };
    with_agent(&config, || {
        wait("the container", || out.join("pid").exists().then_some(()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(use_up);
    });
    assert!(!out.join("ran").exists(), "the command was run");
    assert_nothing_left(&config);
}
