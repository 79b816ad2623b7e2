//! `pandaemon bench` with other clients, which are a process of their own.

use std::{path::Path, process::Command};

use kube::{Api, api::ListParams};
use pandaemon_testkit::ServerProcess;

use crate::process::{PROGRAM, client, program};

/// The numbers of a JSON object.
fn number(object: &serde_json::Value, name: &str) -> f64 {
    object[name]
        .as_f64()
        .unwrap_or_else(|| panic!("no {name} in {object}"))
}

/// The processes of other clients that are left.
fn left() -> usize {
    let mut found = Command::new("pgrep");
    found.args(["-f", "bench --kubeconfig .* other-clients$"]);
    let mut found = found.output().unwrap();
    found.stdout.retain(|byte| *byte == b'\n');
    found.stdout.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_clients_are_served_beside_a_rolling_update_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(Path::new(PROGRAM), folder.path(), &[]).unwrap();
    let mut bench = program();
    bench
        .arg("bench")
        .arg("--kubeconfig")
        .arg(server.kubeconfig());
    bench.args([
        "--nodes",
        "3",
        "--joins",
        "0",
        "--lease-interval",
        "1s",
        "--json",
    ]);
    bench.args(["--listers", "2", "--creators", "1", "--listed-pods", "20"]);
    bench.args(["--clients-span", "4s"]);
    let ended = tokio::task::spawn_blocking(move || bench.output().unwrap());
    let ended = ended.await.unwrap();
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{errors}");
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    let clients = &report["results"]["otherClients"];
    assert!(number(clients, "listsPerSecond") > 0.0, "{clients}");
    assert!(number(clients, "creationsPerSecond") > 0.0, "{clients}");
    assert!(number(&clients["heartbeats"], "count") > 0.0, "{clients}");
    assert_eq!(clients["errors"], 0, "{clients}");
    assert_eq!(clients["lostNodes"], 0, "{clients}");
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client(&server).await);
    let mut namespaces = namespaces.list(&ListParams::default()).await.unwrap();
    namespaces.items.retain(|namespace| {
        let name = namespace.metadata.name.as_deref();
        name.is_some_and(|name| name.contains("bench"))
    });
    assert_eq!(namespaces.items, []);
    assert_eq!(left(), 0);
}
