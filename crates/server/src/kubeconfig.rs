//! Kubeconfigs with embedded certificates.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::sync::watch;

use crate::pki::{Pair, Pki};

/// A kubeconfig for the server at this URL: the certificate of its CA, the name of the user (in the
/// file only), and the user's client certificate and key, all in PEM.
#[must_use]
pub fn kubeconfig(server: &str, ca: &str, user: &str, certificate: &str, key: &str) -> String {
    let ca = STANDARD.encode(ca);
    let certificate = STANDARD.encode(certificate);
    let key = STANDARD.encode(key);
    // A string of JSON is one of YAML, whatever is in it.
    let [server, user] = [server, user].map(|text| serde_json::Value::from(text).to_string());
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: pandaemon
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
- name: {user}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: pandaemon
  context:
    cluster: pandaemon
    user: {user}
current-context: pandaemon
"
    )
}

/// The administrator's kubeconfig, which is another one when its certificate was renewed.
#[derive(Debug, Clone)]
pub struct AdminKubeconfig {
    pki: Arc<Pki>,
    admin: watch::Receiver<Pair>,
    server: String,
}

impl AdminKubeconfig {
    /// For the server at this URL.
    pub(crate) fn new(pki: Arc<Pki>, server: &str) -> Self {
        Self {
            admin: pki.admin.subscribe(),
            server: server.to_owned(),
            pki,
        }
    }

    /// The kubeconfig as it is now.
    #[must_use]
    pub fn text(&self) -> String {
        let pair = self.admin.borrow();
        kubeconfig(
            &self.server,
            self.pki.server_ca(),
            "pandaemon-admin",
            &pair.certificate,
            &pair.key,
        )
    }

    /// Waits until the certificate was renewed since this value was made, or since the last call.
    pub async fn renewed(&mut self) {
        // It does not fail: the sender is in `pki`.
        if self.admin.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
