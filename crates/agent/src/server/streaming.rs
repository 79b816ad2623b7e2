//! The tokens of the runtime's streaming server.
//!
//! For exec, attach and port-forward CRI returns a URL with a token that can be used once.
//! containerd and CRI-O (`k8s.io/kubelet/pkg/cri/streaming`, `request_cache.go`) keep at most 1,000
//! tokens that were not used, each for a minute, and give none beyond: who makes the agent ask for
//! tokens and not use them keeps everybody from exec on the node. So the client's request is
//! checked before, each token is used whatever the client does, and few are under way at once.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use pandaemon_cri::CriError;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use super::HttpError;

/// Timeout of a request to the runtime's streaming server, connecting included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Tokens under way: a quarter of those that the runtime has room for. Other clients of the runtime
/// share it (`crictl`), and so does what an agent that was killed left behind.
const MAX_TOKENS: usize = 250;
/// How long a request waits for others to use their tokens, which takes milliseconds.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a token is valid that is not used (upstream: `cacheTTL`).
const LIFETIME: Duration = Duration::from_secs(60);

/// Asks the runtime for tokens. Clones share what is under way.
#[derive(Clone)]
pub(super) struct Tokens(Arc<Semaphore>);

impl Default for Tokens {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_TOKENS)))
    }
}

impl Tokens {
    /// Asks the runtime for a stream by this call.
    ///
    /// # Errors
    /// 429 when too many tokens are under way, 500 with the runtime's message.
    pub(super) async fn request<F>(&self, call: F) -> Result<StreamUrl, HttpError>
    where
        F: Future<Output = pandaemon_cri::Result<String>> + Send + 'static,
    {
        let permit = timeout(QUEUE_TIMEOUT, Arc::clone(&self.0).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            let message = "too many streams are being opened on this node; try again later";
            return Err((StatusCode::TOO_MANY_REQUESTS, message.to_owned()));
        };
        // A task of its own: the runtime makes the token also when the client leaves meanwhile.
        let asked = pandaemon_runtime::spawn("streaming token", async move {
            match call.await {
                Ok(url) => Ok(StreamUrl {
                    url,
                    permit: Some(permit),
                }),
                Err(error) => {
                    // Without its reply the runtime may have made a token, which no one can use.
                    if !matches!(error, CriError::Failed { .. }) {
                        pandaemon_runtime::spawn("streaming token", expire(permit));
                    }
                    Err(error.to_string())
                }
            }
        });
        let asked = match asked.await {
            Ok(Some(asked)) => asked,
            _ => Err("the request to the runtime failed".to_owned()),
        };
        asked.map_err(|message| (StatusCode::INTERNAL_SERVER_ERROR, message))
    }
}

/// Counts a token until the runtime has forgotten it.
async fn expire(permit: OwnedSemaphorePermit) {
    sleep(LIFETIME).await;
    drop(permit);
}

/// The URL of a stream, with its token: who knows it is in the container. The token is used when
/// this value is dropped, in a way that runs nothing.
pub(super) struct StreamUrl {
    url: String,
    /// `None` once the token was used.
    permit: Option<OwnedSemaphorePermit>,
}

impl StreamUrl {
    /// The text of the URL.
    pub(super) fn text(&self) -> String {
        self.url.clone()
    }

    /// Connects to the stream in this way, which is to use the token.
    ///
    /// # Errors
    /// 500 with the reason.
    pub(super) async fn dial<T>(
        mut self,
        connecting: impl Future<Output = Result<T, String>>,
    ) -> Result<T, HttpError> {
        let connected = timeout(TIMEOUT, connecting).await.unwrap_or_else(|_| {
            let why = "it did not respond in time";
            Err(failed("connect to", &self.url, &why))
        });
        let stream = connected.map_err(|message| (StatusCode::INTERNAL_SERVER_ERROR, message))?;
        self.permit = None;
        Ok(stream)
    }
}

impl Drop for StreamUrl {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        let url = std::mem::take(&mut self.url);
        pandaemon_runtime::spawn("streaming token", async move {
            // The streaming server takes the token of a request from its table before it looks for
            // an upgrade, and refuses what asks for none (`serveExec`).
            let request = send(&url, Method::GET, Vec::new());
            match timeout(TIMEOUT, request).await {
                Ok(Ok(_refused)) => drop(permit),
                _ => expire(permit).await,
            }
        });
    }
}

/// Host and port of a URL. Its path is a secret.
fn place_of(url: &str) -> String {
    let uri: Option<http::Uri> = url.parse().ok();
    let authority = uri.as_ref().and_then(http::Uri::authority);
    authority
        .map_or("an unknown address", |one| one.as_str())
        .to_owned()
}

/// The message that this step of a request to the streaming server failed.
pub(super) fn failed(step: &str, url: &str, why: &dyn std::fmt::Display) -> String {
    format!(
        "{step} the runtime's streaming server at {}: {why}",
        place_of(url)
    )
}

/// Connects to the streaming server of this URL.
pub(super) async fn connect(url: &str) -> Result<TcpStream, String> {
    let uri: http::Uri = url
        .parse()
        .map_err(|error| failed("parse the URL of", url, &error))?;
    let authority = uri.authority().map_or("", |one| one.as_str());
    TcpStream::connect(authority)
        .await
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|error| failed("connect to", url, &error))
}

/// Sends a request to the streaming server, and returns its response.
pub(super) async fn send(
    url: &str,
    method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
) -> Result<Response<Incoming>, String> {
    let stream = TokioIo::new(connect(url).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
        .await
        .map_err(|error| failed("connect to", url, &error))?;
    pandaemon_runtime::spawn("streaming connection", async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to the runtime's streaming server failed");
        }
    });
    let sending = |error: &dyn std::fmt::Display| failed("send a request to", url, error);
    let uri: http::Uri = url.parse().map_err(|error| sending(&error))?;
    let authority = uri.authority().map_or("", |one| one.as_str());
    let mut request = Request::builder()
        .method(method)
        .uri(uri.path_and_query().map_or("/", |one| one.as_str()))
        .header(header::HOST, authority);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<bytes::Bytes>::new());
    let request = request.map_err(|error| sending(&error))?;
    let sent = sender.send_request(request).await;
    sent.map_err(|error| sending(&error))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::Instant,
    };

    use super::*;

    /// A token at this address.
    async fn token(tokens: &Tokens, address: std::net::SocketAddr) -> Result<StreamUrl, HttpError> {
        let url = format!("http://{address}/exec/token");
        tokens.request(async move { Ok(url) }).await
    }

    #[tokio::test]
    async fn a_token_that_is_dropped_is_used_without_an_upgrade() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tokens = Tokens::default();
        let url = token(&tokens, listener.local_addr().unwrap()).await;
        assert_eq!(tokens.0.available_permits(), MAX_TOKENS - 1);
        drop(url.unwrap());
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("get /exec/token http/1.1\r\n"), "{head}");
        assert!(!head.contains("upgrade"), "{head}");
        assert_eq!(tokens.0.available_permits(), MAX_TOKENS - 1);
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
        let all = u32::try_from(MAX_TOKENS).unwrap();
        let _all = tokens.0.acquire_many(all).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_tokens_are_under_way_than_allowed_until_the_runtime_has_forgotten_them() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let tokens = Tokens::default();
        let failed = tokens.request(async {
            Err(CriError::Failed {
                code: "NotFound",
                message: "gone".to_owned(),
            })
        });
        assert!(failed.await.is_err());
        let lost = tokens.request(async { Err(CriError::Unreachable("lost".to_owned())) });
        assert!(lost.await.is_err());
        for _ in 1..MAX_TOKENS {
            drop(token(&tokens, address).await.unwrap());
        }
        let begin = Instant::now();
        let refused = token(&tokens, address).await.err().unwrap();
        assert_eq!(refused.0, StatusCode::TOO_MANY_REQUESTS);
        while token(&tokens, address).await.is_err() {}
        assert_eq!(begin.elapsed(), LIFETIME);
    }
}
