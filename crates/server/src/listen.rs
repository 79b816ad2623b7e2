//! The listener: accepts connections, speaks TLS, hands requests over, and ends in order.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use pandaemon_runtime::Shutdown;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::task::TaskTracker;

use crate::{
    api::Api,
    auth::{Caller, User},
    pki,
};

/// Open connections; more wait in the kernel.
const CONNECTIONS: usize = 16_384;
/// How long a handshake and the head of a request may take, the first request included: a connection
/// that never asks anything must not be kept.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Requests at once over one HTTP/2 connection.
const STREAMS: u32 = 10_000;
/// How long connections have to end after a shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves until the shutdown, and then until what is under way has ended.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    api: Arc<Api>,
    shutdown: Shutdown,
) {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    while let Some(Ok(place)) = shutdown.guard(Arc::clone(&places).acquire_owned()).await {
        let Some(accepted) = shutdown.guard(listener.accept()).await else {
            break;
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: others must end first.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (acceptor, api, shutdown) = (acceptor.clone(), Arc::clone(&api), shutdown.clone());
        let connection = connections.track_future(async move {
            serve_one(stream, peer, acceptor, api, shutdown).await;
            drop(place);
        });
        pandaemon_runtime::spawn("connection", connection);
    }
    drop(listener);
    api.health.set_stopping();
    api.registry.cache.close();
    connections.close();
    if timeout(DRAIN, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections were cut off");
    }
}

async fn serve_one(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    api: Arc<Api>,
    shutdown: Shutdown,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "no-delay refused");
    }
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "TLS handshake failed"),
        Err(_) => return tracing::debug!(%peer, "TLS handshake took too long"),
    };
    let caller = Caller(user(&stream));
    let asked = Arc::new(Notify::new());
    let first = Arc::clone(&asked);
    let service = service_fn(move |mut request: Request<Incoming>| {
        asked.notify_one();
        request.extensions_mut().insert(caller.clone());
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(api.handle(request).await) }
    });
    let builder = builder();
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = is_silent(&first) => return tracing::debug!(%peer, "no request came"),
        () = shutdown.triggered() => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// Resolves if there is no request for too long after the handshake.
async fn is_silent(asked: &Notify) {
    if timeout(HANDSHAKE, asked.notified()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

fn user(stream: &TlsStream<TcpStream>) -> Option<User> {
    let (_, session) = stream.get_ref();
    pki::subject(session.peer_certificates()?.first()?)
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE)
        .max_buf_size(64 << 10);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(8 << 20)
        .max_header_list_size(64 << 10);
    builder
}
