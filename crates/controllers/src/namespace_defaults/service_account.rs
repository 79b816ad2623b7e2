//! The service account controller: a ServiceAccount `default` in every namespace.

use kube::Client;
use pandaemon_runtime::Shutdown;
use serde_json::json;

use super::per_namespace::{RequiredObject, keep_in_all_namespaces};

/// Runs the service account controller until a stop is asked for. `informers` is the client of its
/// watches, as its own account may not read.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run(client: Client, informers: Client, stop: Shutdown) -> anyhow::Result<()> {
    let body = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" },
    });
    keep_in_all_namespaces(
        [client, informers],
        RequiredObject {
            plural: "serviceaccounts",
            name: "default",
            body,
            data: None,
        },
        stop,
    )
    .await
}
