//! Joining a cluster, and renewal: the node's certificates, by CertificateSigningRequests with the
//! token or with the client certificate that the node has. Upstream:
//! `pkg/kubelet/certificate/bootstrap`.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderValue, Request, header::USER_AGENT};
use http_body_util::{BodyExt as _, Limited};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Client, client::Body, config::AuthInfo};
use pandaemon_client::{connect, errors, rest::Rest};
use rustls::pki_types::CertificateDer;

use super::{
    certificate_request::{Failure, NodeRequest},
    identity::{Credential, Identity},
    node_registration::deleted_node,
};
use crate::{config::Config, images::archive::digest, tls};

/// Timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// The largest answer in bytes of a server that is not verified yet.
const MAX_RESPONSE: usize = 1 << 20;
/// Where the server says whose certificates it takes from clients.
const AUTHENTICATION: &str =
    "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";

/// The server refused this agent. Trying again does not help.
#[derive(Debug, thiserror::Error)]
#[error("{server} refused the agent: {reason}")]
pub struct JoinRefused {
    server: String,
    reason: String,
}

/// Why an attempt to join failed.
#[derive(Debug)]
pub(crate) enum JoinError {
    /// Another attempt would fail too, until a person changes something.
    Permanent(anyhow::Error),
    /// The certificate of this node does not count, as its Node was deleted.
    NodeDeleted(anyhow::Error),
    /// The server cannot be reached or is busy.
    Transient(anyhow::Error),
}

/// The certificates that the server issued, in PEM.
pub(crate) struct IssuedCertificates {
    pub client_certificate: String,
    pub serving_certificate: String,
    /// What the server is verified with.
    pub ca_certificate: String,
    /// What clients of the kubelet server are verified with.
    pub client_ca_certificate: String,
}

fn auth_info(credential: &Credential, config: &Config) -> AuthInfo {
    let mut info = AuthInfo::default();
    match credential {
        Credential::Token => info.token = Some(config.token.to_string().into()),
        Credential::Certificate { certificate, key } => {
            info.client_certificate_data = Some(BASE64_STANDARD.encode(certificate));
            info.client_key_data = Some(BASE64_STANDARD.encode(key).into());
        }
    }
    info
}

/// The digest of the CA certificate that the token begins with.
///
/// # Errors
/// If the token has another form.
pub(crate) fn ca_digest(config: &Config) -> anyhow::Result<&str> {
    let Some((ca_digest, _secret)) = config.token.split_once('.') else {
        bail!("the token must have the form DIGEST.SECRET; the server's data directory holds it");
    };
    Ok(ca_digest)
}

/// Requests certificates for the keys of this identity.
pub(crate) async fn request(
    config: &Config,
    identity: &Identity,
    address: IpAddr,
) -> Result<IssuedCertificates, JoinError> {
    let ca_certificate = server_ca(config).await?;
    let ca = tls::only_certificate(&ca_certificate).map_err(JoinError::Transient)?;
    let joining = Joining {
        config,
        identity,
        address,
        ca_certificate,
        connect: &|credential| {
            let client = api_config(config, auth_info(credential, config))?;
            connect::direct(verified(client, &ca))
        },
    };
    joining.certificates().await
}

/// The certificate of the CA of the server, in PEM. It comes from a server that is not verified,
/// and counts if it is the one whose digest is in the token.
pub(crate) async fn server_ca(config: &Config) -> Result<String, JoinError> {
    let expected = ca_digest(config).map_err(JoinError::Permanent)?;
    let mut unverified = api_config(config, AuthInfo::default()).map_err(JoinError::Permanent)?;
    unverified.accept_invalid_certs = true;
    let client = connect::direct(unverified).map_err(JoinError::Permanent)?;
    let text = tokio::time::timeout(REQUEST_TIMEOUT, fetch_ca(&client)).await;
    let text = text.unwrap_or_else(|_| Err(errors::TimedOut(REQUEST_TIMEOUT).into()));
    let text = text
        .with_context(|| format!("fetch {}/cacerts", config.server))
        .map_err(JoinError::Transient)?;
    // Others beside it would be trusted without a digest.
    let certificate = tls::only_certificate(&text).map_err(JoinError::Transient)?;
    if digest(&certificate).trim_start_matches("sha256:") != expected {
        let reason = "the token belongs to another server: its CA certificate has another digest";
        return Err(refused(config, reason));
    }
    Ok(text)
}

async fn fetch_ca(client: &Client) -> anyhow::Result<String> {
    let request = Request::get("/cacerts").body(Body::empty())?;
    let response = client.send(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_RESPONSE);
    let body = body.collect().await.map_err(kube::Error::Service)?;
    if !status.is_success() {
        bail!("the answer is {status}");
    }
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}

fn refused(config: &Config, reason: &str) -> JoinError {
    JoinError::Permanent(refusal(config, reason))
}

fn refusal(config: &Config, reason: &str) -> anyhow::Error {
    let (server, reason) = (config.server.clone(), reason.to_owned());
    JoinRefused { server, reason }.into()
}

/// A machine that asks for the certificates of its node.
pub(crate) struct Joining<'a> {
    pub config: &'a Config,
    pub identity: &'a Identity,
    pub address: IpAddr,
    /// What the server is verified with, in PEM.
    pub ca_certificate: String,
    /// Makes a client of the API server with a credential.
    pub connect: &'a (dyn Fn(&Credential) -> anyhow::Result<Client> + Send + Sync),
}

impl Joining<'_> {
    /// Asks for both certificates, and reads what clients of this node are verified with.
    pub(crate) async fn certificates(self) -> Result<IssuedCertificates, JoinError> {
        let (identity, node) = (self.identity, &self.config.node_name);
        let client = NodeRequest::client(identity, node).map_err(JoinError::Permanent)?;
        let serving = NodeRequest::serving(identity, node, self.address);
        let serving = serving.map_err(JoinError::Permanent)?;

        let client_certificate = self.client_certificate(&client).await?;
        let key = identity.read("client.key").map_err(JoinError::Permanent)?;
        let own = Credential::Certificate {
            certificate: client_certificate.clone(),
            key,
        };
        let rest = self.rest(&own).map_err(JoinError::Permanent)?;
        let served = async { serving.issue(&rest).await };
        let done = tokio::try_join!(served, client_ca(&rest));
        let (serving_certificate, client_ca_certificate) = done.map_err(|failure| {
            if matches!(&failure, Failure::Api(error) if errors::status(error).is_some()) {
                // The certificate may be of the time before the record of the node was lost, or
                // before its Node was deleted: the next attempt gets a new one.
                client.forget();
            }
            self.error(&own, failure)
        })?;
        client.forget();
        serving.forget();
        Ok(IssuedCertificates {
            client_certificate,
            serving_certificate,
            ca_certificate: self.ca_certificate,
            client_ca_certificate,
        })
    }

    /// Asks with the certificate that the node has: its token may have ended. If that no longer
    /// counts, with the token.
    async fn client_certificate(&self, request: &NodeRequest<'_>) -> Result<String, JoinError> {
        let own = self.identity.credential_of(&self.config.node_name);
        if let Some(own) = own
            && let Ok(rest) = self.rest(&own)
        {
            match request.issue(&rest).await {
                Err(Failure::Api(error)) if is_no_credential(&error) => tracing::info!(
                    %error,
                    "the server does not take the client certificate of this node: using the token"
                ),
                done => return done.map_err(|failure| self.error(&own, failure)),
            }
        }
        let rest = self.rest(&Credential::Token);
        let issued = request.issue(&rest.map_err(JoinError::Permanent)?).await;
        issued.map_err(|failure| self.error(&Credential::Token, failure))
    }

    fn rest(&self, credential: &Credential) -> anyhow::Result<Rest> {
        Ok(Rest::new((self.connect)(credential)?).timeout(REQUEST_TIMEOUT))
    }

    fn error(&self, credential: &Credential, failure: Failure) -> JoinError {
        let error = match failure {
            Failure::Refused(reason) => return refused(self.config, &reason),
            Failure::Later(error) => return JoinError::Transient(error),
            Failure::Api(error) => error,
        };
        let Some(status) = errors::status(&error) else {
            let error = anyhow::Error::from(error).context("ask for a certificate");
            return JoinError::Transient(error);
        };
        match (status.code, credential) {
            (401, Credential::Token) => refused(
                self.config,
                "the token is wrong, has expired or was revoked",
            ),
            (403, _) if deleted_node(status).is_some() => {
                JoinError::NodeDeleted(refusal(self.config, &status.message))
            }
            (400 | 403 | 422, _) => refused(self.config, &status.message),
            (404, _) => JoinError::Transient(anyhow::anyhow!(
                "the server has no CertificateSigningRequests; if it is older than this agent, \
                 upgrade it first: {}",
                status.message
            )),
            _ => JoinError::Transient(error.into()),
        }
    }
}

/// Whether the server does not know the certificate. One that has expired, or is of another
/// cluster, is refused in the handshake, which cannot be told from a connection that breaks.
fn is_no_credential(error: &kube::Error) -> bool {
    matches!(errors::code(error), None | Some(401))
}

/// What the API server verifies clients with, and so this node, in PEM.
async fn client_ca(rest: &Rest) -> Result<String, Failure> {
    let text = "read the CA of clients in ConfigMap kube-system/extension-apiserver-authentication";
    let is_of_certificate = |error: &kube::Error| {
        let status = errors::status(error);
        status.is_some_and(|status| status.code == 401 || deleted_node(status).is_some())
    };
    let found: Option<ConfigMap> = match rest.get(AUTHENTICATION).await {
        Err(error) if is_of_certificate(&error) => return Err(Failure::Api(error)),
        // Also without the right to: the requests go on, once an administrator has given it.
        read => read.context(text).map_err(Failure::Later)?,
    };
    let data = found.and_then(|found| found.data).unwrap_or_default();
    let pem = data.get("client-ca-file").cloned().unwrap_or_default();
    match tls::first_certificate(&pem).context(text) {
        Ok(_) => Ok(pem),
        Err(error) => Err(Failure::Later(error)),
    }
}

/// The configuration of a client of the API server with the certificates of this identity.
///
/// # Errors
/// If the CA certificate cannot be read.
pub(crate) fn client_config(config: &Config, identity: &Identity) -> anyhow::Result<kube::Config> {
    // In identities of earlier agents the CA of clients follows.
    let ca = tls::first_certificate(&identity.read("ca.crt")?)?;
    let auth_info = AuthInfo {
        client_certificate: Some(identity.client_certificate().to_string_lossy().into_owned()),
        client_key: Some(identity.client_key().to_string_lossy().into_owned()),
        ..AuthInfo::default()
    };
    Ok(verified(api_config(config, auth_info)?, &ca))
}

/// The same client, of a server whose certificate is of this CA.
fn verified(mut client: kube::Config, ca: &CertificateDer<'_>) -> kube::Config {
    client.root_cert = Some(vec![ca.to_vec()]);
    client
}

fn api_config(config: &Config, auth_info: AuthInfo) -> anyhow::Result<kube::Config> {
    let uri: http::Uri = config
        .server
        .parse()
        .with_context(|| format!("the server address {:?} is not a URL", config.server))?;
    if uri.scheme_str() != Some("https") {
        bail!(
            "the server address must begin with https://, but is {:?}",
            config.server
        );
    }
    let mut client = kube::Config::new(uri);
    client.auth_info = auth_info;
    client.connect_timeout = Some(Duration::from_secs(10));
    // The server takes the part before the slash as the field manager of the agent's writes.
    let name = HeaderValue::from_static("pandaemon-agent/v1");
    client.headers.push((USER_AGENT, name));
    Ok(client)
}
