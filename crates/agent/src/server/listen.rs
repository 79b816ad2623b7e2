//! A connection to the kubelet server, and what one client may take.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use http::Request;
use hyper::{
    body::Incoming,
    server::conn::http1::{Builder, UpgradeableConnection},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use pandaemon_runtime::connections::{
    Bounds, Connection, CountedStream, Request as Progress, TrackedBody,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{HttpResponse, ServerState, access::ClientCertificate, answer};

/// How long the TLS handshake and the head of a request may each take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of the head of a request, as at the API server.
const HEAD_BYTES: usize = 64 << 10;

/// The bounds of connections. The API server opens one for each log, exec and port-forward.
pub(super) const BOUNDS: Bounds = Bounds {
    // A node has some hundred pods: several streams of each at once. A stream takes some 100 KB.
    all: 2_048,
    // Half of all, so that those of users always have room.
    unauthenticated: 1_024,
    // Few addresses talk to a node: API servers, and those that read its metrics.
    unauthenticated_of_address: 512,
    // One user may have all of them: API servers.
    of_user: 2_048,
    // HTTP/1.1 has one request at a time over a connection.
    requests_of_user: 2_048,
    // The handshake and the first head.
    unauthenticated_idle: HEAD_TIMEOUT.saturating_mul(2),
    // As at the API server.
    idle: Duration::from_secs(90),
    unread: Duration::from_secs(60),
};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Serves the requests of a connection.
pub(super) async fn connection(
    state: ServerState,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    open: Arc<Connection>,
) -> Result<(), Failed> {
    stream.set_nodelay(true)?;
    let stream = tokio::select! {
        accepted = timeout(HEAD_TIMEOUT, acceptor.accept(stream)) => accepted??,
        why = open.end() => return Err(format!("closed: {why:?}").into()),
    };
    let (_, session) = stream.get_ref();
    let peer = session.peer_certificates().and_then(<[_]>::first);
    let certificate = Arc::new(peer.and_then(ClientCertificate::of));
    serve(stream, &open, move |request, progress| {
        let (state, certificate) = (state.clone(), Arc::clone(&certificate));
        async move { answer(state, (*certificate).as_ref(), &progress, request).await }
    })
    .await
}

/// Serves HTTP over a stream, within the bounds.
async fn serve<S, A, F>(stream: S, open: &Arc<Connection>, answer: A) -> Result<(), Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>, Arc<Progress>) -> F,
    F: Future<Output = HttpResponse>,
{
    let of_request = Arc::clone(open);
    let service = service_fn(move |request| {
        let progress = Arc::new(of_request.begin());
        let answer = answer(request, Arc::clone(&progress));
        async move { Ok::<_, Infallible>(TrackedBody::of(answer.await, progress)) }
    });
    let stream = TokioIo::new(CountedStream::new(stream, Arc::clone(open)));
    let connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(stream, service)
        .with_upgrades();
    tokio::pin!(connection);
    let refuse_more =
        |connection: Pin<&mut _>| UpgradeableConnection::graceful_shutdown(connection);
    let run = open.run(connection, std::future::pending(), refuse_more);
    match run.await {
        Ok(ended) => Ok(ended?),
        Err(why) => Err(format!("closed: {why:?}").into()),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http_body_util::{BodyExt as _, StreamBody};
    use hyper::body::Frame;
    use pandaemon_runtime::connections::{Connections, Pace};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
        time::Instant,
    };

    use super::*;

    /// A connection over which the client sends this text; the server answers with 10 MB.
    fn connected(pace: Pace) -> (DuplexStream, impl Future<Output = u64>) {
        let connections = Connections::new(BOUNDS);
        let open = connections.admit([127, 0, 0, 1].into()).unwrap();
        let (client, server) = tokio::io::duplex(1 << 10);
        let serve = async move {
            let since = Instant::now();
            let ended = serve(server, &open, move |_, progress| async move {
                progress.authenticated("jane").unwrap();
                let parts = (0..1000).map(|_| Ok(Frame::data(vec![b'x'; 10_000].into())));
                let body = StreamBody::new(futures::stream::iter(parts)).boxed();
                let mut response = super::super::text(StatusCode::OK, String::new());
                *response.body_mut() = body;
                response.extensions_mut().insert(pace);
                response
            });
            let _closed = ended.await;
            drop(open);
            assert_eq!(connections.count(), (0, 0));
            since.elapsed().as_secs()
        };
        (client, serve)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_closes_the_connection() {
        for head in ["", "G", "GET / HTTP/1.1\r\nHost: n1\r\nX-Slow: "] {
            let (mut client, served) = connected(Pace::Bounded);
            client.write_all(head.as_bytes()).await.unwrap();
            // The head timeout, or that of a connection without a request.
            let seconds = served.await;
            assert!((10..=15).contains(&seconds), "{head:?}: {seconds}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_closes_the_connection() {
        let (mut client, served) = connected(Pace::Bounded);
        client
            .write_all(b"GET /pods HTTP/1.1\r\nHost: n1\r\n\r\n")
            .await
            .unwrap();
        let seconds = served.await;
        assert_eq!(seconds, 60);
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_may_be_read_page_by_page() {
        let (mut client, served) = connected(Pace::Unbounded);
        let read = async move {
            let request = b"GET /containerLogs HTTP/1.1\r\nHost: n1\r\nConnection: close\r\n\r\n";
            client.write_all(request).await.unwrap();
            tokio::time::sleep(Duration::from_secs(3600)).await;
            let mut log = Vec::new();
            client.read_to_end(&mut log).await.unwrap();
            log.len()
        };
        let (length, _) = tokio::join!(read, served);
        assert!(length > 10_000_000, "{length}");
    }
}
