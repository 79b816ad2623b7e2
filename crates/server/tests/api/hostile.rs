//! Invalid input over TLS: each case gets an error status, and other clients are served meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, join_all};
use pandaemon_machinery::status::Result;
use pandaemon_server::admission::{Attributes, Operation, Plugin, Rule, done};
use pandaemon_testkit::ServerOptions;
use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use crate::{
    harness::{Server, json_of},
    wire,
};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// The server's `MAX_BODY`.
const LIMIT: usize = 3 << 20;

/// Sends raw bytes. Returns code and body of the response; 0 without a response.
async fn raw(server: &Server, request: &[u8]) -> (u16, String) {
    let (mut stream, mut answer) = (wire::tls(server, None).await, Vec::new());
    // The server may close the connection before it has read everything.
    let _refused = stream.write_all(request).await;
    let read = timeout(Duration::from_secs(30), async {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut piece).await {
            answer.extend_from_slice(&piece[..length]);
        }
    });
    read.await.expect("an answer and the end");
    let text = String::from_utf8_lossy(&answer);
    let code = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (code.unwrap_or(0), body.to_owned())
}

fn head(server: &Server, method: &str, path: &str, more: &str) -> String {
    let token = server.running().admin_token();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n{more}\r\n"
    )
}

async fn post(server: &Server, body: &[u8]) -> (u16, String) {
    let length = format!(
        "content-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    let mut request = head(server, "POST", MAPS, &length).into_bytes();
    request.extend_from_slice(body);
    raw(server, &request).await
}

async fn assert_serves(server: &Server) {
    let start = Instant::now();
    assert_eq!(server.get("/api/v1/namespaces/default").await.0, 200);
    assert_eq!(
        raw(server, head(server, "GET", "/readyz", "").as_bytes())
            .await
            .0,
        200
    );
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "other requests wait"
    );
}

fn assert_too_large((code, body): &(u16, String)) {
    let status: Value = json_of(body);
    assert_eq!(
        (*code, &status["reason"]),
        (413, &json!("RequestEntityTooLarge"))
    );
    assert_eq!(status["kind"], "Status");
    assert_eq!(
        status["message"],
        "Request entity too large: limit is 3145728"
    );
}

#[tokio::test]
async fn too_large_bodies_get_413() {
    let server = Server::start().await;
    assert_too_large(&post(&server, &vec![b' '; LIMIT + 1]).await);
    // Announced by Content-Length and never sent.
    let announced = head(&server, "POST", MAPS, "content-length: 1000000000000\r\n");
    assert_too_large(&raw(&server, announced.as_bytes()).await);
    // Chunked, without a Content-Length.
    let mut chunked = head(&server, "POST", MAPS, "transfer-encoding: chunked\r\n").into_bytes();
    for _ in 0..=LIMIT >> 16 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend_from_slice(&[b' '; 1 << 16]);
        chunked.extend_from_slice(b"\r\n");
    }
    assert_too_large(&raw(&server, &chunked).await);
    assert_serves(&server).await;
}

#[tokio::test]
async fn malformed_bodies_get_a_status() {
    let server = Server::start().await;
    let map = |data: &str| {
        format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"m"}},{data}}}"#)
    };
    let deep = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
    let cases: [(&str, Vec<u8>); 10] = [
        ("empty", Vec::new()),
        ("cut off", map(r#""data":{"a":"#).into_bytes()),
        ("no JSON", b"\0\x01\x02 hello".to_vec()),
        ("no object", b"[1, 2]".to_vec()),
        ("arrays in arrays", deep("[", "]").into_bytes()),
        (
            "objects in objects",
            map(&format!(
                "\"data\":{}1{}",
                "{\"a\":".repeat(50_000),
                "}".repeat(50_000)
            ))
            .into_bytes(),
        ),
        (
            "a number without end",
            map(&format!("\"data\":{{\"a\":{}}}", "9".repeat(100_000))).into_bytes(),
        ),
        (
            "a number too large",
            map("\"immutable\":1e999999").into_bytes(),
        ),
        ("wrong type", map("\"data\":7").into_bytes()),
        (
            "not UTF-8",
            [map("\"data\":{\"a\":\"").as_bytes(), b"\xff\xfe\"}}"].concat(),
        ),
    ];
    for (name, body) in cases {
        let (code, body) = post(&server, &body).await;
        let status = json_of(&body);
        assert!(code == 400 || code == 422, "{name}: {code} {body}");
        assert_eq!(status["kind"], "Status", "{name}: {body}");
        assert!(
            body.len() < 200_000,
            "{name}: {} bytes of answer",
            body.len()
        );
    }
    assert_serves(&server).await;
}

/// Sends the largest and smallest numbers in each of these parameters.
async fn assert_no_number_breaks(server: &Server, method: &str, path: &str, names: &[&str]) {
    let numbers = [
        u64::MAX.to_string(),
        i64::MAX.to_string(),
        i64::MIN.to_string(),
    ];
    for (name, number) in names
        .iter()
        .flat_map(|name| numbers.iter().map(move |n| (name, n)))
    {
        let (code, answer) = server
            .send(method, &format!("{path}{name}={number}"), "", &Value::Null)
            .await;
        let is_refused = number.parse::<i64>().is_err() && *name != "resourceVersion";
        let expected = format!("strconv.ParseInt: parsing \"{number}\": value out of range");
        assert!(
            code < 500 || code == 504,
            "{name}={number}: {code} {answer}"
        );
        if is_refused {
            assert_eq!(
                (code, &answer["message"]),
                (400, &json!(expected)),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn no_number_of_a_query_is_too_large() {
    let server = Server::start().await;
    let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "finalizers": ["x/y"]}});
    assert_eq!(server.post(MAPS, &map("m")).await.0, 201);
    let list = format!("{MAPS}?");
    assert_no_number_breaks(&server, "GET", &list, &["limit", "timeoutSeconds"]).await;
    let ends = format!("{MAPS}?watch=true&timeoutSeconds=-1&");
    assert_no_number_breaks(&server, "GET", &ends, &["limit", "resourceVersion"]).await;
    let delete = format!("{MAPS}/m?");
    assert_no_number_breaks(&server, "DELETE", &delete, &["gracePeriodSeconds"]).await;
    // A watch that is to last for ever begins, and leaves no watcher behind.
    for (seconds, expected) in [(u64::MAX.to_string(), 400), (i64::MAX.to_string(), 200)] {
        let path = format!("{MAPS}?watch=true&timeoutSeconds={seconds}");
        let request = http::Request::get(path).body(kube::client::Body::empty());
        let answer = server.client().send(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), expected);
    }
    let (_, metrics) = server.get_text("/metrics").await;
    let mut watchers = metrics
        .lines()
        .filter(|line| line.starts_with("apiserver_registered_watchers{"));
    let watchers = watchers.find(|line| line.contains("\"configmaps\""));
    assert!(
        watchers.is_some_and(|line| line.ends_with(" 0")),
        "{watchers:?}"
    );
}

#[tokio::test]
async fn too_large_heads_get_an_error() {
    let server = Server::start().await;
    let many: String = (0..20_000).map(|at| format!("x-{at}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(1 << 20));
    let path = format!("{MAPS}?{}", "a".repeat(1 << 20));
    for request in [
        head(&server, "GET", MAPS, &many),
        head(&server, "GET", MAPS, &long),
        head(&server, "GET", &path, ""),
        "nonsense\r\n\r\n".repeat(1000),
        "\0".repeat(10_000),
    ] {
        let (code, body) = raw(&server, request.as_bytes()).await;
        assert!(code == 0 || (400..500).contains(&code), "{code} {body}");
    }
    assert_serves(&server).await;
}

/// Opens connections that send this text and nothing more.
async fn stalled(server: &Server, text: &str, count: usize) -> Vec<TlsStream<TcpStream>> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = wire::tls(server, None).await;
        stream.write_all(text.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    streams
}

#[tokio::test]
async fn stalled_connections_do_not_delay_others_and_are_closed() {
    let server = Server::start().await;
    let address = server.running().address();
    let no_handshake = TcpStream::connect(address).await.unwrap();
    let mut streams = stalled(&server, "", 20).await;
    streams.extend(stalled(&server, "P", 20).await);
    streams.extend(stalled(&server, "PRI * HTTP/2.0\r\n", 20).await);
    streams.extend(stalled(&server, "GET /version HTTP/1.1\r\nhost: x\r\nx-", 20).await);
    let body = head(&server, "POST", MAPS, "content-length: 100\r\n") + "{";
    let _slow_bodies = stalled(&server, &body, 20).await;
    assert_serves(&server).await;
    let since = Instant::now();
    for mut stream in streams {
        let mut rest = Vec::new();
        // Some connections are closed without a TLS close_notify, which is an error here.
        let ended = timeout(Duration::from_secs(25), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "a connection is kept");
        assert!(
            since.elapsed() < Duration::from_secs(30),
            "connections are kept"
        );
    }
    let mut byte = [0];
    let ended = timeout(Duration::from_secs(10), no_handshake.peek(&mut byte)).await;
    assert!(ended.is_ok(), "a connection without TLS is kept");
    assert_serves(&server).await;
}

/// How long a thread is held at most, so that the test ends.
const HELD: Duration = Duration::from_secs(30);

/// A plugin that holds the thread of each large object until it may go on.
#[derive(Debug, Default)]
struct Holder {
    running: AtomicUsize,
    most: AtomicUsize,
    may_go_on: Mutex<bool>,
    changed: Condvar,
}

impl Plugin for Holder {
    fn name(&self) -> &'static str {
        "Holder"
    }

    fn rules(&self) -> Vec<Rule> {
        vec![Rule::new(&[Operation::Create], "", &["configmaps"]).reads(&["/data"])]
    }

    fn validate<'a>(&'a self, _: Attributes<'a>, map: &'a Value) -> BoxFuture<'a, Result<()>> {
        if map["data"]["large"].is_string() {
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(running, Ordering::SeqCst);
            let mut may_go_on = self.may_go_on.lock();
            while !*may_go_on {
                let waited = self.changed.wait_for(&mut may_go_on, HELD);
                assert!(!waited.timed_out(), "nothing else was done");
            }
            self.running.fetch_sub(1, Ordering::SeqCst);
        }
        done(Ok(()))
    }
}

/// All of the server's async work is on the one thread of this test.
#[tokio::test]
async fn large_requests_hold_no_async_worker_and_run_as_many_as_there_are_cores() {
    let holder = Arc::new(Holder::default());
    let options = ServerOptions {
        admission: vec![Arc::<Holder>::clone(&holder)],
        ..ServerOptions::default()
    };
    let server = Arc::new(Server::start_with(options).await.unwrap());
    let cores = thread::available_parallelism().unwrap().get();
    let text = "x".repeat(100_000);
    let map = |name: &str, data: Value| json!({"metadata": {"name": name}, "data": data});
    let large = (0..cores + 2).map(|at| {
        let (server, map) = (
            Arc::clone(&server),
            map(&format!("l{at}"), json!({"large": text})),
        );
        pandaemon_runtime::spawn("large", async move { server.post(MAPS, &map).await.0 })
    });
    let large: Vec<_> = large.collect();
    let since = Instant::now();
    while holder.running.load(Ordering::SeqCst) < cores {
        assert!(since.elapsed() < HELD, "they run one by one");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for at in 0..20 {
        let small = map(&format!("s{at}"), json!({"small": "x"}));
        assert_eq!(server.post(MAPS, &small).await.0, 201);
    }
    *holder.may_go_on.lock() = true;
    holder.changed.notify_all();
    for code in join_all(large).await {
        assert_eq!(code.unwrap(), Some(201));
    }
    assert_eq!(holder.most.load(Ordering::SeqCst), cores);
}
