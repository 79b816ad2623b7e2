//! Kubeconfigs with embedded certificates.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::pki::Pki;

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

/// The kubeconfig of the administrator.
#[must_use]
pub(crate) fn admin(pki: &Pki, server: &str) -> String {
    let (ca, pair) = (pki.server_ca(), &pki.admin);
    kubeconfig(server, ca, "pandaemon-admin", &pair.certificate, &pair.key)
}
