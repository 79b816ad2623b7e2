//! A full disk: writes are refused, heartbeats, reads and watches work, and writes resume.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Request;
use http_body_util::BodyExt as _;
use pandaemon_store::{Embedded, Options, Range, Store as _};
use pandaemon_testkit::{ServerOptions, disk::Tmpfs};
use serde_json::{Value, json};

use crate::harness::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"text": "v".repeat(40_000)}})
}

fn lease(second: usize) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "n1"},
        "spec": {"holderIdentity": "n1", "renewTime": format!("2026-01-01T00:00:{second:02}.000000Z")}})
}

/// Writes until the disk is full. Returns the names of the stored objects, and the status of the
/// refusal.
async fn fill(server: &Server) -> (Vec<String>, Value) {
    let mut written = Vec::new();
    loop {
        let name = format!("m{}", written.len());
        let (code, answer) = server.post(MAPS, &map(&name)).await;
        if code != 201 {
            assert_eq!(
                (code, &answer["reason"]),
                (503, &json!("ServiceUnavailable"))
            );
            return (written, answer);
        }
        written.push(name);
        assert!(written.len() < 1000, "the disk is not small");
    }
}

async fn maps(server: &Server) -> Vec<String> {
    let (code, list) = server.get(MAPS).await;
    assert_eq!(code, 200);
    let items = list["items"].as_array().unwrap().iter();
    let mut names: Vec<String> = items
        .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
        .filter(|name| name != "kube-root-ca.crt")
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_full_disk_refuses_durable_writes_until_there_is_space() {
    let data = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::mount(data.path(), 8) else {
        return;
    };
    let filler = data.path().join("filler");
    let directory = pandaemon_testkit::Server::store_dir(data.path());
    let store = Embedded::open(directory, Options::default()).unwrap();
    let options = ServerOptions {
        data_dir: Some(data),
        store: Some(Arc::new(store)),
        ..ServerOptions::default()
    };
    let server = Server::start_with(options).await.unwrap();
    assert_eq!(server.post(LEASES, &lease(0)).await.0, 201);
    fs::write(&filler, vec![1; 3 << 20]).unwrap();
    let watch = Request::get(format!("{LEASES}?watch=true")).body(kube::client::Body::empty());
    let watch = server.client().send(watch.unwrap()).await.unwrap();
    let mut watch = watch.into_body();

    let (mut written, refusal) = fill(&server).await;
    written.sort();
    let text = refusal["message"].as_str().unwrap();
    assert!(text.contains("the disk of the data directory") && text.contains("free space"));
    assert_eq!(refusal["details"]["retryAfterSeconds"], 1);
    // Reads, watches and heartbeats work; the refused object was not stored.
    assert_eq!(maps(&server).await, written);
    for second in 1..5 {
        let (path, beat) = (format!("{LEASES}/n1"), lease(second));
        let renewed = server.send("PATCH", &path, "application/merge-patch+json", &beat);
        let (code, answer) = renewed.await;
        assert_eq!(code, 200, "{answer}");
    }
    let mut seen = String::new();
    while !seen.contains("00:00:04") {
        let frame = tokio::time::timeout(Duration::from_secs(10), watch.frame()).await;
        let frame = frame.expect("the watch delivers events").unwrap().unwrap();
        seen.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
    let (code, report) = server.get_text("/readyz").await;
    assert!(
        code == 500 && report.contains("[-]store failed: the disk of"),
        "{report}"
    );
    assert_eq!(
        server.get_text("/livez").await.0,
        200,
        "a restart does not help"
    );

    fs::remove_file(&filler).unwrap();
    let since = Instant::now();
    while server.get_text("/readyz").await.0 != 200 {
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "the server does not detect the free space"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(server.post(MAPS, &map("after")).await.0, 201);
    written.push("after".into());
    written.sort();
    assert_eq!(maps(&server).await, written);
    assert_stored(server, &written).await;
    drop(disk);
}

/// Stops the server and checks the objects in its data directory.
async fn assert_stored(mut server: Server, written: &[String]) {
    server.stop().await;
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(server.data_dir().join("store")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let store = Embedded::open(copy.path(), Options::default()).unwrap();
    let prefix = "/configmaps/default/";
    let page = store.range(Range::of(prefix)).await.unwrap();
    let entries = page.entries.iter();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.key.strip_prefix(prefix))
        .filter(|name| *name != "kube-root-ca.crt")
        .map(str::to_owned)
        .collect();
    names.sort();
    assert_eq!(names, written);
}
