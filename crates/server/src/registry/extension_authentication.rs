//! The ConfigMap from which extension API servers know whose certificates they may trust.
//! Upstream: `pkg/controlplane/controller/clusterauthenticationtrust`.

use pandaemon_machinery::status::Result;
use serde_json::{Value, json};

use super::{Registry, kinds};
use crate::{auth::front_proxy, pki::Pki};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

/// What the server says in the ConfigMap, which holds for the server itself, too.
fn data(pki: &Pki) -> [(&'static str, String); 7] {
    let text = str::to_owned;
    let list = |names: &[&str]| json!(names).to_string();
    let headers = front_proxy::HEADERS;
    [
        ("client-ca-file", pki.client_cas().concat()),
        ("requestheader-client-ca-file", text(pki.front_proxy_ca())),
        (
            "requestheader-allowed-names",
            list(&front_proxy::ALLOWED_NAMES),
        ),
        (
            "requestheader-extra-headers-prefix",
            list(&[headers.extra_prefix]),
        ),
        ("requestheader-group-headers", list(&[headers.group])),
        ("requestheader-uid-headers", list(&[headers.uid])),
        ("requestheader-username-headers", list(&[headers.name])),
    ]
}

/// Creates the ConfigMap, or sets the CAs in it. What else it contains is kept.
///
/// # Errors
/// The status of a failed write.
pub(crate) async fn publish(registry: &Registry, pki: &Pki) -> Result<()> {
    let call = registry.internal_call(kinds::config_maps()?, NAMESPACE, NAME);
    let new = || {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": NAMESPACE}, "data": {},
        })
    };
    let data = data(pki);
    let set = |value: &mut Value| {
        for (key, text) in &data {
            value["data"][key] = text.as_str().into();
        }
    };
    registry.ensure(&call, new, set).await
}
