//! Streams of the runtime: the tokens of its streaming server are used, whatever clients do.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http1::SendRequest, service::service_fn};
use hyper_util::rt::TokioIo;
use pandaemon_cri::FakeRuntime;
use pandaemon_runtime::upgrade::upgrade_token;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    node::{Node, pod, until},
    server::Server,
};

/// The paths of the three kinds of streams.
const PATHS: [&str; 3] = [
    "/exec/default/p/c?command=id&output=1",
    "/attach/default/p/c?output=1",
    "/portForward/default/p",
];
/// The protocol of SPDY for exec and attach, and that for port-forward.
const SPDY_PROTOCOLS: [&str; 2] = ["v4.channel.k8s.io", "portforward.k8s.io"];

/// Requests for an upgrade that are refused: the method and the headers.
const REFUSED: [(&str, &[(&str, &str)]); 10] = [
    ("GET", &[]),
    ("POST", &[]),
    ("PUT", &[("connection", "upgrade"), ("upgrade", "SPDY/3.1")]),
    ("POST", &[("upgrade", "SPDY/3.1")]),
    ("POST", &[("connection", "upgrade"), ("upgrade", "h2c")]),
    (
        "POST",
        &[
            ("connection", "upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v9.channel.k8s.io"),
        ],
    ),
    (
        "GET",
        &[("connection", "upgrade"), ("upgrade", "websocket")],
    ),
    (
        "GET",
        &[
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "v9.channel.k8s.io"),
        ],
    ),
    (
        "GET",
        &[
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ],
    ),
    (
        "GET",
        &[
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "v4.channel.k8s.io"),
        ],
    ),
];

/// The streaming server of a runtime. As upstream's, it uses the token of a request before it looks
/// at the rest of it. Streams give back what they get.
pub(super) async fn serve_streams(runtime: FakeRuntime) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    runtime.serve_streams_at(listener.local_addr().unwrap());
    pandaemon_runtime::spawn("streaming server", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let runtime = runtime.clone();
            let answer = service_fn(move |request| {
                let answer = stream_of(&runtime, request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let http = hyper::server::conn::http1::Builder::new();
            let connection = http.serve_connection(TokioIo::new(stream), answer);
            pandaemon_runtime::spawn("streaming", connection.with_upgrades());
        }
    });
}

fn stream_of(runtime: &FakeRuntime, mut request: Request<Incoming>) -> Response<Empty<Bytes>> {
    let with = |status| {
        let mut response = Response::new(Empty::new());
        *response.status_mut() = status;
        response
    };
    let token = request.uri().path().rsplit('/').next().unwrap();
    if !runtime.use_token(token) {
        return with(StatusCode::NOT_FOUND);
    }
    let headers = request.headers();
    let mut answer = with(StatusCode::SWITCHING_PROTOCOLS);
    let mut set = |name: &'static str, value: &str| {
        answer.headers_mut().insert(name, value.parse().unwrap());
    };
    match upgrade_token(headers).as_deref() {
        Some("spdy/3.1") => {
            let name = "x-stream-protocol-version";
            let mut offered = headers.get_all(name).into_iter();
            if !offered.all(|one| SPDY_PROTOCOLS.iter().any(|known| one == known)) {
                return with(StatusCode::FORBIDDEN);
            }
            set("upgrade", "SPDY/3.1");
        }
        Some("websocket") => {
            set("upgrade", "websocket");
            let key = headers[header::SEC_WEBSOCKET_KEY].as_bytes();
            set("sec-websocket-accept", &derive_accept_key(key));
            set("sec-websocket-protocol", "v4.channel.k8s.io");
        }
        _ => return with(StatusCode::BAD_REQUEST),
    }
    set("connection", "Upgrade");
    let upgrade = hyper::upgrade::on(&mut request);
    pandaemon_runtime::spawn("echo", async move {
        let (mut from, mut to) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
        let _closed = tokio::io::copy(&mut from, &mut to).await;
    });
    answer
}

/// A node that runs the pod `p`, its kubelet server, and the streaming server of its runtime.
async fn started() -> (Node, Server) {
    let node = Node::start();
    node.api.change(|state| {
        let verbs = ["get", "create", "update"];
        let allowed = verbs.map(|verb| format!("admin {verb} proxy"));
        state.reviews.allowed = allowed.into();
    });
    node.api.apply(&pod("p", &[("c", "image:1")]));
    node.api.until("p runs", |state| state.is_ready("p")).await;
    serve_streams(node.runtime.clone()).await;
    let server = Server::start(&node).await;
    (node, server)
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers.iter().chain(&[("host", "n1")]) {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

/// Opens a stream by SPDY, and sends something over it and back.
async fn use_stream(sender: &mut SendRequest<Empty<Bytes>>, path: &str) {
    let headers = [("connection", "upgrade"), ("upgrade", "SPDY/3.1")];
    let mut response = sender
        .send_request(request("POST", path, &headers))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS, "{path}");
    let upgraded = hyper::upgrade::on(&mut response).await.unwrap();
    let mut stream = TokioIo::new(upgraded);
    stream.write_all(b"echo").await.unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"echo", "{path}");
}

/// Every token has been used, and the runtime gives more.
async fn streams_work(node: &Node, server: &Server) {
    timeout(Duration::from_secs(30), node.runtime.all_tokens_used())
        .await
        .expect("tokens of the streaming server are not used");
    for path in PATHS {
        use_stream(&mut server.connect("admin").await, path).await;
    }
}

#[tokio::test]
async fn refused_upgrades_leave_no_token() {
    let (node, server) = started().await;
    let mut sender = server.connect("admin").await;
    let mut sent = 0;
    while sent < 2_000 {
        for path in PATHS {
            for (method, headers) in REFUSED {
                if sender.ready().await.is_err() {
                    sender = server.connect("admin").await;
                }
                let request = request(method, path, headers);
                let response = sender.send_request(request).await.unwrap();
                let status = response.status().as_u16();
                let body = response.into_body().collect().await.unwrap().to_bytes();
                let text = String::from_utf8_lossy(&body);
                let all: HeaderMap = self::request(method, path, headers).headers().clone();
                assert!((400..=501).contains(&status), "{status} {path} {all:?}");
                assert!(!text.contains("in-flight"), "{path} {all:?}: {text}");
                sent += 1;
            }
        }
    }
    streams_work(&node, &server).await;
}

#[tokio::test]
async fn a_client_that_leaves_leaves_no_token() {
    let (node, server) = started().await;
    let spdy = "Upgrade: SPDY/3.1";
    let websocket = |protocol: &str| {
        format!(
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {protocol}"
        )
    };
    let [exec, attach, port_forward] = PATHS;
    for (path, call, headers) in [
        (exec, "exec_url", spdy.to_owned()),
        (attach, "attach_url", spdy.to_owned()),
        (attach, "attach_url", websocket("v5.channel.k8s.io")),
        (port_forward, "port_forward_url", spdy.to_owned()),
        (
            port_forward,
            "port_forward_url",
            websocket("SPDY/3.1+portforward.k8s.io"),
        ),
    ] {
        // The runtime has made the token, and its reply is under way, when the client leaves.
        node.runtime.hang_reply(call);
        let given = node.runtime.given_tokens();
        let mut stream = server.open("admin").await;
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: n1\r\nConnection: Upgrade\r\n{headers}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let is_given = || node.runtime.given_tokens() > given;
        until("a token is given", is_given).await;
        stream.shutdown().await.unwrap();
        // The server closes its side when it has noticed.
        let mut rest = Vec::new();
        let _closed = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{path} {headers}");
        node.runtime.recover(call);
    }
    streams_work(&node, &server).await;
}
