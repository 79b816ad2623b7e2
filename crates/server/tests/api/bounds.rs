//! What one client may take of the server: connections, requests, frames of HTTP/2.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, header};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, Either, Empty, Full};
use hyper::client::conn::http2::{Connection, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::Body;
use pandaemon_runtime::connections::{Bounds, Connections};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    harness::{Server, json_of},
    wire::client_config,
};

/// A TLS connection without credentials, for HTTP/2.
async fn tls(server: &Server) -> TlsStream<TcpStream> {
    let running = server.running();
    let mut config = client_config(&running.ca_pem(), None);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(running.address()).await.unwrap();
    let name = ServerName::try_from("node.example").unwrap();
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
    connected.await.unwrap()
}

type Sender = SendRequest<Empty<Bytes>>;
type Http2 = Connection<TokioIo<TlsStream<TcpStream>>, Empty<Bytes>, TokioExecutor>;

async fn http2(server: &Server) -> (Sender, Http2) {
    let stream = TokioIo::new(tls(server).await);
    let connected = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    connected.await.unwrap()
}

async fn get(sender: &mut Sender, path: &str, token: &str) -> u16 {
    let mut request = Request::get(format!("https://node.example{path}"));
    if !token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    sender.ready().await.unwrap();
    let answer = sender.send_request(request.body(Empty::new()).unwrap());
    let answer = answer.await.unwrap();
    let code = answer.status().as_u16();
    answer.into_body().collect().await.unwrap();
    code
}

#[tokio::test]
async fn an_http2_connection_of_no_user_gets_one_answer() {
    let server = Server::start().await;
    for (path, token, expected) in [
        ("/version", "", 200),
        ("/api/v1/nodes", "", 401),
        ("/version", "wrong", 401),
    ] {
        let (mut sender, connection) = http2(&server).await;
        let ended = pandaemon_runtime::spawn("client", connection);
        assert_eq!(get(&mut sender, path, token).await, expected, "{path}");
        // The server says GOAWAY, and the connection ends although the client keeps it.
        ended.await.unwrap().unwrap().unwrap();
    }
    let (mut sender, connection) = http2(&server).await;
    pandaemon_runtime::spawn("client", connection);
    let admin = server.running().admin_token();
    for _ in 0..10 {
        assert_eq!(get(&mut sender, "/api/v1/nodes", &admin).await, 200);
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The error code of a connection that is a burden.
const ENHANCE_YOUR_CALM: u32 = 11;
/// `GET https://x/`, by HPACK's static table.
const GET: &[u8] = b"\x82\x84\x87\x41\x01x";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// Sends frames; returns the error code of the GOAWAY that ends the connection.
async fn goaway(server: &Server, frames: Vec<u8>) -> u32 {
    let (mut read, mut write) = tokio::io::split(tls(server).await);
    let start = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    write.write_all(&start).await.unwrap();
    // The server may close the connection before it has read everything.
    let send = async { drop(write.write_all(&frames).await) };
    let receive = async {
        loop {
            let mut head = [0; 9];
            read.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            read.read_exact(&mut payload).await.unwrap();
            if head[3] == GOAWAY {
                let code = payload[4..8].try_into().unwrap();
                return u32::from_be_bytes(code);
            }
        }
    };
    let (code, ()) = tokio::join!(receive, send);
    code
}

#[tokio::test]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let server = Server::start().await;
    let streams = (0..5_000).map(|at| at * 2 + 1);
    let frames = streams.flat_map(|stream| {
        let open = frame(HEADERS, END_STREAM | END_HEADERS, stream, GET);
        let reset = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        [open, reset].concat()
    });
    assert_eq!(goaway(&server, frames.collect()).await, ENHANCE_YOUR_CALM);
    assert_eq!(server.get_text("/readyz").await.0, 200);
}

#[tokio::test]
async fn a_head_without_an_end_closes_the_connection() {
    let server = Server::start().await;
    // A header that is not in the table: x: y. Each costs the server 34 bytes.
    let headers = b"\x00\x01x\x01y".repeat(3_000);
    let mut frames = frame(HEADERS, END_STREAM, 1, GET);
    for _ in 0..100 {
        frames.extend(frame(CONTINUATION, 0, 1, &headers));
    }
    assert_eq!(goaway(&server, frames).await, ENHANCE_YOUR_CALM);
    assert_eq!(server.get_text("/readyz").await.0, 200);
}

#[tokio::test]
async fn a_user_with_too_many_requests_in_progress_gets_429() {
    let server = Server::start().await;
    let long = Duration::from_secs(3600);
    let connections = Connections::new(Bounds {
        all: 10,
        unauthenticated: 10,
        unauthenticated_of_address: 10,
        of_user: 10,
        requests_of_user: 2,
        unauthenticated_idle: long,
        idle: long,
        unread: long,
    });
    let connection = connections.admit([127, 0, 0, 1].into()).unwrap();
    let send = async |progress: &Arc<_>| {
        let mut request = Request::get("/version").body(Body::empty()).unwrap();
        request.extensions_mut().insert(Arc::clone(progress));
        let answer = server.client().send(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let retry = parts.headers.contains_key(header::RETRY_AFTER);
        let body = body.collect().await.unwrap().to_bytes();
        let body = json_of(std::str::from_utf8(&body).unwrap());
        (parts.status.as_u16(), retry, body["reason"].clone())
    };
    let mut in_progress: Vec<_> = (0..3).map(|_| Arc::new(connection.begin())).collect();
    for progress in &in_progress[..2] {
        assert_eq!(send(progress).await.0, 200);
    }
    let refused = send(&in_progress[2]).await;
    assert_eq!(refused, (429, true, "TooManyRequests".into()));
    in_progress.clear();
    assert_eq!(send(&Arc::new(connection.begin())).await.0, 200);
    assert_eq!(
        connections.count(),
        (1, 0),
        "the connection is one of the user"
    );
}

/// A body that says how long it will be, and does not come.
struct Promised(u64);

impl http_body::Body for Promised {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn a_user_with_too_many_bytes_in_bodies_gets_429() {
    let server = Server::start().await;
    let stream = TokioIo::new(tls(&server).await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
    let connection = pandaemon_runtime::spawn("client", connection);
    let token = server.running().admin_token();
    let path = "/api/v1/namespaces/default/configmaps";
    let mut post = |body: Either<Promised, Full<Bytes>>| {
        let request = Request::post(format!("https://node.example{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json");
        Box::pin(sender.send_request(request.body(body).unwrap()))
    };
    let whole = |name: &str, bytes: usize| {
        let map = serde_json::json!({"metadata": {"name": name}, "data": {"x": "x".repeat(bytes)}});
        Either::Right(Full::new(Bytes::from(map.to_string())))
    };
    // 21 bodies of 3 MiB have room.
    let held = (0..22).map(|_| post(Either::Left(Promised(3 << 20))));
    let (refused, _, held) = futures::future::select_all(held).await;
    let refused = refused.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
    assert_eq!(post(whole("small", 1)).await.unwrap().status(), 201);
    assert_eq!(post(whole("large", 1_200_000)).await.unwrap().status(), 429);
    // Who leaves makes room.
    drop(held);
    let mut codes = vec![429];
    while codes.last().is_some_and(|code| *code == 429) && codes.len() < 1_000 {
        let answer = post(whole("large", 1_200_000)).await.unwrap();
        codes.push(answer.status().as_u16());
    }
    // It is read now, and longer than a ConfigMap may be.
    assert_eq!(codes.last(), Some(&422));
    connection.abort();
}
