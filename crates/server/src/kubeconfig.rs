//! The administrator's kubeconfig.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::pki::Pki;

/// A kubeconfig with embedded certificates for the server at this URL.
#[must_use]
pub(crate) fn admin(pki: &Pki, server: &str) -> String {
    let ca = STANDARD.encode(pki.server_ca());
    let certificate = STANDARD.encode(&pki.admin.certificate);
    let key = STANDARD.encode(&pki.admin.key);
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: pandaemon
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
- name: pandaemon-admin
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: pandaemon
  context:
    cluster: pandaemon
    user: pandaemon-admin
current-context: pandaemon
"
    )
}
