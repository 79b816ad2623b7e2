//! The ConfigMap from which extension API servers know whose certificates they may trust.
//! Upstream: `pkg/controlplane/controller/clusterauthenticationtrust`.

use pandaemon_machinery::{decode::Decoded, status::Result};
use serde_json::json;

use super::{Registry, kinds, unreadable, update::Change};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";
/// The key of the CA of client certificates, in PEM.
const CLIENT_CA: &str = "client-ca-file";

/// Creates the ConfigMap, or sets the CA in it. What else it contains is kept.
///
/// # Errors
/// The status of a failed write.
pub(crate) async fn publish(registry: &Registry, client_ca: &str) -> Result<()> {
    let call = registry.internal_call(kinds::config_maps()?, NAMESPACE, NAME);
    let Some(existing) = registry.find(&call.kind, NAMESPACE, NAME) else {
        let value = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": NAMESPACE}, "data": {CLIENT_CA: client_ca},
        });
        let warnings = Vec::new();
        let created = registry.create(&call, Decoded { value, warnings }).await;
        return created.map(|_| ());
    };
    if existing.value().map_err(unreadable)?["data"][CLIENT_CA] == client_ca {
        return Ok(());
    }
    let updated = registry.guaranteed_update(&call, |old| {
        let mut value = old.clone();
        value["data"][CLIENT_CA] = client_ca.into();
        Ok(Change {
            value,
            warnings: Vec::new(),
            is_applied: false,
        })
    });
    updated.await.map(|_| ())
}
