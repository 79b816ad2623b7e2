//! The ConfigMap from which extension API servers know whose certificates they may trust.
//! Upstream: `pkg/controlplane/controller/clusterauthenticationtrust`.

use pandaemon_machinery::{decode::Decoded, status::Result};
use serde_json::{Value, json};

use super::{Registry, kinds, unreadable, update::Change};
use crate::pki::Pki;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

/// What the server says in the ConfigMap. Names and headers of front proxies are those of kubeadm.
fn data(pki: &Pki) -> [(&'static str, String); 6] {
    let text = str::to_owned;
    [
        ("client-ca-file", pki.client_cas().concat()),
        ("requestheader-client-ca-file", text(pki.front_proxy_ca())),
        (
            "requestheader-allowed-names",
            text("[\"front-proxy-client\"]"),
        ),
        (
            "requestheader-extra-headers-prefix",
            text("[\"X-Remote-Extra-\"]"),
        ),
        ("requestheader-group-headers", text("[\"X-Remote-Group\"]")),
        (
            "requestheader-username-headers",
            text("[\"X-Remote-User\"]"),
        ),
    ]
}

/// Creates the ConfigMap, or sets the CAs in it. What else it contains is kept.
///
/// # Errors
/// The status of a failed write.
pub(crate) async fn publish(registry: &Registry, pki: &Pki) -> Result<()> {
    let call = registry.internal_call(kinds::config_maps()?, NAMESPACE, NAME);
    let set = |value: &mut Value| {
        for (key, text) in data(pki) {
            value["data"][key] = text.into();
        }
    };
    let Some(existing) = registry.find(&call.kind, NAMESPACE, NAME) else {
        let mut value = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": NAMESPACE}, "data": {},
        });
        set(&mut value);
        let warnings = Vec::new();
        let created = registry.create(&call, Decoded { value, warnings }).await;
        return created.map(|_| ());
    };
    let existing = existing.value().map_err(unreadable)?;
    if data(pki)
        .iter()
        .all(|(key, text)| existing["data"][*key] == **text)
    {
        return Ok(());
    }
    let updated = registry.guaranteed_update(&call, |old| {
        let mut value = old.clone();
        set(&mut value);
        Ok(Change {
            value,
            warnings: Vec::new(),
            is_applied: false,
        })
    });
    updated.await.map(|_| ())
}
