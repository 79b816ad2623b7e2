//! Tests of the loop against a server of two kinds, in simulated time.

use std::time::Duration;

use http::{Method, Request, Response, Uri};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::BoxError;

use super::*;

/// Serves configmaps and widgets. Widgets cannot be listed.
#[derive(Default)]
struct FakeServer {
    began: Option<Instant>,
    /// How many requests for the groups were answered; further ones never are.
    discoveries: Option<u32>,
    /// When a configmap appears whose owner never existed.
    child_after: Duration,
    /// When it was deleted, since the start.
    deleted_after: Option<Duration>,
}

fn child() -> Value {
    let ghost = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "ghost", "uid": "ghost" });
    json!({ "metadata": { "name": "child", "namespace": "a", "uid": "child",
        "resourceVersion": "7", "ownerReferences": [ghost] } })
}

fn resources(names: [&str; 1], kind: &str) -> Value {
    let verbs = ["list", "watch", "delete"];
    let all =
        names.map(|name| json!({ "name": name, "kind": kind, "namespaced": true, "verbs": verbs }));
    json!({ "resources": all })
}

fn not_found() -> (u16, String) {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
        "reason": "NotFound", "message": "not found" });
    (404, status.to_string())
}

async fn answer(server: &Mutex<FakeServer>, method: Method, uri: Uri) -> (u16, String) {
    let path = uri.path();
    let query = uri.query().unwrap_or_default();
    let (began, child_after) = {
        let server = server.lock();
        (
            server.began.unwrap_or_else(Instant::now),
            server.child_after,
        )
    };
    let ok = |object: Value| (200, object.to_string());
    match path {
        "/api" => ok(json!({ "versions": ["v1"] })),
        "/apis" => {
            let is_answered = match &mut server.lock().discoveries {
                Some(0) => false,
                Some(left) => {
                    *left -= 1;
                    true
                }
                None => true,
            };
            if !is_answered {
                std::future::pending::<()>().await;
            }
            ok(json!({ "groups": [{ "preferredVersion": { "groupVersion": "e.io/v1" } }] }))
        }
        "/api/v1" => ok(resources(["configmaps"], "ConfigMap")),
        "/apis/e.io/v1" => ok(resources(["widgets"], "Widget")),
        "/api/v1/configmaps" if query.contains("sendInitialEvents") => (
            400,
            json!({ "kind": "Status", "code": 400, "status": "Failure" }).to_string(),
        ),
        "/api/v1/configmaps" if query.contains("watch=") => {
            tokio::time::sleep(Duration::from_secs(20)).await;
            if began.elapsed() < child_after {
                return (200, String::new());
            }
            let line = json!({ "type": "ADDED", "object": child() });
            (200, format!("{line}\n"))
        }
        "/api/v1/configmaps" => {
            let items = if child_after.is_zero() {
                vec![child()]
            } else {
                Vec::new()
            };
            ok(json!({ "metadata": { "resourceVersion": "5" }, "items": items }))
        }
        "/api/v1/namespaces/a/configmaps/child" if method == Method::DELETE => {
            server.lock().deleted_after.get_or_insert(began.elapsed());
            ok(json!({}))
        }
        "/api/v1/namespaces/a/configmaps/child" => ok(child()),
        _ => not_found(),
    }
}

/// Runs the collector for some simulated time; when it deleted the child.
async fn deleted_after(server: FakeServer, most: Duration) -> Option<Duration> {
    let began = Some(Instant::now());
    let server = Arc::new(Mutex::new(FakeServer { began, ..server }));
    let asked = Arc::clone(&server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let asked = Arc::clone(&asked);
        async move {
            let (parts, _) = request.into_parts();
            let (code, text) = answer(&asked, parts.method, parts.uri).await;
            let response = Response::builder().status(code);
            Ok::<_, BoxError>(response.body(Body::from(text.into_bytes()))?)
        }
    });
    let client = Client::new(service, "default");
    let stop = Shutdown::default();
    let shared = SharedInformers::start(&client, &stop);
    let running = run(client, shared, stop.clone());
    drop(tokio::time::timeout(most, running).await);
    stop.trigger();
    server.lock().deleted_after
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_cannot_be_listed_does_not_keep_the_others_from_being_collected() {
    let deleted = deleted_after(FakeServer::default(), 2 * INITIAL_SYNC_TIMEOUT).await;
    let after = deleted.expect("the child is deleted");
    assert!(
        after >= INITIAL_SYNC_TIMEOUT,
        "every kind may be listed until then: {after:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn discovery_without_an_answer_holds_up_nothing_else() {
    let server = FakeServer {
        discoveries: Some(1),
        child_after: DISCOVERY_PERIOD + Duration::from_secs(5),
        ..FakeServer::default()
    };
    // The second discovery began before the child appeared.
    let deleted = deleted_after(server, Duration::from_secs(50)).await;
    assert!(deleted.is_some(), "the child is deleted meanwhile");
}
