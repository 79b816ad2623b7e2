//! A client whose requests are answered by a function, for tests of requests without a cluster.

use std::sync::Arc;

use http::{Request, Response};
use kube::{Client, client::Body};
use parking_lot::Mutex;
use serde_json::Value;
use tower::BoxError;

/// A request as a test sees it: method, path and body.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: String,
}

/// A client whose requests are answered with a status code and an object, and what it has sent.
pub(crate) fn client(
    answer: impl Fn(&Sent) -> (u16, Value) + Clone + Send + Sync + 'static,
) -> (Client, Arc<Mutex<Vec<Sent>>>) {
    let all = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&all);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (answer, record) = (answer.clone(), Arc::clone(&record));
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let sent = Sent {
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                body: String::from_utf8_lossy(&body).into_owned(),
            };
            let (code, object) = answer(&sent);
            record.lock().push(sent);
            let text = object.to_string().into_bytes();
            let response = Response::builder().status(code).body(Body::from(text));
            Ok::<_, BoxError>(response?)
        }
    });
    (Client::new(service, "default"), all)
}

/// The Status of a refused request.
pub(crate) fn refused() -> (u16, Value) {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
        "reason": "Forbidden", "message": "refused by the test",
    });
    (403, status)
}
