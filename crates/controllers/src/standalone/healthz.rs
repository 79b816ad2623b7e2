//! `/metrics`, `/healthz`, `/livez` and `/readyz` over plain HTTP.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use pandaemon_runtime::{Shutdown, metrics::Metrics};
use tokio::net::{TcpListener, TcpStream};

use crate::leader_election::elector::LeaderStatus;

/// The API server may not answer for so long before this process is not ready.
const MAX_SILENCE: Duration = Duration::from_secs(60);
const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How long a client may take to send the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// What the answers are made from.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    pub(super) metrics: Metrics,
    pub(super) leader_status: LeaderStatus,
    /// Whether there is a leader election, and so an answer of the API server every few seconds.
    pub(super) has_election: bool,
}

/// Starts to listen; returns the address.
pub(super) async fn serve(
    address: SocketAddr,
    sources: Sources,
    stop: Shutdown,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    pandaemon_runtime::spawn("metrics", async move {
        stop.guard(accept(listener, sources)).await;
    });
    Ok(bound)
}

async fn accept(listener: TcpListener, sources: Sources) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let sources = sources.clone();
                pandaemon_runtime::spawn("metrics connection", connection(stream, sources));
            }
            // Most likely too many open files: wait until some are closed.
            Err(error) => {
                tracing::warn!(%error, "metrics: a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, sources: Sources) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&sources, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "metrics connection ended");
    }
}

fn answer(sources: &Sources, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let (status, content, text) = match path {
        _ if method != Method::GET && method != Method::HEAD => (
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            "method not allowed\n".to_owned(),
        ),
        "/metrics" => match sources.metrics.render() {
            Ok(text) => (StatusCode::OK, OPEN_METRICS, text),
            Err(error) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                TEXT,
                format!("{error}\n"),
            ),
        },
        "/healthz" | "/livez" => (StatusCode::OK, TEXT, "ok".to_owned()),
        "/readyz"
            if !sources.has_election || sources.leader_status.answered_within(MAX_SILENCE) =>
        {
            (StatusCode::OK, TEXT, "ok".to_owned())
        }
        "/readyz" => {
            let text = "the API server has not answered yet, or not for a minute\n";
            (StatusCode::SERVICE_UNAVAILABLE, TEXT, text.to_owned())
        }
        _ => (
            StatusCode::NOT_FOUND,
            TEXT,
            "404 page not found\n".to_owned(),
        ),
    };
    let answer = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content);
    // The builder fails only on an invalid status or header, and these are constants.
    answer
        .body(Full::new(Bytes::from(text)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readyz_fails_until_the_api_server_has_answered() {
        let sources = Sources {
            metrics: Metrics::default(),
            leader_status: LeaderStatus::default(),
            has_election: true,
        };
        let status = |sources: &Sources, method: &Method, path| {
            answer(sources, method, path).status().as_u16()
        };
        let get = Method::GET;
        assert_eq!(status(&sources, &get, "/livez"), 200);
        assert_eq!(status(&sources, &get, "/readyz"), 503);
        sources.leader_status.note_answer();
        assert_eq!(status(&sources, &get, "/readyz"), 200);
        assert_eq!(status(&sources, &get, "/metrics"), 200);
        assert_eq!(status(&sources, &get, "/else"), 404);
        assert_eq!(status(&sources, &Method::POST, "/metrics"), 405);
    }
}
