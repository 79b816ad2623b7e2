//! The embedded control plane: store, API server and controllers in this process.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use pandaemon_controllers::{Account, ClientBuilder, EnabledControllers, Options};
use pandaemon_runtime::{
    Shutdown, catch_panic,
    files::{private_dir, replace_private},
    metrics::Metrics,
};
use pandaemon_server::{AdminKubeconfig, Clients, Config, Lifetimes, Running};
use pandaemon_store::Store;
use tokio::task::JoinHandle;

use super::store::OpenStore;
use crate::args::{ApiServerOptions, PathArgs};

/// The administrator's kubeconfig in the data directory.
pub(crate) const ADMIN_KUBECONFIG: &str = "admin.kubeconfig";
/// How long after a failure the kubeconfig is written again.
const REWRITE: Duration = Duration::from_secs(60);

/// The configuration of a control plane.
#[derive(Debug)]
pub(crate) struct ControlPlaneConfig {
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    /// The address by which nodes and pods reach the API server.
    pub(crate) advertise_address: Option<Ipv4Addr>,
    /// More DNS names and IP addresses for the certificate of the API server.
    pub(crate) names: Vec<String>,
    pub(crate) controllers: EnabledControllers,
    pub(crate) options: ApiServerOptions,
    pub(crate) certificates: Lifetimes,
}

/// A running control plane.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    pub(crate) api: Running,
    /// The URL of the API server for clients on this machine.
    url: String,
    kubeconfig: AdminKubeconfig,
    store: Arc<dyn Store>,
    controllers: JoinHandle<Option<anyhow::Result<()>>>,
    /// Triggered when the controllers have ended.
    controllers_ended: Shutdown,
    shutdown: Shutdown,
}

impl ControlPlane {
    /// Starts the API server on the store, then the controllers. Returns when the API is served.
    ///
    /// # Errors
    /// If the server cannot start, such as for an address in use.
    pub(crate) async fn start(
        config: ControlPlaneConfig,
        opened: OpenStore,
    ) -> anyhow::Result<Self> {
        let metrics = Metrics::default();
        metrics.with(|registry| opened.counters.register(registry));
        let store = opened.encrypted.store();
        // Not the shutdown of the process: `stop` stops the parts in order.
        let shutdown = Shutdown::default();
        let server = Config {
            data_dir: config.data_dir,
            listen: config.listen,
            advertise_address: config.advertise_address,
            extra_sans: config.names,
            store: Arc::clone(&store),
            encryption: Some(opened.encrypted),
            metrics,
            authentication: config.options.authentication,
            authorizers: Vec::new(),
            admission: Vec::new(),
            audit: config.options.audit,
            certificates: config.certificates,
            admission_configuration: config.options.admission,
            service_accounts: config.options.service_accounts,
            seats: config.options.seats,
            allow_loopback_nodes: config.options.allow_loopback_nodes,
        };
        let api = pandaemon_server::start(server, &shutdown).await?;
        let options = Options {
            controllers: config.controllers,
            ca_pem: api.ca_pem(),
            signer: Some(api.signer()),
            embedded: true,
        };
        let clients = controller_clients(api.clients());
        let loops = pandaemon_controllers::run(clients, options, shutdown.clone());
        let controllers_ended = Shutdown::default();
        let ended = controllers_ended.clone();
        let controllers = pandaemon_runtime::spawn("controllers", async move {
            let result = catch_panic("controllers", loops).await;
            ended.trigger();
            result.unwrap_or(Ok(()))
        });
        let url = local_url(api.address());
        Ok(Self {
            kubeconfig: api.kubeconfig(&url),
            url,
            api,
            store,
            controllers,
            controllers_ended,
            shutdown,
        })
    }

    /// Writes the administrator's kubeconfig, for users and for commands that know the data
    /// directory only. Returns the URL in it. A full disk is no reason not to serve: then they are
    /// written as soon as there is space.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn write_kubeconfig(&self, paths: &PathArgs) -> anyhow::Result<&str> {
        let text = self.kubeconfig.text();
        for path in kubeconfigs(paths) {
            match write_kubeconfig(&path, &text) {
                Err(error) if is_full(&error) => {
                    let error = format!("{error:#}");
                    tracing::error!(error, "the kubeconfig is written when there is space");
                }
                written => written?,
            }
        }
        Ok(&self.url)
    }

    /// Keeps the administrator's kubeconfig as it should be: it is written again each time that its
    /// certificate was renewed, and if the disk was full at the start.
    async fn keep_kubeconfig(&self, paths: &PathArgs) {
        let mut kubeconfig = self.kubeconfig.clone();
        loop {
            let text = kubeconfig.text();
            for path in kubeconfigs(paths) {
                if std::fs::read_to_string(&path).is_ok_and(|now| now == text) {
                    continue;
                }
                while let Err(error) = write_kubeconfig(&path, &text) {
                    let error = format!("{error:#}");
                    tracing::warn!(error, "retrying in {REWRITE:?}");
                    tokio::time::sleep(REWRITE).await;
                }
                tracing::info!("wrote the administrator's kubeconfig {}", path.display());
            }
            kubeconfig.renewed().await;
        }
    }

    /// Waits for `shutdown`. Meanwhile the kubeconfigs at these paths stay valid.
    ///
    /// # Errors
    /// If a part of the control plane has ended before: the process must end, to be started again.
    pub(crate) async fn run_until(
        &self,
        paths: &PathArgs,
        shutdown: &Shutdown,
    ) -> anyhow::Result<()> {
        let part = tokio::select! {
            () = shutdown.triggered() => return Ok(()),
            part = self.api.failed() => part,
            () = self.controllers_ended.triggered() => "controllers",
            () = self.keep_kubeconfig(paths) => return Ok(()),
        };
        anyhow::bail!("the control plane stops because its task {part} has ended; the log says why")
    }

    /// Closes watches, waits for the requests under way and for the controllers, and closes the
    /// store.
    ///
    /// # Errors
    /// If the controllers failed.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.trigger();
        self.api.wait().await;
        let loops = self.controllers.await;
        self.store.close().await;
        match loops {
            Ok(Some(result)) => result.context("controllers"),
            // The task's panic has been logged.
            _ => Ok(()),
        }
    }
}

/// Clients of the accounts of the controllers.
fn controller_clients(clients: Clients) -> ClientBuilder {
    ClientBuilder::new(move |account| match account {
        Account::ServiceAccount(name) => clients.service_account("kube-system", name),
        Account::User(name) => clients.user(name),
    })
}

/// Where the administrator's kubeconfig is.
fn kubeconfigs(paths: &PathArgs) -> [PathBuf; 2] {
    [
        paths.data_dir.join(ADMIN_KUBECONFIG),
        paths.write_kubeconfig.clone(),
    ]
}

/// Whether a file could not be written because its disk is full.
fn is_full(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| {
        matches!(
            error.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        )
    })
}

/// Writes the kubeconfig with mode 0600, in one step: a reader sees the old or the new content.
///
/// # Errors
/// If the file or its directory cannot be written.
fn write_kubeconfig(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    private_dir(folder)
        .and_then(|()| replace_private(path, text.as_bytes()))
        .with_context(|| format!("write the kubeconfig {}", path.display()))
}

/// The URL by which a client on this machine reaches a server that listens on this address.
fn local_url(address: SocketAddr) -> String {
    let port = address.port();
    match address.ip() {
        ip if ip.is_unspecified() => format!("https://127.0.0.1:{port}"),
        std::net::IpAddr::V6(ip) => format!("https://[{ip}]:{port}"),
        std::net::IpAddr::V4(ip) => format!("https://{ip}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{args::EncryptionArgs, command::store::open_store, progress::Step};

    #[test]
    fn listen_addresses_have_local_urls() {
        let cases = [
            ("0.0.0.0:6443", "https://127.0.0.1:6443"),
            ("[::]:1", "https://127.0.0.1:1"),
            ("[::1]:1", "https://[::1]:1"),
            ("10.0.0.1:443", "https://10.0.0.1:443"),
        ];
        for (address, url) in cases {
            assert_eq!(local_url(address.parse().unwrap()), url);
        }
    }

    /// The user of a client's requests.
    async fn user(client: kube::Client) -> serde_json::Value {
        let review = br#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let request = hyper::Request::post(path)
            .header("content-type", "application/json")
            .body(review.to_vec());
        let mut answer: serde_json::Value = client.request(request.unwrap()).await.unwrap();
        answer["status"]["userInfo"].take()
    }

    /// A control plane without controllers, whose own certificates are valid that long.
    async fn plane(data: &Path, own: Duration) -> ControlPlane {
        let config = ControlPlaneConfig {
            data_dir: data.to_owned(),
            listen: ([127, 0, 0, 1], 0).into(),
            advertise_address: None,
            names: Vec::new(),
            controllers: "".parse().unwrap(),
            options: ApiServerOptions::default(),
            certificates: Lifetimes {
                own,
                ..Lifetimes::default()
            },
        };
        let encryption = EncryptionArgs {
            encryption_key_file: None,
            encrypt_resources: vec!["secrets".into()],
        };
        let step = Step::start("Open the store");
        let store = open_store(data, &encryption, &step).await.unwrap();
        ControlPlane::start(config, store).await.unwrap()
    }

    #[tokio::test]
    async fn the_kubeconfig_is_written_again_when_its_certificate_was_renewed() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().unwrap();
        let plane = plane(data.path(), Duration::from_secs(9)).await;
        let paths = PathArgs {
            data_dir: data.path().to_owned(),
            write_kubeconfig: data.path().join("kubeconfig"),
        };
        plane.write_kubeconfig(&paths).unwrap();
        let files = [
            data.path().join(ADMIN_KUBECONFIG),
            paths.write_kubeconfig.clone(),
        ];
        let read = |file: &Path| std::fs::read_to_string(file).unwrap();
        let first = read(&files[0]);
        let ended = Shutdown::default();
        let renewed = async {
            while files.iter().any(|file| read(file) == first) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            ended.trigger();
        };
        let (result, ()) = tokio::join!(plane.run_until(&paths, &ended), renewed);
        result.unwrap();
        assert_eq!(read(&files[0]), read(&files[1]));
        for file in &files {
            let mode = std::fs::metadata(file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let config = kube::config::Kubeconfig::from_yaml(&read(&files[1])).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(config, &options)
            .await
            .unwrap();
        let client = kube::Client::try_from(config).unwrap();
        assert_eq!(user(client).await["username"], "pandaemon-admin");
        plane.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_is_no_reason_not_to_serve() {
        let data = tempfile::tempdir().unwrap();
        let plane = plane(data.path(), Lifetimes::default().own).await;
        let Some(disk) = pandaemon_testkit::disk::Tmpfs::mount(&data.path().join("full"), 1) else {
            return;
        };
        let paths = PathArgs {
            data_dir: disk.path().to_owned(),
            write_kubeconfig: data.path().join("kubeconfig"),
        };
        let filler = disk.path().join("filler");
        std::fs::write(&filler, vec![0; 2 << 20]).unwrap_err();
        plane.write_kubeconfig(&paths).unwrap();
        assert!(paths.write_kubeconfig.exists(), "it is on another disk");
        std::fs::remove_file(filler).unwrap();
        let ended = Shutdown::default();
        let written = async {
            let file = disk.path().join(ADMIN_KUBECONFIG);
            while !file.exists() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            ended.trigger();
        };
        let (result, ()) = tokio::join!(plane.run_until(&paths, &ended), written);
        result.unwrap();
        plane.stop().await.unwrap();
    }

    #[tokio::test]
    async fn controllers_act_as_their_accounts() {
        let data = tempfile::tempdir().unwrap();
        let plane = plane(data.path(), Lifetimes::default().own).await;
        let clients = controller_clients(plane.api.clients());
        let account = Account::ServiceAccount("daemon-set-controller");
        assert_eq!(
            user(clients.client(account)).await,
            serde_json::json!({
                "username": "system:serviceaccount:kube-system:daemon-set-controller",
                "groups": [
                    "system:serviceaccounts", "system:serviceaccounts:kube-system",
                    "system:authenticated",
                ],
            })
        );
        let scheduler = clients.client(Account::User("system:kube-scheduler"));
        assert_eq!(
            user(scheduler).await,
            serde_json::json!({
                "username": "system:kube-scheduler", "groups": ["system:authenticated"],
            })
        );
        plane.stop().await.unwrap();
    }

    #[test]
    fn kubeconfig_is_replaced_and_readable_by_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("below/kubeconfig");
        write_kubeconfig(&path, "a").unwrap();
        write_kubeconfig(&path, "b").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
