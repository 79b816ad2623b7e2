//! An API server in the process of a test, benchmark or example, with its data in a temporary
//! directory.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use pandaemon_client::rest::{Patch, Rest};
use pandaemon_runtime::{Shutdown, metrics::Metrics};
use pandaemon_server::{
    AuditConfig, AuthenticationOptions, Authorizer, Config, Error, Lifetimes, Running, Seats,
    ServiceAccountOptions,
    admission::{AdmissionConfiguration, Plugin},
};
use pandaemon_store::{
    Embedded, Store,
    double::{Double, Faults},
    encryption::{EncryptedStore, Encryption, Settings},
};
use serde_json::Value;
use tempfile::TempDir;

/// How long [`Server::until`] waits.
const UNTIL_TIMEOUT: Duration = Duration::from_secs(30);
/// How often [`Server::until`] reads the object.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// What a [`Server`] is started with.
#[derive(Debug)]
pub struct ServerOptions {
    /// The data directory; a new one if `None`. It is removed with the server.
    pub data_dir: Option<TempDir>,
    /// The store of the objects; an embedded store in the data directory if `None`.
    pub store: Option<Arc<dyn Store>>,
    /// The store with its keys, for a server that encrypts; `store` is not needed then.
    pub encryption: Option<Arc<EncryptedStore>>,
    /// The address to listen on: a free port of 127.0.0.1 by default.
    pub listen: SocketAddr,
    /// The address by which nodes and pods reach the server.
    pub advertise_address: Option<Ipv4Addr>,
    /// Additional names and addresses for the server's certificate.
    pub extra_sans: Vec<String>,
    /// The files that name users.
    pub authentication: AuthenticationOptions,
    /// Authorizers that are asked before the built-in ones.
    pub authorizers: Vec<Arc<dyn Authorizer>>,
    /// Admission plugins beside the built-in ones.
    pub admission: Vec<Arc<dyn Plugin>>,
    /// The audit log; none by default.
    pub audit: AuditConfig,
    /// How long certificates are valid.
    pub certificates: Lifetimes,
    /// The configuration of built-in admission plugins.
    pub admission_configuration: AdmissionConfiguration,
    /// How tokens of service accounts are issued and verified.
    pub service_accounts: ServiceAccountOptions,
    /// How many seats priority and fairness gives out.
    pub seats: Seats,
    /// Whether agents may have loopback addresses, as those in the process of a test have.
    pub allow_loopback_nodes: bool,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            data_dir: None,
            store: None,
            encryption: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise_address: None,
            extra_sans: Vec::new(),
            authentication: AuthenticationOptions::default(),
            authorizers: Vec::new(),
            admission: Vec::new(),
            audit: AuditConfig::default(),
            certificates: Lifetimes::default(),
            admission_configuration: AdmissionConfiguration::default(),
            service_accounts: ServiceAccountOptions::default(),
            seats: Seats::default(),
            allow_loopback_nodes: true,
        }
    }
}

/// The environment variable that has servers start on another store: `double` for a store double
/// with the faults that no client may notice, `encrypted` for one that encrypts all objects.
const STORE_VARIABLE: &str = "PANDAEMON_TEST_STORE";

/// An embedded store in this directory, or the one that [`STORE_VARIABLE`] asks for.
async fn default_store(directory: &Path) -> Result<Arc<dyn Store>, pandaemon_store::Error> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test has no command line of its own"
    )]
    let asked_for = std::env::var(STORE_VARIABLE).unwrap_or_default();
    if asked_for == "double" {
        let faults = Faults {
            latency: Duration::from_millis(4),
            conflicts: 50,
            lost_replies: 50,
            ..Faults::default()
        };
        return Ok(Arc::new(Double::new(faults, 1)));
    }
    let options = pandaemon_store::Options::default();
    let embedded = Arc::new(Embedded::open(directory, options)?);
    if asked_for != "encrypted" {
        return Ok(embedded);
    }
    let settings = Settings {
        key_file: directory.join("encryption-keys"),
        prefixes: vec!["/".into()],
        keeps_encrypted: false,
        deletes_lost: false,
    };
    let encryption = Encryption::read(settings).unwrap();
    let opened = EncryptedStore::open(embedded, encryption, true, &|_, _| {}).await;
    Ok(opened.unwrap().store())
}

/// A running API server without controllers. Dropped, it shuts down and removes its data directory.
///
/// The methods that send requests do so in process, as administrator, and panic when a request
/// fails.
pub struct Server {
    /// `None` after [`Server::stop`].
    running: Option<Running>,
    rest: Rest,
    shutdown: Shutdown,
    /// The last field, because the directory must outlive the server.
    data_dir: TempDir,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("running", &self.running)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

impl Server {
    /// Starts a server with default options.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Self {
        match Self::start_with(ServerOptions::default()).await {
            Ok(server) => server,
            Err(error) => panic!("start an API server: {error}"),
        }
    }

    /// Starts a server.
    ///
    /// # Errors
    /// When the address cannot be listened on or the store cannot be read.
    pub async fn start_with(options: ServerOptions) -> Result<Self, Error> {
        let data_dir = options
            .data_dir
            .unwrap_or_else(|| tempfile::tempdir().unwrap());
        let encrypted = options.encryption.as_ref().map(|store| store.store());
        let store = match options.store.or(encrypted) {
            Some(store) => store,
            None => default_store(&Self::store_dir(data_dir.path())).await?,
        };
        let shutdown = Shutdown::default();
        let config = Config {
            data_dir: data_dir.path().to_owned(),
            listen: options.listen,
            advertise_address: options.advertise_address,
            extra_sans: options.extra_sans,
            store,
            encryption: options.encryption,
            metrics: Metrics::default(),
            authentication: options.authentication,
            authorizers: options.authorizers,
            admission: options.admission,
            audit: options.audit,
            certificates: options.certificates,
            admission_configuration: options.admission_configuration,
            service_accounts: options.service_accounts,
            seats: options.seats,
            allow_loopback_nodes: options.allow_loopback_nodes,
        };
        let running = pandaemon_server::start(config, &shutdown).await?;
        Ok(Self {
            rest: Rest::new(running.client()),
            running: Some(running),
            shutdown,
            data_dir,
        })
    }

    /// The directory of the embedded store below a data directory.
    #[must_use]
    pub fn store_dir(data_dir: &Path) -> PathBuf {
        data_dir.join("store")
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// The server itself, for its address, tokens and certificates.
    ///
    /// # Panics
    /// After [`Server::stop`].
    #[must_use]
    pub fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    /// The shutdown of the server. Triggered, it ends the server and its children, such as
    /// controllers.
    #[must_use]
    pub const fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// The in-process client of the administrator.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.rest.client().clone()
    }

    /// Requests by path through the in-process client.
    #[must_use]
    pub const fn rest(&self) -> &Rest {
        &self.rest
    }

    /// The administrator's kubeconfig for the loopback address.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        let running = self.running();
        running
            .kubeconfig(&format!("https://{}", running.address()))
            .text()
    }

    /// The administrator's client configuration for the loopback address.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn tls_config(&self) -> anyhow::Result<kube::Config> {
        let file = Kubeconfig::from_yaml(&self.kubeconfig()).context("parse the kubeconfig")?;
        kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .context("use the kubeconfig")
    }

    /// A client of the administrator over TLS on loopback.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn tls_client(&self) -> anyhow::Result<kube::Client> {
        kube::Client::try_from(self.tls_config().await?).context("create the client")
    }

    /// Stops the server and waits until its requests have ended. The data directory stays until the
    /// drop.
    pub async fn stop(&mut self) {
        self.shutdown.trigger();
        if let Some(running) = self.running.take() {
            running.wait().await;
        }
    }

    /// Reads an object or a list; null if it does not exist.
    ///
    /// # Panics
    /// When the request fails.
    pub async fn get(&self, path: &str) -> Value {
        match self.rest.get(path).await {
            Ok(found) => found.unwrap_or(Value::Null),
            Err(error) => panic!("GET {path}: {error}"),
        }
    }

    /// The items of a list.
    ///
    /// # Panics
    /// When the request fails.
    pub async fn items(&self, path: &str) -> Vec<Value> {
        let list = self.get(path).await;
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Creates an object in a collection and returns it.
    ///
    /// # Panics
    /// When the request fails.
    pub async fn create(&self, collection: &str, object: Value) -> Value {
        match self.rest.create(collection, &object).await {
            Ok(created) => created,
            Err(error) => panic!("POST {collection} {object}: {error}"),
        }
    }

    /// Patches an object.
    ///
    /// # Panics
    /// When the request fails.
    pub async fn patch(&self, path: &str, form: Patch, body: Value) {
        if let Err(error) = self.rest.patch(path, form, &body).await {
            panic!("PATCH {path} {body}: {error}");
        }
    }

    /// Deletes an object.
    ///
    /// # Panics
    /// When the request fails or the object does not exist.
    pub async fn delete(&self, path: &str, options: Value) {
        match self.rest.delete(path, &options).await {
            Ok(true) => (),
            Ok(false) => panic!("DELETE {path}: it does not exist"),
            Err(error) => panic!("DELETE {path}: {error}"),
        }
    }

    /// Reads an object again and again until it satisfies `good`, and returns it. A missing object
    /// is null.
    ///
    /// # Panics
    /// After 30 seconds.
    pub async fn until(&self, path: &str, good: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = tokio::time::timeout(UNTIL_TIMEOUT, async {
            loop {
                last = self.get(path).await;
                if good(&last) {
                    return;
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        });
        match found.await {
            Ok(()) => last,
            Err(_) => panic!("{path} stayed {last:#}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn both_clients_reach_the_server_until_it_stops() {
        let mut server = Server::start().await;
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
        let maps = "/api/v1/namespaces/default/configmaps";
        server.create(maps, map).await;
        let remote = Rest::new(server.tls_client().await.unwrap());
        let found: Option<Value> = remote.get(&format!("{maps}/m")).await.unwrap();
        assert_eq!(found, Some(server.get(&format!("{maps}/m")).await));
        server.stop().await;
        assert!(server.data_dir().join("store").is_dir());
        assert!(remote.get::<Value>(maps).await.is_err());
    }
}
