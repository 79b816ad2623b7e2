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
    Batch, Embedded, Error, Feed, Options, Result, Revision, Snapshot, Store, Write,
};
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

/// A feed that panics when it is asked for the next batch after `panics` was set.
struct PanickingFeed {
    inner: Box<dyn Feed>,
    panics: Arc<AtomicBool>,
}

impl Feed for PanickingFeed {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch>> {
        assert!(!self.panics.load(Ordering::Relaxed), "a bug in the feed");
        self.inner.next()
    }
}

/// A store whose feed can be made to panic.
#[derive(Debug)]
struct PanickingStore {
    inner: Embedded,
    panics: Arc<AtomicBool>,
}

impl Store for PanickingStore {
    fn commit(&self, write: Write) -> BoxFuture<'_, Result<Revision>> {
        self.inner.commit(write)
    }

    fn snapshot(&self) -> Snapshot {
        self.inner.snapshot()
    }

    fn follow(&self, from: Revision) -> Result<Box<dyn Feed>> {
        Ok(Box::new(PanickingFeed {
            inner: self.inner.follow(from)?,
            panics: Arc::clone(&self.panics),
        }))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

#[tokio::test]
async fn a_panic_of_the_watch_cache_is_reported_and_no_request_hangs() {
    let data = tempfile::tempdir().unwrap();
    let panics = Arc::new(AtomicBool::new(false));
    let store = PanickingStore {
        inner: Embedded::open(data.path().join("store"), Options::default()).unwrap(),
        panics: Arc::clone(&panics),
    };
    let options = ServerOptions {
        data_dir: Some(data),
        store: Some(Arc::new(store)),
        ..ServerOptions::default()
    };
    let server = Server::start_with(options).await.unwrap();
    panics.store(true, Ordering::Relaxed);
    let space =
        |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    // The feed delivers the first write and panics then.
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
