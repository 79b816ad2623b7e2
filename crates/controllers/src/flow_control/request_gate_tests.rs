//! The gate against servers that refuse, wait or never end a reply.

use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use tokio::sync::Semaphore;

use super::*;

/// A server that answers so many requests with 429; returns counters of requests and of the
/// most at once.
fn server(refusals: usize) -> (Client, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (asked, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let under_way = Arc::new(AtomicUsize::new(0));
    let (count, peak) = (Arc::clone(&asked), Arc::clone(&most));
    let service = tower::service_fn(move |_: Request<Body>| {
        let (count, peak, under_way) = (count.clone(), peak.clone(), under_way.clone());
        async move {
            let nth = count.fetch_add(1, Ordering::SeqCst);
            peak.fetch_max(
                under_way.fetch_add(1, Ordering::SeqCst) + 1,
                Ordering::SeqCst,
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
            under_way.fetch_sub(1, Ordering::SeqCst);
            let status = if nth < refusals { 429 } else { 200 };
            let answer = Response::builder()
                .status(status)
                .header("Retry-After", "0");
            Ok::<_, BoxError>(answer.body(Body::from(b"{}".to_vec())).unwrap())
        }
    });
    (Client::new(service, "default"), asked, most)
}

/// A server that lets a request pass for each permit of `passes`, and records their paths.
fn slow_server(passes: &Arc<Semaphore>) -> (Client, Arc<Mutex<Vec<String>>>) {
    let paths = Arc::new(Mutex::new(Vec::new()));
    let (seen, passes) = (Arc::clone(&paths), Arc::clone(passes));
    let service = tower::service_fn(move |request: Request<Body>| {
        seen.lock().push(request.uri().path().to_owned());
        let passes = Arc::clone(&passes);
        async move {
            passes.acquire().await.unwrap().forget();
            Ok::<_, BoxError>(Response::new(Body::from(b"{}".to_vec())))
        }
    });
    (Client::new(service, "default"), paths)
}

/// Sends a request in a task of its own.
fn send(client: &Client, path: &str, priority: Option<u8>) -> tokio::task::JoinHandle<Option<()>> {
    let mut request = Request::post(path).body(Vec::new()).unwrap();
    if let Some(priority) = priority {
        request.extensions_mut().insert(RequestPriority(priority));
    }
    let client = client.clone();
    pandaemon_runtime::spawn("request", async move {
        client.request::<serde_json::Value>(request).await.unwrap();
    })
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// The order in which requests reach the server while others are under way.
async fn order(gate: RequestGate, first: usize) -> Vec<String> {
    let passes = Arc::new(Semaphore::new(0));
    let (inner, paths) = slow_server(&passes);
    let client = gate.client(inner);
    let mut tasks = Vec::new();
    for index in 0..first {
        tasks.push(send(&client, "/first", None));
        until(|| paths.lock().len() == index + 1).await;
    }
    let later = [("/usual", None), ("/cluster", Some(1)), ("/node", Some(0))];
    for (waiting, (path, priority)) in (1..).zip(later) {
        tasks.push(send(&client, path, priority));
        until(|| gate.0.state.lock().waiting.len() == waiting).await;
    }
    passes.add_permits(10);
    for task in tasks {
        task.await.unwrap();
    }
    paths.lock().split_off(first)
}

const ONE: Bounds = Bounds {
    min: 1,
    start: 1,
    max: 1,
};

#[tokio::test]
async fn waiting_requests_are_sent_by_priority() {
    let expected = ["/node", "/cluster", "/usual"];
    assert_eq!(order(gate(ONE, Fence::open()), 1).await, expected);
    // The same when the cap and not the concurrency is what requests wait for.
    let cap = TokenBucket::new(5.0, 2);
    let metrics = ControllerMetrics::default();
    let gate = RequestGate::new(Bounds::default(), cap, Fence::open(), metrics);
    assert_eq!(order(gate, 2).await, expected);
}

fn post() -> Request<Vec<u8>> {
    let body = b"{\"a\":1}".to_vec();
    Request::post("/api/v1/namespaces/a/pods")
        .body(body)
        .unwrap()
}

fn gate(bounds: Bounds, fence: Fence) -> RequestGate {
    RequestGate::new(bounds, None, fence, ControllerMetrics::default())
}

#[tokio::test]
async fn a_request_answered_with_429_is_sent_again() {
    let (inner, asked, _) = server(3);
    let client = gate(Bounds::default(), Fence::open()).client(inner);
    client.request::<serde_json::Value>(post()).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn requests_under_way_never_exceed_the_limit() {
    let (inner, asked, most) = server(0);
    let bounds = Bounds {
        min: 5,
        start: 5,
        max: 5,
    };
    let client = gate(bounds, Fence::open()).client(inner);
    let all = (0..100).map(|_| client.request::<serde_json::Value>(post()));
    for answer in futures::future::join_all(all).await {
        answer.unwrap();
    }
    assert_eq!(
        (asked.load(Ordering::SeqCst), most.load(Ordering::SeqCst)),
        (100, 5)
    );
}

#[tokio::test]
async fn only_a_leader_changes_anything() {
    let (inner, asked, _) = server(0);
    let fence = Fence::shut();
    let client = gate(Bounds::default(), fence.clone()).client(inner);
    let refused = client.request::<serde_json::Value>(post()).await;
    assert!(refused.unwrap_err().to_string().contains("not the leader"));
    let read = Request::get("/api/v1/nodes?watch=true")
        .body(Vec::new())
        .unwrap();
    client.request::<serde_json::Value>(read).await.unwrap();
    fence.extend(tokio::time::Instant::now() + Duration::from_secs(10));
    client.request::<serde_json::Value>(post()).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_reply_whose_body_never_ends_is_given_up() {
    let service = tower::service_fn(|_: Request<Body>| async {
        let frames = futures::stream::pending::<Result<Frame<Bytes>, BoxError>>();
        Ok::<_, BoxError>(Response::new(StreamBody::new(frames)))
    });
    let fence = Fence::shut();
    fence.extend(tokio::time::Instant::now() + Duration::from_millis(50));
    let gate = gate(ONE, fence);
    let client = gate.client(Client::new(service, "default"));
    let refused = client.request::<serde_json::Value>(post()).await;
    assert!(refused.unwrap_err().to_string().contains("no answer"));
    assert_eq!(gate.0.state.lock().limiter.under_way(), 0);
}

#[tokio::test]
async fn a_request_given_up_while_waiting_frees_its_slot() {
    let (inner, asked, _) = server(0);
    let bounds = Bounds {
        min: 1,
        start: 1,
        max: 1,
    };
    let gate = gate(bounds, Fence::open());
    let client = gate.client(inner);
    for _ in 0..10 {
        let impatient = client.request::<serde_json::Value>(post());
        let patient = client.request::<serde_json::Value>(post());
        let impatient = tokio::time::timeout(Duration::from_micros(100), impatient);
        let (_, answer) = futures::future::join(impatient, patient).await;
        answer.unwrap();
    }
    assert!(asked.load(Ordering::SeqCst) >= 10);
    assert_eq!(gate.0.state.lock().limiter.under_way(), 0);
}
