//! Makes a client of a Kubernetes API from a kubeconfig file or the pod's own service account.

use std::path::Path;

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

/// A client for many small requests: it has no retries, no tracing span per request, and Nagle's algorithm is off.
/// Through a proxy it is kube's usual client.
///
/// # Errors
/// When the configuration names no usable cluster.
pub fn direct(config: Config) -> anyhow::Result<Client> {
    if config.proxy_url.is_some() {
        return Client::try_from(config).context("make a client");
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(config.connect_timeout);
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

/// The configuration for the cluster of a kubeconfig file; without one, for the cluster that this pod runs in, whose
/// token and CA are read again as they rotate.
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
