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

use super::SILENCE;
use crate::election::campaign::Standing;

const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How long a client may take to say what it wants.
const HEADERS: Duration = Duration::from_secs(10);

/// What the answers are made of.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) metrics: Metrics,
    pub(super) standing: Standing,
    /// Whether there is an election, and so a sign of the API server every few seconds.
    pub(super) elects: bool,
}

/// Starts to listen.
pub(super) async fn serve(
    address: SocketAddr,
    state: State,
    stop: Shutdown,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    pandaemon_runtime::spawn("metrics", async move {
        stop.guard(accept(listener, state)).await;
    });
    Ok(bound)
}

async fn accept(listener: TcpListener, state: State) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let state = state.clone();
                pandaemon_runtime::spawn("metrics connection", connection(stream, state));
            }
            // Too many open files, most likely.
            Err(error) => {
                tracing::warn!(%error, "metrics: a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, state: State) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&state, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "metrics connection ended");
    }
}

fn answer(state: &State, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let (status, content, text) = match path {
        _ if method != Method::GET && method != Method::HEAD => (
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            "method not allowed\n".to_owned(),
        ),
        "/metrics" => match state.metrics.render() {
            Ok(text) => (StatusCode::OK, OPEN_METRICS, text),
            Err(error) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                TEXT,
                format!("{error}\n"),
            ),
        },
        "/healthz" | "/livez" => (StatusCode::OK, TEXT, "ok".to_owned()),
        "/readyz" if !state.elects || state.standing.is_heard(SILENCE) => {
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
    // The builder fails only on a bad status or header, and these are constants.
    answer
        .body(Full::new(Bytes::from(text)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_the_api_server_was_heard() {
        let state = State {
            metrics: Metrics::default(),
            standing: Standing::default(),
            elects: true,
        };
        let status =
            |state: &State, method: &Method, path| answer(state, method, path).status().as_u16();
        let get = Method::GET;
        assert_eq!(status(&state, &get, "/livez"), 200);
        assert_eq!(status(&state, &get, "/readyz"), 503);
        state.standing.hear();
        assert_eq!(status(&state, &get, "/readyz"), 200);
        assert_eq!(status(&state, &get, "/metrics"), 200);
        assert_eq!(status(&state, &get, "/else"), 404);
        assert_eq!(status(&state, &Method::POST, "/metrics"), 405);
    }
}
