//! Relays upgraded connections to the runtime's streaming server.
//!
//! Old clients speak SPDY, and so does that server: the bytes are copied both ways without being
//! parsed.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use pandaemon_runtime::upgrade::{STREAM_IDLE, copy_until_idle};

use super::{
    HttpError, HttpResponse,
    streaming::{self, StreamUrl},
};

/// The header that negotiates the protocol inside SPDY.
const PROTOCOL_HEADER: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const SPDY: &str = "SPDY/3.1";
/// The largest error body in bytes.
const MAX_ERROR: usize = 16 << 10;

/// Relays a client's upgrade to the runtime's streaming server, and returns its response.
pub(super) async fn pass(
    url: StreamUrl,
    mut request: Request<Incoming>,
) -> Result<HttpResponse, HttpError> {
    let versions: Vec<_> = request
        .headers()
        .get_all(PROTOCOL_HEADER)
        .iter()
        .cloned()
        .collect();
    let (mut head, runtime) = dial(url, versions).await?;
    let client = hyper::upgrade::on(&mut request);
    pandaemon_runtime::spawn("relay", async move {
        if let Err(error) = join(client, runtime).await {
            tracing::debug!(%error, "a relayed connection failed");
        }
    });
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for name in [header::CONNECTION, header::UPGRADE, PROTOCOL_HEADER] {
        if let Some(value) = head.remove(&name) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

async fn join(
    client: OnUpgrade,
    runtime: OnUpgrade,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (client, runtime) = tokio::try_join!(client, runtime)?;
    let (client, runtime) = (TokioIo::new(client), TokioIo::new(runtime));
    Ok(copy_until_idle(client, runtime, STREAM_IDLE).await?)
}

/// Asks the runtime's streaming server for an upgrade to SPDY; returns the headers of its response
/// and the upgraded connection.
pub(super) async fn dial(
    url: StreamUrl,
    versions: Vec<HeaderValue>,
) -> Result<(HeaderMap, OnUpgrade), HttpError> {
    let text = url.text();
    url.dial(upgrade(&text, versions)).await
}

async fn upgrade(url: &str, versions: Vec<HeaderValue>) -> Result<(HeaderMap, OnUpgrade), String> {
    let mut headers = vec![
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static(SPDY)),
    ];
    headers.extend(versions.into_iter().map(|one| (PROTOCOL_HEADER, one)));
    let mut response = streaming::send(url, Method::POST, headers).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let body = Limited::new(response.into_body(), MAX_ERROR)
            .collect()
            .await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let body = String::from_utf8_lossy(&body);
        let step = "upgrade the connection to";
        return Err(streaming::failed(step, url, &body.trim()));
    }
    let upgrade = hyper::upgrade::on(&mut response);
    Ok((std::mem::take(response.headers_mut()), upgrade))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use hyper_util::rt::TokioIo;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use crate::server::streaming::{StreamUrl, Tokens};

    /// A streaming server that sends this response and then echoes; returns the request it
    /// received.
    async fn runtime(
        response: &'static str,
    ) -> (StreamUrl, tokio::task::JoinHandle<Option<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/exec/token", listener.local_addr().unwrap());
        let server = pandaemon_runtime::spawn("test", async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut received = Vec::new();
            while !received.ends_with(b"\r\n\r\n") {
                received.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(response.as_bytes()).await.unwrap();
            let (mut from, mut to) = stream.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
            String::from_utf8(received).unwrap().to_ascii_lowercase()
        });
        let url = Tokens::default().request(async move { Ok(url) }).await;
        (url.unwrap(), server)
    }

    #[tokio::test]
    async fn the_protocols_of_the_client_are_offered_to_the_runtime() {
        let response = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
            Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n";
        let (url, server) = runtime(response).await;
        let offered = ["v4.channel.k8s.io", "channel.k8s.io"].map(HeaderValue::from_static);
        let (head, upgrade) = super::dial(url, offered.into()).await.unwrap();
        assert_eq!(head["x-stream-protocol-version"], "v4.channel.k8s.io");
        let mut stream = TokioIo::new(upgrade.await.unwrap());
        stream.write_all(b"frame").await.unwrap();
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"frame");
        drop(stream);
        let received = server.await.unwrap().unwrap();
        assert!(
            received.starts_with("post /exec/token http/1.1\r\n"),
            "{received}"
        );
        assert!(received.contains("upgrade: spdy/3.1\r\n"), "{received}");
        assert_eq!(received.matches("x-stream-protocol-version: ").count(), 2);
    }

    #[tokio::test]
    async fn an_error_of_the_runtime_is_returned() {
        let response = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone";
        let (url, _server) = runtime(response).await;
        let (status, message) = super::dial(url, Vec::new()).await.unwrap_err();
        assert_eq!(status, 500);
        assert!(message.ends_with(": gone"), "{message}");
    }
}
