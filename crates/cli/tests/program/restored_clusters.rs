//! A restore below nodes that go on running: what is in the backup and on the nodes is not
//! restarted, and the rest is put right.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{Node, Pod},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use pandaemon_testkit::ServerProcess;
use serde_json::json;

use crate::{
    backups::{restore, run},
    process::{PROGRAM, client, program},
};

const NODES: usize = 3;
const TIMEOUT: Duration = Duration::from_secs(90);

/// Ends with the test.
struct Hollow(Child);

impl Drop for Hollow {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn hollow(kubeconfig: &Path) -> Hollow {
    let mut command = program();
    command.args(["hollow", "--count", &NODES.to_string(), "--kubeconfig"]);
    command.arg(kubeconfig).stdin(Stdio::null());
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Hollow(child.unwrap())
}

/// What is compared of a pod: its UID, and since when its container runs.
type Running = (String, String);

struct Cluster {
    sets: Api<DaemonSet>,
    pods: Api<Pod>,
    nodes: Api<Node>,
}

impl Cluster {
    async fn of(server: &ServerProcess) -> Self {
        let client = client(server).await;
        Self {
            sets: Api::namespaced(client.clone(), "default"),
            pods: Api::namespaced(client.clone(), "default"),
            nodes: Api::all(client),
        }
    }

    async fn create(&self, name: &str) {
        let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name},
            "spec": {"selector": {"matchLabels": {"set": name}},
                "template": {"metadata": {"labels": {"set": name}},
                    "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
        let set = serde_json::from_value(set).unwrap();
        self.sets
            .create(&PostParams::default(), &set)
            .await
            .unwrap();
    }

    /// The pods of a set that run, by their names.
    async fn running(&self, set: &str) -> BTreeMap<String, Running> {
        let selector = ListParams::default().labels(&format!("set={set}"));
        let pods = self.pods.list(&selector).await.unwrap().items;
        let running = pods.into_iter().filter_map(|pod| {
            let container = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
            let since = container
                .state
                .as_ref()?
                .running
                .as_ref()?
                .started_at
                .as_ref()?;
            let (since, uid) = (
                format!("{:?} {}", since.0, container.restart_count),
                pod.uid()?,
            );
            pod.metadata
                .deletion_timestamp
                .is_none()
                .then(|| (pod.name_any(), (uid, since)))
        });
        running.collect()
    }

    async fn all_run(&self, set: &str) -> BTreeMap<String, Running> {
        let since = Instant::now();
        loop {
            let running = self.running(set).await;
            if running.len() == NODES {
                return running;
            }
            assert!(since.elapsed() < TIMEOUT, "{set}: {running:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_run_through_a_restore_restart_nothing_that_is_in_both_and_follow_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let start = || ServerProcess::start_on(Path::new(PROGRAM), folder.path(), &address, &[]);
    let mut server = start().unwrap();
    let _nodes = hollow(server.kubeconfig());
    let cluster = Cluster::of(&server).await;
    cluster.create("kept").await;
    cluster.create("deleted-later").await;
    let kept = cluster.all_run("kept").await;
    let deleted = cluster.all_run("deleted-later").await;
    let (data, file) = (folder.path().join("data"), folder.path().join("backup"));
    let (code, _, stderr) = run(&[&"backup", &file, &"--data-dir", &data]);
    assert_eq!(code, 0, "{stderr}");

    // Nodes see later states of what is in the backup, and things that are not.
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"later": "1"}}}));
    for name in kept.keys() {
        let options = PatchParams::default();
        cluster.pods.patch(name, &options, &patch).await.unwrap();
    }
    let options = DeleteParams::background();
    cluster
        .sets
        .delete("deleted-later", &options)
        .await
        .unwrap();
    cluster.create("created-later").await;
    cluster.all_run("created-later").await;
    let since = Instant::now();
    while !cluster.running("deleted-later").await.is_empty() {
        assert!(since.elapsed() < TIMEOUT, "its pods are still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.kill().unwrap();
    let (code, _, stderr) = restore(&file, &data, "--yes");
    assert_eq!(code, 0, "{stderr}");
    let mut server = start().unwrap();

    let cluster = Cluster::of(&server).await;
    // Nodes whose list-watches go on run what is new.
    cluster.create("new").await;
    cluster.all_run("new").await;
    assert_eq!(cluster.all_run("kept").await, kept);
    let pods = cluster.pods.list(&ListParams::default()).await.unwrap();
    assert!(
        pods.items
            .iter()
            .all(|pod| !pod.name_any().starts_with("created-later"))
    );
    assert!(
        cluster
            .sets
            .get_opt("created-later")
            .await
            .unwrap()
            .is_none()
    );
    let back = cluster.all_run("deleted-later").await;
    let uids = |pods: &BTreeMap<String, Running>| -> Vec<String> {
        let uids = pods.values().map(|(uid, _)| uid.clone());
        uids.collect()
    };
    assert_eq!(uids(&back), uids(&deleted));
    assert_eq!(
        cluster
            .nodes
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        NODES
    );
    assert_eq!(server.stop().unwrap().code(), Some(0));
}
