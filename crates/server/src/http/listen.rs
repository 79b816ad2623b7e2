//! The listener: accepts TLS connections, passes their requests to the handler, and drains them at
//! the end.

use std::{convert::Infallible, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto::UpgradeableConnection};
use pandaemon_runtime::{
    Shutdown,
    connections::{Connection, CountedStream, TrackedBody},
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::task::TaskTracker;

use super::{
    limits::{self, HEAD_TIMEOUT},
    tls::ServerTls,
};
use crate::{api::Api, audit::Peer, pki::PeerCertificate};

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
    let connections = TaskTracker::new();
    while let Some(accepted) = shutdown.guard(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most likely the process is out of file descriptors until other connections end.
                tracing::warn!(%error, "cannot accept a connection; retrying");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(open) = api.connections.admit(peer.ip()) else {
            tracing::debug!(%peer, "refused: too many connections");
            continue;
        };
        let (tls, api, shutdown) = (tls.clone(), Arc::clone(&api), shutdown.clone());
        let accepted = Accepted { stream, peer, open };
        let connection = connections.track_future(serve_one(accepted, tls, api, shutdown));
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

/// A connection that was accepted.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    open: Arc<Connection>,
}

/// Accepts the TLS handshake. `None` if it fails, takes too long or has to give way to another.
async fn handshake(accepted: Accepted, acceptor: TlsAcceptor) -> Option<TlsStream<TcpStream>> {
    let Accepted { stream, peer, open } = accepted;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    let why = tokio::select! {
        accepted = timeout(HEAD_TIMEOUT, acceptor.accept(stream)) => match accepted {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "timed out".to_owned(),
        },
        end = open.end() => format!("{end:?}"),
    };
    tracing::debug!(%peer, why, "no TLS handshake");
    None
}

async fn serve_one(accepted: Accepted, tls: ServerTls, api: Arc<Api>, shutdown: Shutdown) {
    let (peer, open) = (accepted.peer, Arc::clone(&accepted.open));
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
    let Some(stream) = handshake(accepted, acceptor).await else {
        return;
    };
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificate = match tls.peer(chain) {
        Ok(certificate) => certificate.map(Arc::new),
        Err(error) => return tracing::debug!(%peer, %error, "refused a client certificate"),
    };
    if let Some(user) = certificate.as_deref().map(PeerCertificate::name)
        && let Err(error) = open.authenticated(user)
    {
        return tracing::debug!(%peer, user, %error, "refused");
    }
    let caller = certificate.as_ref().map(|one| one.caller());
    let caller = caller.unwrap_or_default();
    let of_request = Arc::clone(&open);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let progress = Arc::new(of_request.begin());
        let extensions = request.extensions_mut();
        extensions.insert(caller.clone());
        extensions.insert(Peer(peer));
        extensions.insert(Arc::clone(&progress));
        if let Some(certificate) = &certificate {
            extensions.insert(Arc::clone(certificate));
        }
        let api = Arc::clone(&api);
        async move {
            let response = api.handle(request).await;
            Ok::<_, Infallible>(TrackedBody::of(response, progress))
        }
    });
    let builder = limits::builder();
    let stream = TokioIo::new(CountedStream::new(stream, Arc::clone(&open)));
    let connection = builder.serve_connection_with_upgrades(stream, service);
    tokio::pin!(connection);
    let refuse_more =
        |connection: Pin<&mut _>| UpgradeableConnection::graceful_shutdown(connection);
    let run = open.run(connection, shutdown.triggered(), refuse_more);
    match run.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "connection ended"),
        Err(why) => tracing::debug!(%peer, ?why, "connection closed"),
    }
}
