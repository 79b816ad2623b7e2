//! Makes a client of a Kubernetes API from a kubeconfig file or the pod's own service account.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use http::{HeaderValue, header::USER_AGENT};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::ConfigExt as _,
    config::{KubeConfigOptions, Kubeconfig},
};
use tower::{BoxError, ServiceBuilder};

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
    Ok(Client::new(service, config.default_namespace))
}

/// When a connection whose other end has vanished without a word (half-open) counts as broken. Such
/// a connection is silent, which is no error for a watch, so that only the kernel can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Probes without an answer before the connection is broken.
    pub probes: u32,
    /// How long sent bytes may stay without acknowledgement (TCP_USER_TIMEOUT).
    pub unacknowledged: Duration,
}

impl Default for Keepalive {
    /// 25 s at most.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(10),
            interval: Duration::from_secs(5),
            probes: 3,
            unacknowledged: Duration::from_secs(25),
        }
    }
}

/// Makes TCP connections that notice when the other end vanishes.
#[must_use]
pub fn connector(keepalive: Keepalive, timeout: Option<Duration>) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(timeout);
    tcp.set_keepalive(Some(keepalive.idle));
    tcp.set_keepalive_interval(Some(keepalive.interval));
    tcp.set_keepalive_retries(Some(keepalive.probes));
    tcp.set_tcp_user_timeout(Some(keepalive.unacknowledged));
    tcp
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
    use std::io::ErrorKind;

    use http::Uri;
    use socket2::{SockFilter, SockRef};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };
    use tower::Service as _;

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
            unacknowledged: Duration::from_secs(1),
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
}
