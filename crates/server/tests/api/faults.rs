//! A store that refuses writes: the status of requests, readiness, and recovery.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::future::BoxFuture;
use pandaemon_store::{Embedded, Error, Feed, Options, Result, Revision, Snapshot, Store, Write};
use pandaemon_testkit::ServerOptions;
use serde_json::{Value, json};

use crate::harness::Server;

/// A store that can be switched to refuse writes.
#[derive(Debug)]
struct FaultyStore {
    inner: Embedded,
    full: Arc<AtomicBool>,
}

impl Store for FaultyStore {
    fn commit(&self, write: Write) -> BoxFuture<'_, Result<Revision>> {
        if self.full.load(Ordering::Relaxed) {
            let full = Error::Storage("no space left on device".into());
            return Box::pin(std::future::ready(Err(full)));
        }
        self.inner.commit(write)
    }

    fn snapshot(&self) -> Snapshot {
        self.inner.snapshot()
    }

    fn follow(&self, from: Revision) -> Result<Box<dyn Feed>> {
        self.inner.follow(from)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

#[tokio::test]
async fn a_store_that_refuses_writes_still_serves_reads() {
    let data = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let inner = Embedded::open(data.path().join("store"), Options::default()).unwrap();
    let store = FaultyStore {
        inner,
        full: Arc::clone(&full),
    };
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
