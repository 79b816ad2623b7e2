//! The listener: accepts TLS connections, passes their requests to the handler, and drains them at
//! the end.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use pandaemon_runtime::Shutdown;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::tls::ServerTls;
use crate::{api::Api, audit::Peer};

/// Maximum number of open connections. More of them wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 16_384;
/// How long the TLS handshake, the head of a request, and the wait for the first request may each
/// take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of concurrent requests over one HTTP/2 connection.
const MAX_STREAMS: u32 = 10_000;
/// How long connections may take to end after a shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until the shutdown, then ends watches and waits up to [`DRAIN_TIMEOUT`] for open
/// requests.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: ServerTls,
    api: Arc<Api>,
    shutdown: Shutdown,
) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    while let Some(Ok(permit)) = shutdown.guard(Arc::clone(&permits).acquire_owned()).await {
        let Some(accepted) = shutdown.guard(listener.accept()).await else {
            break;
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most likely the process is out of file descriptors until other connections end.
                tracing::warn!(%error, "cannot accept a connection; retrying");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (tls, api, shutdown) = (tls.clone(), Arc::clone(&api), shutdown.clone());
        let connection = connections.track_future(async move {
            serve_one(stream, peer, tls, api, shutdown).await;
            drop(permit);
        });
        pandaemon_runtime::spawn("connection", connection);
    }
    drop(listener);
    api.health.set_stopping();
    api.registry.cache.close();
    connections.close();
    if timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!(
            open = connections.len(),
            "shutdown timed out; open connections are cut off"
        );
    }
}

async fn serve_one(
    stream: TcpStream,
    peer: SocketAddr,
    tls: ServerTls,
    api: Arc<Api>,
    shutdown: Shutdown,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
    let stream = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "TLS handshake failed"),
        Err(_) => return tracing::debug!(%peer, "TLS handshake timed out"),
    };
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificate = match tls.peer(chain) {
        Ok(certificate) => certificate.map(Arc::new),
        Err(error) => return tracing::debug!(%peer, %error, "refused a client certificate"),
    };
    let caller = certificate.as_ref().map(|one| one.caller());
    let caller = caller.unwrap_or_default();
    let request_seen = Arc::new(Notify::new());
    let first_request = Arc::clone(&request_seen);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request_seen.notify_one();
        request.extensions_mut().insert(caller.clone());
        request.extensions_mut().insert(Peer(peer));
        if let Some(certificate) = &certificate {
            request.extensions_mut().insert(Arc::clone(certificate));
        }
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(api.handle(request).await) }
    });
    let builder = builder();
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = first_request_timeout(&first_request) => return tracing::debug!(%peer, "closed: no request within the timeout"),
        () = shutdown.triggered() => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// Resolves if no request arrives within [`HANDSHAKE_TIMEOUT`] after the handshake; never
/// otherwise.
async fn first_request_timeout(request_seen: &Notify) {
    if timeout(HANDSHAKE_TIMEOUT, request_seen.notified())
        .await
        .is_ok()
    {
        std::future::pending::<()>().await;
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_TIMEOUT)
        .max_buf_size(64 << 10);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(8 << 20)
        .max_header_list_size(64 << 10);
    builder
}
