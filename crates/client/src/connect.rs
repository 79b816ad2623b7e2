//! Makes a client of a Kubernetes API from a kubeconfig file or the pod's own service account.

use std::{
    path::Path,
    sync::Arc,
    task::{Context, Poll},
};

use anyhow::Context as _;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, header::USER_AGENT};
use hyper::body::Incoming;
use hyper_util::{client::legacy, rt::TokioExecutor};
use kube::{
    Client, Config,
    client::{Body, ConfigExt as _},
    config::{KubeConfigOptions, Kubeconfig},
};
use pandaemon_runtime::net::{Keepalive, connector};
use parking_lot::Mutex;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt as _, util::BoxCloneService};

/// The server takes the part before the slash as field manager.
const AGENT: &str = concat!("pandaemon/", env!("CARGO_PKG_VERSION"));

/// A client for many small requests: it has no retries, no tracing span per request, and Nagle's
/// algorithm is off. Through a proxy it is kube's usual client.
///
/// # Errors
/// When the configuration names no usable cluster.
pub fn direct(config: Config) -> anyhow::Result<Client> {
    if config.proxy_url.is_some() {
        return Client::try_from(config).context("make a client");
    }
    let namespace = config.default_namespace.clone();
    Ok(Client::new(service(config)?, namespace))
}

/// Sends requests over connections of this configuration.
type ApiService = BoxCloneService<Request<Body>, Response<Incoming>, BoxError>;

fn service(config: Config) -> anyhow::Result<ApiService> {
    let tcp = connector(Keepalive::default(), config.connect_timeout);
    let tls = config
        .rustls_https_connector_with_connector(tcp)
        .context("set up TLS")?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().context("use the credentials")?)
        .layer(config.extra_headers_layer().context("use the headers")?)
        .map_err(BoxError::from)
        .service(legacy::Client::builder(TokioExecutor::new()).build(tls));
    Ok(BoxCloneService::new(service))
}

/// The connections of a client whose credentials change while it is in use: certificates are
/// renewed. Clones share them.
#[derive(Clone, Default)]
pub struct Connections(Arc<Mutex<Option<ApiService>>>);

impl Connections {
    /// A client that sends each request over the connections in use at that moment. Until
    /// there are any, requests fail at once.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.clone(), "default")
    }

    /// Sends later requests over new connections, with this configuration. Requests in progress,
    /// such as watches, end on the old ones.
    ///
    /// # Errors
    /// When the credentials cannot be used.
    pub fn replace(&self, config: Config) -> anyhow::Result<()> {
        let fresh = service(config)?;
        *self.0.lock() = Some(fresh);
        Ok(())
    }
}

impl Service<Request<Body>> for Connections {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = self.0.lock().clone();
        Box::pin(async move {
            let service = service.ok_or("there are no credentials for the API server yet")?;
            service.oneshot(request).await
        })
    }
}

/// The configuration for the cluster of a kubeconfig file; without one, for the cluster that this
/// pod runs in, whose token and CA are read again as they rotate.
///
/// # Errors
/// When the file cannot be read or names no usable cluster; when this is no pod.
pub async fn config(kubeconfig: Option<&Path>, context: Option<&str>) -> anyhow::Result<Config> {
    let config = match kubeconfig {
        Some(path) => from_file(path, context).await?,
        None => {
            Config::incluster().context("this is not a pod of a cluster: pass --kubeconfig FILE")?
        }
    };
    Ok(named(config))
}

async fn from_file(path: &Path, context: Option<&str>) -> anyhow::Result<Config> {
    let file = Kubeconfig::read_from(path)
        .with_context(|| format!("read kubeconfig {}", path.display()))?;
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    Config::from_custom_kubeconfig(file, &options)
        .await
        .with_context(|| format!("use kubeconfig {}", path.display()))
}

fn named(mut config: Config) -> Config {
    let agent = (USER_AGENT, HeaderValue::from_static(AGENT));
    config.headers.push(agent);
    config
}

#[cfg(test)]
mod tests {
    use std::{io::ErrorKind, time::Duration};

    use bytes::Bytes;
    use futures::stream;
    use http::Uri;
    use http_body_util::{BodyExt as _, StreamBody};
    use hyper::{body::Frame, service::service_fn};
    use hyper_util::rt::TokioIo;
    use socket2::{SockFilter, SockRef};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        sync::Notify,
    };

    use super::*;

    /// Both ends of a connection, of which the server's end no longer sees any packet, and so
    /// answers none.
    async fn half_open(keepalive: Keepalive) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let uri: Uri = format!("http://{address}").parse().unwrap();
        let mut connector = connector(keepalive, None);
        let (client, server) = tokio::join!(connector.call(uri), listener.accept());
        let (client, (server, _)) = (client.unwrap().into_inner(), server.unwrap());
        // A socket filter that keeps nothing (BPF_RET 0).
        let nothing = [SockFilter::new(0x06, 0, 0, 0)];
        SockRef::from(&server).attach_filter(&nothing).unwrap();
        (client, server)
    }

    #[tokio::test]
    async fn a_half_open_connection_is_noticed() {
        let keepalive = Keepalive {
            idle: Duration::from_secs(1),
            interval: Duration::from_secs(1),
            probes: 1,
            unacknowledged: Some(Duration::from_secs(1)),
        };
        let (mut silent, _server) = half_open(keepalive).await;
        let (mut sending, _server) = half_open(keepalive).await;
        sending.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let (mut one, mut two) = ([0], [0]);
        let (silent, sending) = tokio::join!(silent.read(&mut one), sending.read(&mut two));
        assert_eq!(silent.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(sending.unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn connections_notice_a_vanished_server_within_30_seconds() {
        let expected = Keepalive::default();
        let (client, _server) = half_open(expected).await;
        let socket = SockRef::from(&client);
        assert!(socket.keepalive().unwrap());
        let (idle, interval) = (socket.tcp_keepalive_time(), socket.tcp_keepalive_interval());
        let probes = socket.tcp_keepalive_retries().unwrap();
        let silent = idle.unwrap() + interval.unwrap() * probes;
        assert_eq!(silent, expected.idle + expected.interval * expected.probes);
        let sending = socket.tcp_user_timeout().unwrap().unwrap();
        assert!(silent.max(sending) <= Duration::from_secs(30));
    }

    /// A server that answers each request with one line and, when told to, another; the lines begin
    /// with its name.
    async fn server(name: &'static str, go_on: Arc<Notify>) -> Config {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        pandaemon_runtime::spawn(name, async move {
            while let Ok((stream, _)) = listener.accept().await {
                let go_on = Arc::clone(&go_on);
                let answer = move |_request: Request<Incoming>| {
                    let go_on = Arc::clone(&go_on);
                    let lines = stream::unfold(1, move |line| {
                        let go_on = Arc::clone(&go_on);
                        async move {
                            if line > 1 {
                                go_on.notified().await;
                            }
                            let text = Bytes::from(format!("{name} {line}\n"));
                            (line < 3).then(|| (Ok::<_, BoxError>(Frame::data(text)), line + 1))
                        }
                    });
                    async { Ok::<_, BoxError>(Response::new(StreamBody::new(Box::pin(lines)))) }
                };
                let serve = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                pandaemon_runtime::spawn(name, serve);
            }
        });
        Config::new(uri.parse().unwrap())
    }

    #[tokio::test]
    async fn connections_are_replaced_while_a_request_is_in_progress() {
        let connections = Connections::default();
        let client = connections.client();
        let get = || client.send(Request::get("/").body(Body::empty()).unwrap());
        let line = async |body: &mut Body| {
            let frame = body.frame().await.unwrap().unwrap();
            String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
        };
        let error = get().await.unwrap_err().to_string();
        assert!(error.contains("no credentials"), "{error}");

        let go_on = Arc::new(Notify::new());
        connections
            .replace(server("old", Arc::clone(&go_on)).await)
            .unwrap();
        let mut old = get().await.unwrap().into_body();
        assert_eq!(line(&mut old).await, "old 1\n");
        connections
            .replace(server("new", Arc::clone(&go_on)).await)
            .unwrap();
        let mut new = get().await.unwrap().into_body();
        assert_eq!(line(&mut new).await, "new 1\n");
        go_on.notify_one();
        assert_eq!(line(&mut old).await, "old 2\n");
    }
}
