//! A store that refuses writes: the status of requests, readiness, and recovery.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use pandaemon_store::{
    Embedded, Entry, Error, Event, Expect, Follower, Op, Options, Page, Range, Result, Revision,
    Store, Transaction, Transformed, Transformer,
    double::{Double, Faults},
};
use pandaemon_testkit::ServerOptions;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::harness::Server;

/// An embedded store that can be switched to refuse writes, and to make its followers panic.
#[derive(Debug)]
struct FaultyStore {
    inner: Embedded,
    full: Arc<AtomicBool>,
    panics: Arc<AtomicBool>,
    /// A transaction of another client that comes just before the next one.
    earlier: Arc<Mutex<Option<Transaction>>>,
}

impl FaultyStore {
    fn open(directory: &std::path::Path) -> Self {
        Self {
            inner: Embedded::open(directory.join("store"), Options::default()).unwrap(),
            full: Arc::default(),
            panics: Arc::default(),
            earlier: Arc::default(),
        }
    }
}

impl Store for FaultyStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>>> {
        self.inner.get(key)
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page>> {
        self.inner.range(range)
    }

    fn latest(&self) -> BoxFuture<'_, Result<Revision>> {
        self.inner.latest()
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision>> {
        if self.full.load(Ordering::Relaxed) {
            let full = Error::Storage("no space left on device".into());
            return Box::pin(std::future::ready(Err(full)));
        }
        let earlier = self.earlier.lock().take();
        Box::pin(async {
            if let Some(earlier) = earlier {
                self.inner.commit(earlier).await?;
            }
            self.inner.commit(transaction).await
        })
    }

    fn follow(&self, from: Revision, follower: Arc<dyn Follower>) -> BoxFuture<'_, Result<()>> {
        let panics = Arc::clone(&self.panics);
        self.inner
            .follow(from, Arc::new(PanickingFollower { follower, panics }))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

/// A follower that panics once it is told to.
struct PanickingFollower {
    follower: Arc<dyn Follower>,
    panics: Arc<AtomicBool>,
}

impl Follower for PanickingFollower {
    fn apply(&self, batch: &[Event]) {
        assert!(
            !self.panics.load(Ordering::Relaxed),
            "a bug in the follower"
        );
        self.follower.apply(batch);
    }

    fn end(&self, why: Error) {
        self.follower.end(why);
    }
}

#[tokio::test]
async fn a_panic_of_the_watch_cache_is_reported_and_no_request_hangs() {
    let data = tempfile::tempdir().unwrap();
    let store = FaultyStore::open(data.path());
    let panics = Arc::clone(&store.panics);
    let options = ServerOptions {
        data_dir: Some(data),
        store: Some(Arc::new(store)),
        ..ServerOptions::default()
    };
    let server = Server::start_with(options).await.unwrap();
    panics.store(true, Ordering::Relaxed);
    let space =
        |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    server.post("/api/v1/namespaces", &space("x")).await;
    let failed = tokio::time::timeout(Duration::from_secs(20), server.running().failed()).await;
    assert_eq!(failed, Ok("watch-cache"));
    let later = space("y");
    let post = server.post("/api/v1/namespaces", &later);
    let answered = tokio::time::timeout(Duration::from_secs(20), post).await;
    assert!(answered.is_ok(), "the write hangs");
    let (code, report) = server.get_text("/livez").await;
    assert!(code == 500 && report.contains("[-]watch-cache"), "{report}");
}

#[tokio::test]
async fn a_store_that_refuses_writes_still_serves_reads() {
    let data = tempfile::tempdir().unwrap();
    let store = FaultyStore::open(data.path());
    let full = Arc::clone(&store.full);
    let options = ServerOptions {
        data_dir: Some(data),
        store: Some(Arc::new(store)),
        ..ServerOptions::default()
    };
    let server = Server::start_with(options).await.unwrap();
    let space =
        |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    full.store(true, Ordering::Relaxed);
    let (code, status) = server.post("/api/v1/namespaces", &space("x")).await;
    assert_eq!(
        (code, &status["reason"]),
        (503, &json!("ServiceUnavailable"))
    );
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("no space left"),
        "{status}"
    );
    assert_eq!(status["details"]["retryAfterSeconds"], 1);
    let (code, text) = server.get_text("/readyz").await;
    assert!(code == 500 && text.contains("[-]store failed"), "{text}");
    assert_eq!(server.get("/api/v1/namespaces/default").await.0, 200);
    assert_eq!(server.get("/api/v1/namespaces/x").await.0, 404);
    full.store(false, Ordering::Relaxed);
    assert_eq!(server.post("/api/v1/namespaces", &space("x")).await.0, 201);
    assert_eq!(server.text("GET", "/readyz", "", &Value::Null).await.0, 200);
}

/// A server on a double, and the double.
async fn on_double() -> (Server, Double) {
    let double = Double::new(Faults::default(), 1);
    let options = ServerOptions {
        store: Some(Arc::new(double.clone())),
        ..ServerOptions::default()
    };
    (Server::start_with(options).await.unwrap(), double)
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"a": "b"}})
}

/// The resource version of the list of ConfigMaps.
async fn version_of(server: &Server) -> String {
    let (_, list) = server.get(MAPS).await;
    list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The changes of ConfigMaps since a version, as `ADDED x`.
async fn changes(server: &Server, version: &str) -> Vec<String> {
    let path = format!("{MAPS}?watch=true&resourceVersion={version}&timeoutSeconds=1");
    let (code, lines) = server.get_text(&path).await;
    assert_eq!(code, 200);
    let events = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |event: Value| {
        let name = event["object"]["metadata"]["name"].as_str().unwrap();
        format!("{} {name}", event["type"].as_str().unwrap())
    };
    events.map(text).collect()
}

#[tokio::test]
async fn a_write_without_an_answer_is_no_conflict() {
    let (server, double) = on_double().await;
    double.set_faults(Faults {
        lost_requests: 1000,
        ..Faults::default()
    });
    let (code, status) = server.post(MAPS, &map("x")).await;
    let text = "Timeout: it is not known whether the write was stored (the connection was lost); \
                read the object before you repeat it";
    let (reason, message) = (&status["reason"], &status["message"]);
    assert_eq!(
        (code, reason, message),
        (504, &json!("Timeout"), &json!(text))
    );
    double.set_faults(Faults::default());
    let path = format!("{MAPS}/x");
    assert_eq!(server.get(&path).await.0, 404);
    double.set_faults(Faults {
        lost_replies: 1000,
        ..Faults::default()
    });
    assert_eq!(server.post(MAPS, &map("x")).await.0, 201);
    assert_eq!(server.send("DELETE", &path, "", &Value::Null).await.0, 200);
    assert!(double.entries("/configmaps/default/x").is_empty());
}

#[tokio::test]
async fn a_conflict_that_is_none_is_no_answer() {
    let (server, double) = on_double().await;
    double.set_faults(Faults {
        conflicts: 300,
        ..Faults::default()
    });
    for i in 0..20 {
        assert_eq!(server.post(MAPS, &map(&format!("m{i}"))).await.0, 201);
    }
    let (code, status) = server.post(MAPS, &map("m1")).await;
    assert_eq!((code, &status["reason"]), (409, &json!("AlreadyExists")));
}

#[tokio::test]
async fn an_object_that_is_never_stored_does_not_exist_already() {
    let (server, double) = on_double().await;
    double.set_faults(Faults {
        conflicts: 1000,
        ..Faults::default()
    });
    let (code, status) = server.post(MAPS, &map("x")).await;
    assert_eq!((code, &status["reason"]), (409, &json!("Conflict")));
    double.set_faults(Faults::default());
    assert_eq!(server.post(MAPS, &map("x")).await.0, 201);
}

#[tokio::test]
async fn changes_that_broke_off_are_read_again() {
    let (server, double) = on_double().await;
    let version = version_of(&server).await;
    double.set_faults(Faults {
        broken: 500,
        ..Faults::default()
    });
    for i in 0..20 {
        let map = map(&format!("m{i:02}"));
        let answer = tokio::time::timeout(Duration::from_secs(20), server.post(MAPS, &map));
        assert_eq!(answer.await.unwrap().0, 201);
    }
    let expected = (0..20).map(|i| format!("ADDED m{i:02}"));
    assert_eq!(
        changes(&server, &version).await,
        expected.collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn nothing_is_created_in_a_namespace_that_terminates_meanwhile() {
    let data = tempfile::tempdir().unwrap();
    let store = FaultyStore::open(data.path());
    let (earlier, inner) = (Arc::clone(&store.earlier), Arc::new(store));
    let options = ServerOptions {
        data_dir: Some(data),
        store: Some(Arc::clone(&inner) as _),
        ..ServerOptions::default()
    };
    let server = Server::start_with(options).await.unwrap();
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}});
    assert_eq!(server.post("/api/v1/namespaces", &space).await.0, 201);
    let found = inner.get("/namespaces//x").await.unwrap().unwrap();
    let terminating = String::from_utf8(found.value.to_vec()).unwrap();
    let begin = r#""metadata":{"#;
    let deletion = format!(r#"{begin}"deletionTimestamp":"2026-01-01T00:00:00Z","#);
    let op = Op::Put(terminating.replacen(begin, &deletion, 1).into());
    let expect = Expect::At(found.mod_revision);
    *earlier.lock() = Some(Transaction::of(found.key, expect, op));
    let maps = "/api/v1/namespaces/x/configmaps";
    let (code, status) = server.post(maps, &map("m")).await;
    let cause = &status["details"]["causes"][0]["reason"];
    assert_eq!((code, cause), (403, &json!("NamespaceTerminating")));
    assert_eq!(server.get(&format!("{maps}/m")).await.0, 404);
}

/// A double whose followers hear of changes only some time after the next commit has ended.
#[derive(Debug)]
struct LateStore {
    inner: Double,
    held: Arc<Mutex<Held>>,
}

/// What followers have not heard of yet, while they are held up.
#[derive(Default)]
struct Held {
    is_holding: bool,
    batches: Vec<(Arc<dyn Follower>, Vec<Event>)>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

impl Store for LateStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>>> {
        self.inner.get(key)
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page>> {
        self.inner.range(range)
    }

    fn latest(&self) -> BoxFuture<'_, Result<Revision>> {
        self.inner.latest()
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision>> {
        Box::pin(async {
            let committed = self.inner.commit(transaction).await;
            let held = Arc::clone(&self.held);
            pandaemon_runtime::spawn("delivery", async move {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                let mut held = held.lock();
                held.is_holding = false;
                for (follower, batch) in held.batches.drain(..) {
                    follower.apply(&batch);
                }
            });
            committed
        })
    }

    fn follow(&self, from: Revision, follower: Arc<dyn Follower>) -> BoxFuture<'_, Result<()>> {
        let held = Arc::clone(&self.held);
        self.inner
            .follow(from, Arc::new(LateFollower { follower, held }))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

struct LateFollower {
    follower: Arc<dyn Follower>,
    held: Arc<Mutex<Held>>,
}

impl Follower for LateFollower {
    fn apply(&self, batch: &[Event]) {
        let mut held = self.held.lock();
        if held.is_holding {
            let follower = Arc::clone(&self.follower);
            held.batches.push((follower, batch.to_vec()));
        } else {
            self.follower.apply(batch);
        }
    }

    fn end(&self, why: Error) {
        self.follower.end(why);
    }
}

/// A server on such a store, and the store.
async fn on_late_store() -> (Server, Arc<LateStore>) {
    let store = Arc::new(LateStore {
        inner: Double::new(Faults::default(), 1),
        held: Arc::default(),
    });
    let options = ServerOptions {
        store: Some(Arc::clone(&store) as _),
        ..ServerOptions::default()
    };
    (Server::start_with(options).await.unwrap(), store)
}

/// Deletes the object under a key. The server hears of it when its next write has met it.
async fn delete_unseen(store: &LateStore, key: &str) -> Entry {
    store.held.lock().is_holding = true;
    let double = &store.inner;
    let found = double.entries(key).remove(0);
    let expect = Expect::At(found.mod_revision);
    let deletion = Transaction::of(found.key.clone(), expect, Op::Delete);
    double.commit(deletion).await.unwrap();
    found
}

#[tokio::test]
async fn a_write_that_meets_a_deletion_sees_it() {
    let (server, store) = on_late_store().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "x"}, "spec": {"holderIdentity": "me"}});
    let (merge, apply) = (
        "application/merge-patch+json",
        "application/apply-patch+yaml",
    );
    for (collection, key, method, form, body, code) in [
        (MAPS, "/configmaps/default/x", "PUT", "", map("x"), 404),
        (
            MAPS,
            "/configmaps/default/x",
            "PATCH",
            merge,
            json!({"data": {"a": "c"}}),
            404,
        ),
        (
            MAPS,
            "/configmaps/default/x",
            "DELETE",
            "",
            Value::Null,
            404,
        ),
        (MAPS, "/configmaps/default/x", "PATCH", apply, map("x"), 201),
        (
            leases,
            "/coordination.k8s.io/leases/default/x",
            "PUT",
            "",
            lease.clone(),
            201,
        ),
    ] {
        let object = if collection == leases {
            lease.clone()
        } else {
            map("x")
        };
        let (made, _) = server.post(collection, &object).await;
        assert!(matches!(made, 201 | 409), "{made}");
        let current = server.get(&format!("{collection}/x")).await.1;
        let mut body = body;
        if method == "PUT" {
            // A write that changes nothing is none.
            body["metadata"]["labels"] = json!({"new": "label"});
        }
        if collection == leases {
            body["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
        }
        delete_unseen(&store, key).await;
        let path = format!("{collection}/x?fieldManager=m");
        let (found, answer) = server.send(method, &path, form, &body).await;
        assert_eq!(found, code, "{method} {form}: {answer}");
    }
}

#[tokio::test]
async fn a_write_about_a_deleted_object_does_not_change_its_successor() {
    let (server, store) = on_late_store().await;
    for (method, with_uid, code) in [
        ("PUT", true, 409),
        ("PUT", false, 200),
        ("DELETE", true, 409),
    ] {
        server.post(MAPS, &map("x")).await;
        let mut old = server.get(&format!("{MAPS}/x")).await.1;
        let uid = old["metadata"]["uid"].clone();
        let entry = delete_unseen(&store, "/configmaps/default/x").await;
        let stored = String::from_utf8(entry.value.to_vec()).unwrap();
        let successor = stored.replace(uid.as_str().unwrap(), "successor");
        let creation = Transaction::of(entry.key, Expect::Absent, Op::Put(successor.into()));
        store.inner.commit(creation).await.unwrap();
        old["metadata"]["resourceVersion"] = Value::Null;
        if !with_uid {
            old["metadata"]["uid"] = Value::Null;
        }
        old["data"]["a"] = "changed".into();
        if method == "DELETE" {
            old = json!({"preconditions": {"uid": uid}});
        }
        let path = format!("{MAPS}/x");
        let (found, answer) = server.send(method, &path, "", &old).await;
        assert_eq!(found, code, "{method}: {answer}");
        let now = server.get(&path).await.1;
        let changed = json!(if with_uid { "b" } else { "changed" });
        assert_eq!(
            (&now["metadata"]["uid"], &now["data"]["a"]),
            (&json!("successor"), &changed)
        );
        assert_eq!(server.send("DELETE", &path, "", &Value::Null).await.0, 200);
    }
}

/// Changes every byte of a value.
#[derive(Debug)]
struct Inverted;

impl Transformer for Inverted {
    fn transform_to_storage(&self, _: &str, value: &bytes::Bytes) -> Result<bytes::Bytes> {
        Ok(value.iter().map(|byte| !byte).collect())
    }

    fn transform_from_storage(&self, key: &str, value: &bytes::Bytes) -> Result<bytes::Bytes> {
        self.transform_to_storage(key, value)
    }
}

#[tokio::test]
async fn values_can_be_stored_in_another_form() {
    let double = Double::new(Faults::default(), 1);
    let start = || {
        let store = Transformed::new(Arc::new(double.clone()), Arc::new(Inverted));
        Server::start_with(ServerOptions {
            store: Some(Arc::new(store)),
            ..ServerOptions::default()
        })
    };
    let server = start().await.unwrap();
    assert_eq!(server.post(MAPS, &map("x")).await.0, 201);
    let stored = double.entries("/configmaps/default/x");
    assert!(stored[0].value.iter().all(|byte| !byte.is_ascii()));
    // Another server reads what this one has written, and this one what the other writes.
    let other = start().await.unwrap();
    let path = format!("{MAPS}/x");
    let (_, found) = other.get(&path).await;
    assert_eq!(found, server.get(&path).await.1);
    let version = version_of(&server).await;
    let (code, _) = other.send("DELETE", &path, "", &Value::Null).await;
    assert_eq!(code, 200);
    assert_eq!(changes(&server, &version).await, ["DELETED x"]);
}
