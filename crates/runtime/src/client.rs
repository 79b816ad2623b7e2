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
    let mut config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path)
                .with_context(|| format!("read kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("use kubeconfig {}", path.display()))?
        }
        None => Config::infer()
            .await
            .context("find a cluster: pass --kubeconfig FILE")?,
    };
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(AGENT)));
    Client::try_from(config).context("make a client")
}
