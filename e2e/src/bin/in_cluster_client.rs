//! A client in a pod: lists the pods of its namespace by the configuration that a pod has, once by
//! the variables of its environment and once by the Service's DNS name. Prints a line for each.

use std::io::{self, Write as _};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, Config, api::ListParams};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut out = io::stdout();
    for config in [Config::incluster_env()?, Config::incluster_dns()?] {
        let url = config.cluster_url.to_string();
        let pods: Api<Pod> = Api::default_namespaced(Client::try_from(config)?);
        match pods.list(&ListParams::default()).await {
            Ok(_) => writeln!(out, "{url}: 200")?,
            Err(kube::Error::Api(status)) => {
                writeln!(out, "{url}: {} {}", status.code, status.message)?;
            }
            Err(error) => return Err(error).context(url),
        }
    }
    Ok(())
}
