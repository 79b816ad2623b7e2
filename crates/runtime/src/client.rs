//! Clients of a Kubernetes API from a kubeconfig file or the pod's own service account.

use std::path::Path;

use anyhow::Context as _;
use http::{HeaderValue, header::USER_AGENT};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

/// The first word is what a server calls the manager of the fields that this client sets.
const AGENT: &str = concat!("pandaemon/", env!("CARGO_PKG_VERSION"));

/// A client for the cluster that `kubeconfig` (or, without one, the environment) names.
///
/// # Errors
/// When the file cannot be read or names no usable cluster.
pub async fn connect(kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
    let config = match kubeconfig {
        Some(path) => from_file(path, None).await?,
        None => Config::infer()
            .await
            .context("find a cluster: pass --kubeconfig FILE")?,
    };
    Client::try_from(named(config)).context("make a client")
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
