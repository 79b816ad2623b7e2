//! The API server: Kubernetes' REST API over a store.
//!
//! A request becomes a value ([`request`]), is authenticated and authorized ([`auth`]), calls a verb of
//! the [`registry`], and its outcome is rendered in the form that was asked for ([`render`]). Reads,
//! lists and watches are served from the [`cache`], which follows the store's feed; what they send are
//! the stored bytes with the resource version spliced in ([`object`]).
//!
//! `docs/design/watch.md` says what the cache and its watches guarantee.

mod admission;
pub mod api;
pub mod auth;
pub mod body;
mod bootstrap;
pub mod cache;
mod convert;
mod discovery;
pub mod health;
mod join;
mod kubeconfig;
mod listen;
mod meta;
pub mod metrics;
pub mod negotiate;
pub mod object;
pub mod pki;
pub mod proxy;
pub mod registry;
mod render;
pub mod request;
mod resource;
mod selector;
mod subresources;
mod tls;
mod watch;

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderValue, Request, header::USER_AGENT};
use jiff::Timestamp;
use pandaemon_runtime::{Shutdown, metrics::Metrics};
use pandaemon_store::{Error as StoreError, Store};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    api::Api,
    auth::{Caller, User},
    cache::Cache,
    pki::Pki,
    registry::Registry,
};

/// What a server is made of.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where certificates and tokens are kept.
    pub data_dir: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Further names and addresses that the server's certificate is for.
    pub extra_sans: Vec<String>,
    /// Where objects are kept.
    pub store: Arc<dyn Store>,
    /// Where counters go.
    pub metrics: Metrics,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or not ours.
    #[error("listen on {address}: {why}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Certificates or tokens.
    #[error(transparent)]
    Pki(#[from] pki::Error),
    /// The store.
    #[error("read the store: {0}")]
    Store(#[from] StoreError),
    /// The first objects could not be made.
    #[error("make the built-in objects: {0}")]
    Bootstrap(String),
}

/// A server that runs.
#[derive(Debug)]
pub struct Running {
    api: Arc<Api>,
    address: SocketAddr,
    serving: JoinHandle<Option<()>>,
    tls: Arc<rustls::ServerConfig>,
    shutdown: Shutdown,
}

/// Starts a server. It answers when this returns, and ends when `shutdown` says so.
///
/// # Errors
/// [`Error`] says what is in the way.
pub async fn start(config: Config, shutdown: &Shutdown) -> Result<Running, Error> {
    let listener = bind(config.listen).await?;
    let address = listener.local_addr().unwrap_or(config.listen);
    let pki = Arc::new(Pki::open(&config.data_dir, &names(&config, address))?);
    let snapshot = config.store.snapshot();
    let feed = config.store.follow(snapshot.revision)?;
    let cache = Arc::new(Cache::new(&snapshot));
    drop(snapshot);
    let registry = Arc::new(Registry::new(Arc::clone(&config.store), Arc::clone(&cache)));
    let api = Arc::new(Api {
        agents: proxy::Agents::new(tls::client(&pki)?),
        metrics: metrics::ServerMetrics::new(config.metrics),
        health: health::Health::default(),
        address: address.to_string(),
        registry: Arc::clone(&registry),
        pki,
    });
    let tls = tls::server(&api.pki)?;
    pandaemon_runtime::spawn("watch-cache", cache::follow(cache, config.store, feed));
    bootstrap::ensure(&registry)
        .await
        .map_err(|status| Error::Bootstrap(status.message))?;
    // Watches cannot go back behind the start: what was built in is state, not news.
    registry.cache.forget_history();
    api.health.set_started();
    pandaemon_runtime::spawn(
        "housekeeping",
        housekeeping(Arc::clone(&registry), shutdown.clone()),
    );
    let serve = listen::serve(
        listener,
        Arc::clone(&tls),
        Arc::clone(&api),
        shutdown.clone(),
    );
    let serving = pandaemon_runtime::spawn("listener", serve);
    tracing::info!(%address, "serving");
    Ok(Running {
        api,
        address,
        serving,
        tls,
        shutdown: shutdown.clone(),
    })
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::AddrInUse => format!(
                "the port is in use by another process (find it with: ss -ltnp 'sport = :{}'); stop it or choose another --listen address",
                address.port()
            ),
            std::io::ErrorKind::AddrNotAvailable => {
                "this machine does not have that address; choose another --listen address".to_owned()
            }
            std::io::ErrorKind::PermissionDenied => {
                "ports below 1024 need privileges; choose another --listen address".to_owned()
            }
            _ => error.to_string(),
        };
        Error::Listen { address, why }
    })
}

/// The names and addresses that the server answers to.
fn names(config: &Config, address: SocketAddr) -> Vec<String> {
    let mut names: Vec<String> = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "127.0.0.1",
        "::1",
    ]
    .map(str::to_owned)
    .into();
    names.push(admission::first_address().to_string());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().to_ascii_lowercase();
    if rustls_pki_types::DnsName::try_from(host.as_str()).is_ok() {
        names.push(host);
    }
    match address.ip() {
        ip if ip.is_unspecified() => names.extend(outward_address().map(|ip| ip.to_string())),
        ip => names.push(ip.to_string()),
    }
    names.extend(config.extra_sans.iter().cloned());
    names.sort_unstable();
    names.dedup();
    names
}

/// The address that this machine uses towards others. Nothing is sent: connecting a datagram socket
/// only looks up a route.
fn outward_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("198.51.100.1", 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Learns when a store that refused to write is well again, and removes old events.
async fn housekeeping(registry: Arc<Registry>, shutdown: Shutdown) {
    let mut rounds: u32 = 0;
    while shutdown
        .guard(tokio::time::sleep(Duration::from_secs(2)))
        .await
        .is_some()
    {
        rounds = rounds.wrapping_add(1);
        registry.probe_store().await;
        registry.cache.walks.expire(Instant::now());
        if rounds.is_multiple_of(30)
            && let Err(status) = bootstrap::expire_events(&registry, Timestamp::now()).await
        {
            tracing::warn!(error = %status, "old events could not be removed");
        }
    }
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves the same API on a further address, such as the one that nodes on a bridge reach; returns it
    /// with the port that was taken. The address must be in the certificate ([`Config::extra_sans`]).
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn also_listen(&self, address: SocketAddr) -> Result<SocketAddr, Error> {
        let listener = bind(address).await?;
        let address = listener.local_addr().unwrap_or(address);
        let (tls, api) = (Arc::clone(&self.tls), Arc::clone(&self.api));
        let serve = listen::serve(listener, tls, api, self.shutdown.clone());
        pandaemon_runtime::spawn("further-listener", serve);
        Ok(address)
    }

    /// A kubeconfig for the administrator.
    #[must_use]
    pub fn kubeconfig(&self, server_url: &str) -> String {
        kubeconfig::admin(&self.api.pki, server_url)
    }

    /// The token that lets agents join.
    #[must_use]
    pub fn agent_token(&self) -> String {
        self.api.pki.tokens.agent.clone()
    }

    /// The token that lets in as administrator.
    #[must_use]
    pub fn admin_token(&self) -> String {
        self.api.pki.tokens.admin.clone()
    }

    /// The certificate of the CA.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.api.pki.ca.certificate.clone()
    }

    /// A client in this process, as administrator: no TCP, no TLS, the same code otherwise.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        let api = Arc::clone(&self.api);
        let service = tower::service_fn(move |mut request: Request<kube::client::Body>| {
            request.extensions_mut().insert(Caller(Some(User::admin())));
            // The first word names the manager of the fields that it sets.
            request
                .headers_mut()
                .entry(USER_AGENT)
                .or_insert(HeaderValue::from_static("pandaemon-controllers/v1"));
            let api = Arc::clone(&api);
            async move { Ok::<_, Infallible>(api.handle(request).await) }
        });
        kube::Client::new(service, "default")
    }

    /// Resolves when everything that was under way has ended after a shutdown.
    pub async fn wait(self) {
        // A panic of the listener has been reported where it happened.
        let _ended = self.serving.await;
    }
}
