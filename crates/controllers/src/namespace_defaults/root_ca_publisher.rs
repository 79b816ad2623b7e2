//! The root CA publisher: the cluster's CA certificate in a ConfigMap of every namespace.

use std::collections::BTreeMap;

use kube::Client;
use pandaemon_runtime::Shutdown;
use serde_json::json;

use super::per_namespace::{RequiredObject, keep_in_all_namespaces};

/// Upstream's description of the ConfigMap.
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints \
    such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of \
    Kubernetes clusters.";

/// Runs the root CA publisher until a stop is asked for. `informers` is the client of its watches,
/// as its own account may not read.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run(
    client: Client,
    informers: Client,
    ca_pem: String,
    stop: Shutdown,
) -> anyhow::Result<()> {
    let data = BTreeMap::from([("ca.crt".to_owned(), ca_pem)]);
    let body = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "kube-root-ca.crt",
            "annotations": { "kubernetes.io/description": DESCRIPTION },
        },
        "data": data,
    });
    let required = RequiredObject {
        plural: "configmaps",
        name: "kube-root-ca.crt",
        body,
        data: Some(data),
    };
    keep_in_all_namespaces([client, informers], required, stop).await
}
