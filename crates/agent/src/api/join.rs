//! Joining a cluster: exchanges the token for certificates.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderValue, header::USER_AGENT};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use kube::config::AuthInfo;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;

use super::identity::{self, Identity};
use crate::{config::Config, images::archive::digest, tls};

/// Timeout of one attempt to join.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// The largest response in bytes.
const MAX_RESPONSE: usize = 1 << 20;

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
    /// The server cannot be reached or is busy.
    Transient(anyhow::Error),
}

fn transient(error: impl Into<anyhow::Error>) -> JoinError {
    JoinError::Transient(error.into())
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
    let attempt = Box::pin(attempt(config, identity, address));
    let Ok(result) = tokio::time::timeout(ATTEMPT_TIMEOUT, attempt).await else {
        let text = format!("no response within {ATTEMPT_TIMEOUT:?}");
        return Err(transient(anyhow::Error::msg(text)));
    };
    result
}

fn refused(config: &Config, reason: &str) -> JoinError {
    let server = config.server.clone();
    JoinError::Permanent(
        JoinRefused {
            server,
            reason: reason.to_owned(),
        }
        .into(),
    )
}

/// The certificates that the server issued, in PEM.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IssuedCertificates {
    pub client_certificate: String,
    pub serving_certificate: String,
    pub ca_certificate: String,
    /// What clients of the kubelet server are verified with. Servers that have one CA for
    /// everything send none.
    pub client_ca_certificate: Option<String>,
}

async fn attempt(
    config: &Config,
    identity: &Identity,
    address: IpAddr,
) -> Result<IssuedCertificates, JoinError> {
    let ca_digest = ca_digest(config).map_err(JoinError::Permanent)?;
    let server = Server::parse(&config.server).map_err(JoinError::Permanent)?;
    let request = http::Request::get("/cacerts")
        .body(Bytes::new())
        .map_err(transient)?;
    let (status, ca) = server
        .request(request, None, None)
        .await
        .map_err(JoinError::Transient)?;
    if status != 200 {
        return Err(transient(anyhow::anyhow!(
            "{}/cacerts returned {status}",
            config.server
        )));
    }
    let certificate = tls::first_certificate(&ca).map_err(JoinError::Transient)?;
    if digest(&certificate).trim_start_matches("sha256:") != ca_digest {
        let reason = "the token belongs to another server: its CA certificate has another digest";
        return Err(refused(config, reason));
    }
    let body = request_body(config, identity, address).map_err(JoinError::Permanent)?;
    let request = http::Request::post("/pandaemon/v1/join")
        .header("Content-Type", "application/json")
        .header("Authorization", format!("Bearer {}", &*config.token))
        .body(Bytes::from(body))
        .map_err(transient)?;
    // A node renews with its certificate, as its token may have ended. One that is no longer valid
    // is refused in the handshake.
    let own = identity.client();
    let mut answer = server
        .request(request.clone(), Some(&ca), own.as_ref())
        .await;
    if own.is_some() && answer.is_err() {
        answer = server.request(request, Some(&ca), None).await;
    }
    let (status, response) = answer.map_err(JoinError::Transient)?;
    match status {
        200 | 201 => (),
        401 => {
            let reason = "the token is wrong, has expired or was revoked";
            return Err(refused(config, reason));
        }
        400 | 403 | 409 | 422 => return Err(refused(config, &status_message(&response))),
        _ => {
            return Err(transient(anyhow::anyhow!(
                "join returned {status}: {}",
                status_message(&response)
            )));
        }
    }
    serde_json::from_str(&response).map_err(transient)
}

fn request_body(config: &Config, identity: &Identity, address: IpAddr) -> anyhow::Result<String> {
    let client = identity.key("client.key")?;
    let serving = identity.key("serving.key")?;
    let body = json!({
        "nodeName": config.node_name,
        "nodeSecret": identity.secret()?,
        "clientCsr": identity::client_request(&client, &config.node_name)?,
        "servingCsr": identity::serving_request(&serving, &config.node_name, address)?,
    });
    Ok(body.to_string())
}

/// The message of a `Status` object, or the whole body if it is none.
fn status_message(response: &str) -> String {
    let status: Option<serde_json::Value> = serde_json::from_str(response).ok();
    let message = status
        .as_ref()
        .and_then(|status| status.get("message")?.as_str());
    message.unwrap_or(response).trim().to_owned()
}

struct Server {
    host: String,
    port: u16,
}

impl Server {
    fn parse(url: &str) -> anyhow::Result<Self> {
        let uri: http::Uri = url
            .parse()
            .with_context(|| format!("the server address {url:?} is not a URL"))?;
        if uri.scheme_str() != Some("https") {
            bail!("the server address must begin with https://, but is {url:?}");
        }
        let host = uri
            .host()
            .context("the server address has no host")?
            .to_owned();
        Ok(Self {
            host,
            port: uri.port_u16().unwrap_or(443),
        })
    }

    async fn request(
        &self,
        mut request: http::Request<Bytes>,
        ca: Option<&str>,
        client: Option<&tls::ClientIdentity>,
    ) -> anyhow::Result<(u16, String)> {
        let place = format!("{}:{}", self.host, self.port);
        let stream = TcpStream::connect(&place)
            .await
            .with_context(|| format!("connect to {place}"))?;
        let stream = match ca {
            None => tls::unverified(stream, &self.host).await,
            Some(ca) => tls::verified(stream, &self.host, ca, client).await,
        };
        let stream =
            stream.map_err(|error| anyhow::anyhow!("TLS handshake with {place}: {error}"))?;
        request.headers_mut().insert("Host", place.parse()?);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let exchange = async {
            let response = sender.send_request(request.map(Full::new)).await?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MAX_RESPONSE)
                .collect()
                .await;
            let body = body.map_err(|error| anyhow::anyhow!("read the response: {error}"))?;
            Ok((
                status,
                String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            ))
        };
        tokio::pin!(exchange, connection);
        tokio::select! {
            response = &mut exchange => response,
            ended = &mut connection => {
                ended?;
                exchange.await
            }
        }
    }
}

/// The configuration of a client of the API server with the certificates of this identity.
///
/// # Errors
/// If the CA certificate cannot be read.
pub(crate) fn client_config(config: &Config, identity: &Identity) -> anyhow::Result<kube::Config> {
    let uri: http::Uri = config
        .server
        .parse()
        .with_context(|| format!("the server address {:?} is not a URL", config.server))?;
    let ca = tls::first_certificate(&identity.read("ca.crt")?)?;
    let mut client = kube::Config::new(uri);
    client.root_cert = Some(vec![ca.to_vec()]);
    client.auth_info = AuthInfo {
        client_certificate: Some(identity.client_certificate().to_string_lossy().into_owned()),
        client_key: Some(identity.client_key().to_string_lossy().into_owned()),
        ..AuthInfo::default()
    };
    client.connect_timeout = Some(Duration::from_secs(10));
    // The server takes the part before the slash as the field manager of the agent's writes.
    let name = HeaderValue::from_static("pandaemon-agent/v1");
    client.headers.push((USER_AGENT, name));
    Ok(client)
}
