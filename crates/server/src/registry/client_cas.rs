//! Tells API servers behind this one how it verifies clients: the ConfigMap
//! `extension-apiserver-authentication`. Upstream: `clusterauthenticationtrust`.

use pandaemon_machinery::{decode::Decoded, status::Result};
use serde_json::{Value, json};

use super::{Registry, kinds, update::Change};
use crate::pki::Pki;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

/// The data of the ConfigMap. Names and headers are those of kubeadm.
fn data(pki: &Pki) -> Value {
    json!({
        "client-ca-file": pki.client_cas().concat(),
        "requestheader-client-ca-file": pki.front_proxy_ca(),
        "requestheader-allowed-names": "[\"front-proxy-client\"]",
        "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
        "requestheader-group-headers": "[\"X-Remote-Group\"]",
        "requestheader-username-headers": "[\"X-Remote-User\"]",
    })
}

impl Registry {
    /// Writes the ConfigMap, if it is not as it should be.
    ///
    /// # Errors
    /// The status of a failed write.
    pub(crate) async fn publish_client_cas(&self, pki: &Pki) -> Result<()> {
        let call = self.internal_call(kinds::config_maps()?, NAMESPACE, NAME);
        if self.find(&call.kind, NAMESPACE, NAME).is_none() {
            let value = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": NAME, "namespace": NAMESPACE}, "data": data(pki),
            });
            let warnings = Vec::new();
            self.create(&call, Decoded { value, warnings }).await?;
            return Ok(());
        }
        let changed = |old: &Value| {
            let mut value = old.clone();
            value["data"] = data(pki);
            Ok(Change {
                value,
                warnings: Vec::new(),
                is_applied: false,
            })
        };
        self.guaranteed_update(&call, changed).await?;
        Ok(())
    }
}
