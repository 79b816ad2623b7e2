//! A store whose writer has died, and a watch cache that cannot apply a change: nothing old is
//! shown, nothing hangs, and the process says that it has to be started again.

use std::{
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::Duration,
};

use http::Request;
use http_body_util::BodyExt as _;
use pandaemon_store::{Embedded, Error, Options};
use pandaemon_testkit::ServerOptions;
use serde_json::{Value, json};

use crate::{
    faults::FaultyStore,
    harness::{Server, json_of},
};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// How long an answer may take: longer than a read waits for a revision.
const LIMIT: Duration = Duration::from_secs(20);

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

/// What is asked for after the death.
fn requests(token: &str) -> Vec<(&'static str, String, Value)> {
    let patch = json!({"data": {"a": "c"}});
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let get = |query: &str| ("GET", format!("{MAPS}{query}"), Value::Null);
    vec![
        get("/m0"),
        get("/missing"),
        get(""),
        get("?resourceVersion=0"),
        get("?resourceVersion=1&resourceVersionMatch=NotOlderThan"),
        get("?resourceVersion=99999999999"),
        get("?limit=1"),
        get(&format!("?limit=1&continue={token}")),
        get("?watch=true"),
        get("?watch=true&resourceVersion=0"),
        get("?watch=true&resourceVersion=1"),
        get(
            "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
        ),
        ("POST", MAPS.into(), map("later")),
        ("PUT", format!("{MAPS}/m0"), map("m0")),
        ("PATCH", format!("{MAPS}/m0"), patch),
        ("DELETE", format!("{MAPS}/m0"), Value::Null),
        ("DELETE", MAPS.into(), Value::Null),
        ("POST", reviews.into(), review),
        ("POST", "/pandaemon/v1/rotate-keys".into(), Value::Null),
    ]
}

/// A server with objects, an open watch, a list in pages and a read that waits; then its store or
/// its cache dies.
struct Dying {
    server: Server,
    store: Arc<FaultyStore>,
    watch: kube::client::Body,
    token: String,
}

impl Dying {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = Arc::new(FaultyStore::open(data.path()));
        let options = ServerOptions {
            data_dir: Some(data),
            store: Some(Arc::clone(&store) as _),
            ..ServerOptions::default()
        };
        let server = Server::start_with(options).await.unwrap();
        for name in ["m0", "m1", "m2"] {
            assert_eq!(server.post(MAPS, &map(name)).await.0, 201);
        }
        let (_, page) = server.get(&format!("{MAPS}?limit=1")).await;
        let token = page["metadata"]["continue"].as_str().unwrap().to_owned();
        let watch = Request::get(format!("{MAPS}?watch=true"));
        let watch = watch.body(kube::client::Body::empty()).unwrap();
        let watch = server.client().send(watch).await.unwrap().into_body();
        Self {
            server,
            store,
            watch,
            token,
        }
    }

    /// Lets it die with a last write, and checks what follows.
    async fn die(self, with: impl Fn(&FaultyStore) -> &Arc<AtomicBool>, why: &str) {
        let Self {
            mut server,
            store,
            watch,
            token,
        } = self;
        let waiting = format!("{MAPS}?resourceVersion=99999999999");
        let waiting = server.get(&waiting);
        let last = async {
            tokio::task::yield_now().await;
            with(&store).store(true, Ordering::Relaxed);
            server.post(MAPS, &map("last")).await
        };
        let both = async { tokio::join!(waiting, last) };
        let ((code, status), (last, _)) = tokio::time::timeout(LIMIT, both).await.unwrap();
        assert_eq!(last, 201, "it is stored");
        assert_eq!(code, 500, "{status}");
        let failed = tokio::time::timeout(LIMIT, server.running().failed()).await;
        assert_eq!(failed, Ok("watch-cache"));

        let rest = tokio::time::timeout(LIMIT, watch.collect()).await.unwrap();
        let rest = String::from_utf8(rest.unwrap().to_bytes().to_vec()).unwrap();
        let end = json_of(rest.lines().last().unwrap());
        assert_eq!(
            (&end["type"], &end["object"]["code"]),
            (&json!("ERROR"), &json!(500))
        );
        let text = format!(
            "Internal error occurred: the watch cache has stopped, and the server answers no more: {why}; \
             restart the server"
        );
        assert_eq!(end["object"]["message"], *text);
        for (method, path, body) in requests(&token) {
            let content_type = match method {
                "PATCH" => "application/merge-patch+json",
                _ => "application/json",
            };
            let answer = server.text(method, &path, content_type, &body);
            let (code, answer) = tokio::time::timeout(LIMIT, answer).await.unwrap();
            assert_eq!(code, 500, "{method} {path}: {answer}");
            let status = json_of(&answer);
            assert_eq!(status["message"], *text, "{method} {path}");
            assert_eq!(status["reason"], "InternalError");
        }
        for path in ["/livez", "/readyz", "/healthz"] {
            let (code, report) = server.get_text(path).await;
            let line = format!("[-]watch-cache failed: {why}: restart the server\n");
            assert!(code == 500 && report.contains(&line), "{path}: {report}");
        }
        for path in ["/api", "/apis", "/apis/apps/v1", "/version", "/metrics"] {
            assert_eq!(server.get_text(path).await.0, 200, "{path}");
        }
        tokio::time::timeout(LIMIT, server.stop()).await.unwrap();
        // No other process gets the directory before this one is over.
        let directory = pandaemon_testkit::Server::store_dir(server.data_dir());
        let other = Embedded::open(directory, Options::default());
        assert!(matches!(other, Err(Error::Locked(_))), "{other:?}");
    }
}

#[tokio::test]
async fn a_store_whose_writer_has_died_is_answered_with_500() {
    let dying = Dying::start().await;
    dying
        .die(
            |store| &store.kills_writer,
            "the writer of the store panicked",
        )
        .await;
}

#[tokio::test]
async fn a_panic_of_the_watch_cache_is_reported_and_no_request_hangs() {
    let dying = Dying::start().await;
    dying
        .die(|store| &store.panics, "the follower panicked")
        .await;
}
