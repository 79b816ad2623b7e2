//! Upgraded connections passed on to the runtime's own streaming server.
//!
//! Old clients speak SPDY, and so does that server: their bytes are copied both ways, unread.

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Answer, Refusal};

/// The header in which both sides name what they speak inside SPDY.
const VERSION: &str = "X-Stream-Protocol-Version";
const SPDY: &str = "SPDY/3.1";
/// A refusal longer than this is cut.
const MAX_WORDS: usize = 16 << 10;

/// Whether the client wants to change to SPDY.
pub(super) fn is_spdy(headers: &HeaderMap) -> bool {
    let wanted = headers.get(header::UPGRADE);
    wanted.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(SPDY.as_bytes()))
}

/// Passes a client's upgrade on to the runtime's streams at `url`, and the answer back.
pub(super) async fn pass(url: &str, mut request: Request<Incoming>) -> Result<Answer, Refusal> {
    let versions: Vec<_> = request.headers().get_all(VERSION).iter().cloned().collect();
    let (mut head, runtime) = dial(url, versions).await?;
    let client = hyper::upgrade::on(&mut request);
    pandaemon_runtime::spawn("relay", async move {
        if let Err(error) = join(client, runtime).await {
            tracing::debug!(%error, "a relayed stream ended");
        }
    });
    let mut answer = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for name in [
        header::CONNECTION,
        header::UPGRADE,
        header::HeaderName::from_static("x-stream-protocol-version"),
    ] {
        if let Some(value) = head.remove(&name) {
            answer.headers_mut().insert(name, value);
        }
    }
    Ok(answer)
}

async fn join(
    client: OnUpgrade,
    runtime: OnUpgrade,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (client, runtime) = tokio::try_join!(client, runtime)?;
    let (mut client, mut runtime) = (TokioIo::new(client), TokioIo::new(runtime));
    tokio::io::copy_bidirectional(&mut client, &mut runtime).await?;
    Ok(())
}

/// Asks the runtime's streaming server for SPDY: its headers, and what becomes the connection.
pub(super) async fn dial(
    url: &str,
    versions: Vec<HeaderValue>,
) -> Result<(HeaderMap, OnUpgrade), Refusal> {
    let failed = |what: &str, why: &dyn std::fmt::Display| {
        let words = format!("{what} the runtime's streams at {url}: {why}");
        (StatusCode::INTERNAL_SERVER_ERROR, words)
    };
    let uri: http::Uri = url.parse().map_err(|error| failed("find", &error))?;
    let authority = uri.authority().map_or("", |one| one.as_str());
    let stream = TcpStream::connect(authority)
        .await
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|error| failed("reach", &error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed("reach", &error))?;
    pandaemon_runtime::spawn("runtime streams", async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to the runtime's streams");
        }
    });
    let mut request = Request::post(uri.path_and_query().map_or("/", |one| one.as_str()))
        .header(header::HOST, authority)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, SPDY);
    for version in versions {
        request = request.header(VERSION, version);
    }
    let request = request.body(Empty::<bytes::Bytes>::new());
    let request = request.map_err(|error| failed("ask", &error))?;
    let mut answer = sender
        .send_request(request)
        .await
        .map_err(|error| failed("ask", &error))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let body = Limited::new(answer.into_body(), MAX_WORDS).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        return Err(failed("upgrade", &String::from_utf8_lossy(&body).trim()));
    }
    let upgrade = hyper::upgrade::on(&mut answer);
    Ok((std::mem::take(answer.headers_mut()), upgrade))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use hyper_util::rt::TokioIo;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    /// A streaming server that gives this answer and then echoes; yields what it was asked.
    async fn runtime(answer: &'static str) -> (String, tokio::task::JoinHandle<Option<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/exec/token", listener.local_addr().unwrap());
        let server = pandaemon_runtime::spawn("test", async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            let (mut from, mut to) = stream.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
            String::from_utf8(asked).unwrap().to_ascii_lowercase()
        });
        (url, server)
    }

    #[tokio::test]
    async fn the_runtime_is_asked_as_the_client_asked() {
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
            Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n";
        let (url, server) = runtime(answer).await;
        let offered = ["v4.channel.k8s.io", "channel.k8s.io"].map(HeaderValue::from_static);
        let (head, upgrade) = super::dial(&url, offered.into()).await.unwrap();
        assert_eq!(head["x-stream-protocol-version"], "v4.channel.k8s.io");
        let mut stream = TokioIo::new(upgrade.await.unwrap());
        stream.write_all(b"frame").await.unwrap();
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"frame");
        drop(stream);
        let asked = server.await.unwrap().unwrap();
        assert!(
            asked.starts_with("post /exec/token http/1.1\r\n"),
            "{asked}"
        );
        assert!(asked.contains("upgrade: spdy/3.1\r\n"), "{asked}");
        assert_eq!(asked.matches("x-stream-protocol-version: ").count(), 2);
    }

    #[tokio::test]
    async fn the_runtimes_refusal_is_told() {
        let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone";
        let (url, _server) = runtime(answer).await;
        let (status, words) = super::dial(&url, Vec::new()).await.unwrap_err();
        assert_eq!(status, 500);
        assert!(words.ends_with(": gone"), "{words}");
    }
}
