//! Benchmarks: fan-out of an event to watchers, creates through the whole stack, opening of
//! watches, requests with tokens.

#![expect(clippy::expect_used, reason = "a benchmark ends at the first failure")]

use std::sync::Arc;

use divan::{AllocProfiler, Bencher};
use http::Request;
use kube::{client::Body, config::AuthInfo};
use pandaemon_machinery::{KindRef, scheme};
use pandaemon_server::cache::{
    object,
    watch_cache::{Filter, Start, Started, WatchCache},
};
use pandaemon_store::{Entry, Event, Key, Note};
use pandaemon_testkit::Server;
use pandaemon_types::{FieldSelector, LabelSelector};
use serde_json::{Value, json};

/// Counts the allocations of each operation.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn watch_node(cache: &WatchCache, node: &str) -> Started {
    let kind = scheme::built_in()
        .find_resource("", "v1", "pods")
        .expect("pods are served");
    let filter = Filter {
        kind: KindRef::clone(kind),
        namespace: None,
        labels: LabelSelector::everything(),
        fields: FieldSelector::parse(&format!("spec.nodeName={node}")).expect("a selector"),
    };
    let pods = cache.of(kind).expect("pods are stored");
    pods.watch(cache.revision(), "/pods/", filter, Start::Now)
        .expect("a watch")
}

/// Applies one pod event while 10,000 nodes each watch their own pods. One watcher gets it.
#[divan::bench]
fn one_event_for_one_of_10000_watchers(bencher: Bencher<'_, '_>) {
    let cache = WatchCache::new(1);
    let _watches: Vec<_> = (0..10_000)
        .map(|at| watch_node(&cache, &format!("n{at}")))
        .collect();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "d", "labels": {"app": "web"}},
        "spec": {"nodeName": "n7", "containers": [{"name": "c", "image": "i"}]},
    });
    let pods = scheme::built_in().find_resource("", "v1", "pods");
    let index = pods.and_then(|pods| pods.strategy.indexed_field());
    let encoded = object::encode(&pod, index).expect("JSON");
    let mut revision = 1;
    bencher.bench_local(|| {
        revision += 1;
        let key: Key = "/pods/d/p".into();
        let entry = Entry {
            key: Key::clone(&key),
            value: encoded.bytes.clone(),
            create_revision: 2,
            mod_revision: revision,
        };
        let note: Note = Arc::new(encoded.head);
        cache.apply(&[Event {
            revision,
            key,
            entry: Some(entry),
            note: Some(note),
        }]);
    });
}

async fn create(client: &kube::Client, name: String) {
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"key": "x".repeat(1000)}});
    let request = Request::post("/api/v1/namespaces/default/configmaps")
        .header("content-type", "application/json")
        .body(Body::from(value.to_string().into_bytes()))
        .expect("a request");
    let answer = client.send(request).await.expect("an answer");
    assert_eq!(answer.status(), 201);
}

/// Creates through the whole stack, with this many concurrent requests.
#[divan::bench(args = [1, 64], sample_count = 20)]
fn create_through_the_stack(bencher: Bencher<'_, '_>, at_once: usize) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(Server::start());
    let client = server.client();
    let mut round = 0;
    bencher
        .counter(divan::counter::ItemsCount::new(at_once))
        .bench_local(|| {
            round += 1;
            runtime.block_on(async {
                let all = (0..at_once).map(|at| create(&client, format!("c{round}-{at}")));
                futures::future::join_all(all).await;
            });
        });
}

/// Creates by a user who may do everything without roles, and by one who has one of 1,000 roles:
/// what a decision by roles adds to a write.
#[divan::bench(args = ["system:masters", "writers"], sample_count = 500)]
fn create_with_1000_bindings(bencher: Bencher<'_, '_>, group: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(server_with_roles());
    let client = server.client();
    let mut at = 0;
    bencher.bench_local(|| {
        at += 1;
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c-{at}")},
            "data": {"key": "x".repeat(1000)}});
        let request = Request::post("/api/v1/namespaces/default/configmaps")
            .header("content-type", "application/json")
            .header("impersonate-user", "bob")
            .header("impersonate-group", group)
            .body(Body::from(value.to_string().into_bytes()))
            .expect("a request");
        let answer = runtime.block_on(client.send(request)).expect("an answer");
        assert_eq!(answer.status(), 201);
    });
}

/// A server with 1,000 roles, each bound to a user `bob`, of which the last allows to create.
async fn server_with_roles() -> Server {
    let server = Server::start().await;
    let place = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    for at in 0..1000 {
        let verb = if at == 999 { "create" } else { "get" };
        let name = format!("r-{at}");
        let rules = json!([{"verbs": [verb], "apiGroups": [""], "resources": ["configmaps"]}]);
        let version = "rbac.authorization.k8s.io/v1";
        let role = json!({"apiVersion": version, "kind": "Role", "metadata": {"name": name}, "rules": rules});
        server.create(&format!("{place}/roles"), role).await;
        let binding = json!({"apiVersion": version, "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"kind": "Role", "name": name}, "subjects": [{"kind": "User", "name": "bob"}]});
        server
            .create(&format!("{place}/rolebindings"), binding)
            .await;
    }
    server
}

/// Opens a watch with a request and keeps it open: duration and memory.
#[divan::bench(sample_count = 1000, sample_size = 1)]
fn open_a_watch(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(Server::start());
    let client = server.client();
    let mut open = Vec::with_capacity(10_000);
    bencher.bench_local(|| {
        let path = format!(
            "/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dn{}",
            open.len()
        );
        let request = Request::get(path).body(Body::empty()).expect("a request");
        open.push(runtime.block_on(client.send(request)).expect("a watch"));
    });
}

/// Number of nodes in [`renew_leases`].
const NODES: usize = 1000;
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

fn lease(node: usize) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": format!("node-{node}"), "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": format!("node-{node}"),
             "uid": "4f0c5d3e-0000-4000-8000-000000000000"}]},
        "spec": {"holderIdentity": format!("node-{node}"), "leaseDurationSeconds": 40,
            "renewTime": "2026-01-01T00:00:00.000000Z"}})
}

async fn renew(client: &kube::Client, form: &str, renewal: usize) {
    let (seconds, micros) = (renewal / 1_000_000 % 60, renewal % 1_000_000);
    let body =
        format!(r#"{{"spec":{{"renewTime":"2026-01-01T00:00:{seconds:02}.{micros:06}Z"}}}}"#);
    let request = Request::patch(format!("{LEASES}/node-{}", renewal % NODES))
        .header("content-type", form)
        .body(Body::from(body.into_bytes()))
        .expect("a request");
    let answer = client.send(request).await.expect("an answer");
    assert_eq!(answer.status(), 200);
}

fn renew_leases(bencher: Bencher<'_, '_>, form: &str, concurrency: usize) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(Server::start());
    let client = server.client();
    runtime.block_on(async {
        let all = (0..NODES).map(|node| server.create(LEASES, lease(node)));
        futures::future::join_all(all).await;
    });
    let mut next = 1;
    bencher
        .counter(divan::counter::ItemsCount::new(concurrency))
        .bench_local(|| {
            let all = (next..next + concurrency).map(|at| renew(&client, form, at));
            runtime.block_on(futures::future::join_all(all));
            next += concurrency;
        });
}

/// Renewals of node leases as agents and hollow nodes send them: the fast path.
#[divan::bench(args = [1, 64], sample_count = 100)]
fn renew_leases_by_merge_patch(bencher: Bencher<'_, '_>, concurrency: usize) {
    renew_leases(bencher, "application/merge-patch+json", concurrency);
}

/// The same renewals as strategic merge patches, which take the full path: the reference.
#[divan::bench(args = [1, 64], sample_count = 100)]
fn renew_leases_by_strategic_patch(bencher: Bencher<'_, '_>, concurrency: usize) {
    renew_leases(
        bencher,
        "application/strategic-merge-patch+json",
        concurrency,
    );
}

const PODS: &str = "/api/v1/namespaces/default/pods";

/// A server with a service account, and a pod `p-0` on a node.
async fn server_with_pod() -> Server {
    let server = Server::start().await;
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    server.create(accounts, account).await;
    create_pod(&server.client(), 0).await;
    server
}

async fn create_pod(client: &kube::Client, at: usize) {
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("p-{at}"), "labels": {"app": "web"}},
        "spec": {"nodeName": format!("n-{at}"), "containers": [
            {"name": "c", "image": "i", "env": [{"name": "A", "value": "x".repeat(1000)}]}]}});
    post_pod(client, &pod).await;
}

async fn post_pod(client: &kube::Client, pod: &Value) {
    let request = Request::post(PODS)
        .header("content-type", "application/json")
        .body(Body::from(pod.to_string().into_bytes()))
        .expect("a request");
    let answer = client.send(request).await.expect("an answer");
    assert_eq!(answer.status(), 201);
}

/// Creates pods that differ in name and node only: from a template after the second one.
#[divan::bench(sample_count = 200)]
fn create_pods_from_a_template(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(server_with_pod());
    let client = server.client();
    let mut at = 0;
    bencher.bench_local(|| {
        at += 1;
        runtime.block_on(create_pod(&client, at));
    });
}

/// Creates pods of different images, which take the full path, in a namespace that enforces this
/// level of Pod Security.
#[divan::bench(args = ["privileged", "baseline"], sample_count = 200)]
fn create_pods_by_the_full_path(bencher: Bencher<'_, '_>, level: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(server_with_pod());
    let client = server.client();
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
    let request = Request::patch("/api/v1/namespaces/default")
        .header("content-type", "application/merge-patch+json")
        .body(Body::from(labels.to_string().into_bytes()))
        .expect("a request");
    let answer = runtime.block_on(client.send(request)).expect("an answer");
    assert_eq!(answer.status(), 200);
    let mut at = 0;
    bencher.bench_local(|| {
        at += 1;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("p-{at}")},
            "spec": {"nodeName": format!("n-{at}"), "containers": [
                {"name": "c", "image": format!("i:{at}")}]}});
        runtime.block_on(post_pod(&client, &pod));
    });
}

/// Patches the status of a pod.
#[divan::bench(sample_count = 200)]
fn patch_the_status_of_a_pod(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(server_with_pod());
    let client = server.client();
    let mut at = 0;
    bencher.bench_local(|| {
        at += 1;
        let body = json!({"status": {"phase": "Running", "message": at.to_string()}});
        let request = Request::patch(format!("{PODS}/p-0/status"))
            .header("content-type", "application/strategic-merge-patch+json")
            .body(Body::from(body.to_string().into_bytes()))
            .expect("a request");
        let answer = runtime.block_on(client.send(request)).expect("an answer");
        assert_eq!(answer.status(), 200);
    });
}

/// Deletes pods that were created before.
#[divan::bench(sample_count = 200, sample_size = 1)]
fn delete_pods(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(server_with_pod());
    let client = server.client();
    let mut at = 0;
    bencher
        .with_inputs(|| {
            at += 1;
            runtime.block_on(create_pod(&client, at));
            at
        })
        .bench_local_values(|at| {
            let request = Request::delete(format!("{PODS}/p-{at}"))
                .body(Body::empty())
                .expect("a request");
            let answer = runtime.block_on(client.send(request)).expect("an answer");
            assert_eq!(answer.status(), 200);
        });
}

/// Reads a small document over the network with a service account's token, on one connection.
#[divan::bench(args = ["admin", "service account"])]
fn a_request_with_a_token(bencher: Bencher<'_, '_>, user: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(Server::start());
    let token = match user {
        "admin" => server.running().admin_token(),
        _ => runtime.block_on(service_account_token(&server)),
    };
    let client = runtime.block_on(async {
        let mut config = server.tls_config().await.expect("a configuration");
        config.auth_info = AuthInfo {
            token: Some(token.into()),
            ..AuthInfo::default()
        };
        kube::Client::try_from(config).expect("a client")
    });
    bencher.bench_local(|| {
        let request = Request::get("/api").body(Body::empty());
        let answer = runtime.block_on(client.send(request.expect("a request")));
        assert_eq!(answer.expect("an answer").status(), 200);
    });
}

/// A token that is bound to a pod.
async fn service_account_token(server: &Server) -> String {
    let base = "/api/v1/namespaces/default";
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    server
        .create(&format!("{base}/serviceaccounts"), account)
        .await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    server.create(&format!("{base}/pods"), pod).await;
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p"}},
    });
    let path = format!("{base}/serviceaccounts/default/token");
    let made = server.create(&path, request).await;
    made["status"]["token"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
