//! The API server: the Kubernetes REST API over a store.
//!
//! A request is parsed (`http`), authenticated and authorized (`auth`), handled by a verb of the
//! `registry`, and answered in the negotiated form (`handlers`). Reads, lists and watches are
//! served from the [`watch_cache`], which follows the store. They send the stored bytes with the
//! resource version inserted ([`cache::object`]).
//!
//! `docs/design/api-server.md` shows the way of a request, `docs/design/watch.md` states the
//! guarantees of the watch cache.

pub mod admission;
mod advertise;
mod api;
mod audit;
mod auth;
mod authenticators;
mod authorizers;
pub mod backup;
pub mod cache;
mod clients;
mod essentials;
mod flow_control;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod handlers;
mod housekeeping;
mod http;
mod jwt_provider;
mod kubeconfig;
mod large_requests;
mod metrics;
mod pki;
mod registry;
mod service_account_secrets;
mod service_accounts;
mod signer;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use jiff::Timestamp;
use pandaemon_certificates::CertificateSigner;
use pandaemon_machinery::{Kind, scheme};
use pandaemon_runtime::{
    Shutdown, connections::Connections, metrics::Metrics, net::outward_address,
};
use pandaemon_store::{Error as StoreError, Store, encryption::EncryptedStore};
use tokio::{net::TcpListener, task::JoinHandle};

pub use crate::advertise::AdvertiseError;
pub use crate::audit::{AuditConfig, AuditError, Mode as AuditMode};
pub use crate::auth::{Attributes, Authorizer, Decision, DecisionFuture, User, UserRules};
pub use crate::authenticators::{AuthenticationError, AuthenticationOptions};
use crate::{
    admission::{AdmissionConfiguration, Chain, Plugin},
    advertise::Advertised,
    api::{Api, Health},
    audit::Auditor,
    backup::Backups,
    cache::watch_cache::{self, WatchCache},
    essentials::Essentials,
    flow_control::FlowControl,
    handlers::proxy,
    http::{
        limits, listen,
        request_bodies::RequestBodies,
        tls::{self, ServerTls},
    },
    large_requests::LargeRequests,
    pki::{Pki, ServiceAccountKeys},
    registry::{Registry, bootstrap},
    service_account_secrets::ServiceAccountSecrets,
    service_accounts::TokenIssuer,
    signer::Signer,
};

pub use crate::{
    clients::Clients,
    flow_control::Seats,
    kubeconfig::{AdminKubeconfig, kubeconfig},
};
pub use crate::{
    pki::Error as PkiError, pki::Lifetimes, registry::ServeError,
    service_accounts::ServiceAccountOptions,
};

/// The configuration of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory of certificates and tokens.
    pub data_dir: PathBuf,
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The address by which nodes and pods reach the server, with the port that it listens on. By
    /// default the listening address, or that of the route to other machines.
    pub advertise_address: Option<Ipv4Addr>,
    /// Additional names and addresses for the server's certificate.
    pub extra_sans: Vec<String>,
    /// The store of the objects.
    pub store: Arc<dyn Store>,
    /// The keys of the store, if it encrypts: an administrator can rotate them.
    pub encryption: Option<Arc<EncryptedStore>>,
    /// The registry of metrics.
    pub metrics: Metrics,
    /// The files that name users.
    pub authentication: AuthenticationOptions,
    /// Authorizers that are asked before the built-in ones.
    pub authorizers: Vec<Arc<dyn Authorizer>>,
    /// The audit log.
    pub audit: AuditConfig,
    /// Admission plugins beside the built-in ones, after which they run.
    pub admission: Vec<Arc<dyn Plugin>>,
    /// The configuration of built-in admission plugins.
    pub admission_configuration: AdmissionConfiguration,
    /// How tokens of service accounts are issued and verified.
    pub service_accounts: ServiceAccountOptions,
    /// How long certificates are valid.
    pub certificates: Lifetimes,
    /// How many seats priority and fairness gives out.
    pub seats: Seats,
    /// Whether agents may have loopback addresses: those on this machine, for tests.
    pub allow_loopback_nodes: bool,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is in use or not available.
    #[error("listen on {address}: {why}")]
    Listen {
        /// The requested address.
        address: SocketAddr,
        /// The reason, and what to do.
        why: String,
    },
    /// Nodes and pods cannot reach the address that is to be advertised.
    #[error(transparent)]
    Advertise(#[from] AdvertiseError),
    /// Certificates or tokens cannot be opened.
    #[error(transparent)]
    Pki(#[from] pki::Error),
    /// The audit log cannot be started.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A file that names users cannot be used.
    #[error(transparent)]
    Authentication(#[from] AuthenticationError),
    /// The store cannot be read.
    #[error("read the store: {0}")]
    Store(#[from] StoreError),
    /// The built-in objects cannot be created.
    #[error("create the built-in objects: {0}")]
    Bootstrap(String),
}

/// What the keys of a resource begin with in the store, such as `/secrets/` for `secrets` and
/// `/apps/daemonsets/` for `daemonsets.apps`; `None` for a resource that no server has.
#[must_use]
pub fn storage_prefix(resource: &str) -> Option<String> {
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    let mut kinds = scheme::built_in().kinds().iter();
    let found = kinds.find(|kind| kind.plural == plural && kind.group == group);
    if let Some(kind) = found {
        return kind.is_stored().then(|| format!("/{}/", kind.storage));
    }
    // Kinds that come at run time have a group of their own.
    let mut kinds = scheme::built_in().kinds().iter();
    let is_own = !plural.is_empty() && group.contains('.') && kinds.all(|kind| kind.group != group);
    is_own.then(|| format!("/{group}/{plural}/"))
}

/// The resource whose keys begin with this in the store, as [`storage_prefix`] takes it.
#[must_use]
pub fn resource_of_prefix(prefix: &str) -> String {
    let storage = prefix.trim_matches('/');
    match storage.split_once('/') {
        Some((group, plural)) => format!("{plural}.{group}"),
        None => storage.to_owned(),
    }
}

/// A running server: its address, credentials and clients.
#[derive(Debug)]
pub struct Running {
    api: Arc<Api>,
    address: SocketAddr,
    serving: JoinHandle<Option<()>>,
    tls: ServerTls,
    shutdown: Shutdown,
    essentials: Essentials,
    advertised: Advertised,
}

/// Starts a server. It accepts requests when this returns, and stops when `shutdown` is triggered.
///
/// # Errors
/// [`Error`] states the reason.
pub async fn start(config: Config, shutdown: &Shutdown) -> Result<Running, Error> {
    let listener = bind(config.listen).await?;
    let address = listener.local_addr().unwrap_or(config.listen);
    let advertised = advertise::address_for(address, config.advertise_address)?;
    let names = names(&config, address, advertised);
    let pki = Pki::open(&config.data_dir, &names, config.certificates)?;
    let pki = Arc::new(pki);
    let keys = ServiceAccountKeys::open(&config.data_dir, Timestamp::now())?;
    let issuer = Arc::new(TokenIssuer::new(keys, config.service_accounts));
    let cache = Arc::new(WatchCache::load(&*config.store).await?);
    let registry = Arc::new(Registry::new(
        Arc::clone(&config.store),
        Arc::clone(&cache),
        Chain::new(
            config.admission_configuration,
            config.admission,
            &config.metrics,
        ),
    ));
    let api = Arc::new(Api {
        connections: Connections::new(limits::CONNECTIONS),
        agents: proxy::Agents::new(tls::client(&pki)?, config.allow_loopback_nodes),
        auditor: Auditor::start(&config.audit, &config.metrics)?,
        flow_control: FlowControl::new(&cache, config.seats, &config.metrics),
        health: Health::default(),
        revoked: authenticators::revoked(&config.authentication)?,
        authenticators: authenticators::chain(
            &config.authentication,
            &pki,
            &issuer,
            &registry,
            &config.metrics,
        )?,
        metrics: metrics::ServerMetrics::new(config.metrics),
        authorizers: authorizers::chain(config.authorizers, Arc::clone(&cache)),
        address: advertised.to_string(),
        large_requests: LargeRequests::default(),
        backups: Backups::default(),
        request_bodies: RequestBodies::default(),
        service_accounts: Arc::clone(&issuer),
        registry: Arc::clone(&registry),
        encryption: config.encryption,
        pki,
    });
    for own in [address, advertised] {
        api.agents.server_is_at(own);
    }
    let tls = ServerTls::new(&api.pki)?;
    let essentials = Essentials::new(shutdown.clone());
    let reflector = watch_cache::run_reflector(cache, config.store);
    pandaemon_runtime::spawn(
        "watch-cache",
        essentials.clone().run("watch-cache", reflector),
    );
    let created = bootstrap::create_missing(&registry);
    created
        .await
        .map_err(|status| Error::Bootstrap(status.message))?;
    bootstrap::reconcile_default_roles(&registry).await;
    bootstrap::keep_flow_control(&registry).await;
    housekeeping::publish_authentication(&api).await;
    // Watches start after the built-in objects, which belong to the initial state.
    registry.cache.forget_history();
    api.health.set_started();
    let advertised = Advertised::new(advertised);
    start_loops(&api, &advertised, shutdown);
    let serve = listen::serve(listener, tls.clone(), Arc::clone(&api), shutdown.clone());
    let serve = essentials.clone().run("listener", serve);
    let serving = pandaemon_runtime::spawn("listener", serve);
    tracing::info!(%address, "serving the API");
    Ok(Running {
        api,
        address,
        serving,
        tls,
        shutdown: shutdown.clone(),
        essentials,
        advertised,
    })
}

/// Starts the work of the server beside requests.
fn start_loops(api: &Arc<Api>, advertised: &Advertised, shutdown: &Shutdown) {
    pandaemon_runtime::spawn(
        "housekeeping",
        housekeeping::run(Arc::clone(api), shutdown.clone()),
    );
    let endpoints = advertised.keep_endpoints(Arc::clone(&api.registry), shutdown.clone());
    pandaemon_runtime::spawn("kubernetes-service", endpoints);
    let secrets = ServiceAccountSecrets {
        registry: Arc::clone(&api.registry),
        issuer: Arc::clone(&api.service_accounts),
        ca: api.pki.server_ca().to_owned(),
    };
    pandaemon_runtime::spawn("service-account-secrets", secrets.run(shutdown.clone()));
    pandaemon_runtime::spawn(
        "certificate-renewal",
        housekeeping::renew_certificates(Arc::clone(&api.pki), shutdown.clone()),
    );
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

/// The names and addresses in the server's certificate.
fn names(config: &Config, address: SocketAddr, advertised: SocketAddr) -> Vec<String> {
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
    names.push(pandaemon_types::cluster_ip::KUBERNETES.to_string());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().to_ascii_lowercase();
    if rustls_pki_types::DnsName::try_from(host.as_str()).is_ok() {
        names.push(host);
    }
    let outward = outward_address().filter(|_| address.ip().is_unspecified());
    let own = [Some(address.ip()), Some(advertised.ip()), outward];
    let own = own.into_iter().flatten();
    let own = own.filter(|ip| !ip.is_unspecified());
    names.extend(own.map(|ip| ip.to_string()));
    names.extend(config.extra_sans.iter().cloned());
    names.sort_unstable();
    names.dedup();
    names
}

impl Running {
    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves the same API on an additional address, such as that of a bridge with nodes. Returns
    /// the address with its port. The certificate must contain it ([`Config::extra_sans`]).
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn also_listen(&self, address: SocketAddr) -> Result<SocketAddr, Error> {
        let listener = bind(address).await?;
        let address = listener.local_addr().unwrap_or(address);
        self.api.agents.server_is_at(address);
        let (tls, api) = (self.tls.clone(), Arc::clone(&self.api));
        let serve = listen::serve(listener, tls, api, self.shutdown.clone());
        pandaemon_runtime::spawn("additional-listener", serve);
        Ok(address)
    }

    /// Lets nodes and pods reach the server by this address, one that it listens on too: it becomes
    /// the endpoint of the Service `default/kubernetes`. False if they cannot reach it.
    pub fn advertise(&self, address: SocketAddr) -> bool {
        self.api.agents.server_is_at(address);
        self.advertised.set(address)
    }

    /// The administrator's kubeconfig for the server at this URL.
    #[must_use]
    pub fn kubeconfig(&self, server_url: &str) -> AdminKubeconfig {
        AdminKubeconfig::new(Arc::clone(&self.api.pki), server_url)
    }

    /// The token with which agents join.
    #[must_use]
    pub fn agent_token(&self) -> String {
        self.api.pki.tokens.agent.clone()
    }

    /// The administrator's bearer token.
    #[must_use]
    pub fn admin_token(&self) -> String {
        self.api.pki.tokens.admin.clone()
    }

    /// The certificate of the CA, in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.api.pki.server_ca().to_owned()
    }

    /// Signs approved certificate requests.
    #[must_use]
    pub fn signer(&self) -> Arc<dyn CertificateSigner> {
        Arc::new(Signer {
            pki: Arc::clone(&self.api.pki),
            registry: Arc::clone(&self.api.registry),
        })
    }

    /// An in-process client with the rights of the administrator.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.clients().admin()
    }

    /// Makes in-process clients of other users.
    #[must_use]
    pub fn clients(&self) -> Clients {
        Clients::new(Arc::clone(&self.api))
    }

    /// Serves one more kind from now on, with the objects of it that are stored.
    ///
    /// # Errors
    /// [`ServeError`] if another kind has one of its names, or its objects cannot be read.
    pub async fn serve_kind(&self, kind: Kind) -> Result<(), ServeError> {
        self.api.registry.serve_kind(kind).await
    }

    /// No longer serves a kind, and ends its watches. Its objects stay in the store.
    pub fn stop_serving(&self, group: &str, version: &str, plural: &str) {
        self.api.registry.stop_serving(group, version, plural);
    }

    /// Waits until a task that the server cannot work without has ended before the shutdown, and
    /// returns its name. The process should then end, so that it is started again.
    pub async fn failed(&self) -> &'static str {
        self.essentials.failed().await
    }

    /// Waits until all requests have ended after a shutdown.
    pub async fn wait(self) {
        // A panic of the listener was logged by its task.
        let _ended = self.serving.await;
        self.api.auditor.flush().await;
    }
}
