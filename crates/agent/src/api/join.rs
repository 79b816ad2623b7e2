//! Joining a cluster: exchanges the token for certificates, unless usable ones are on disk.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderValue, header::USER_AGENT};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use kube::config::AuthInfo;
use pandaemon_client::connect;
use pandaemon_runtime::Shutdown;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;

use super::identity::{self, Identity};
use crate::{config::Config, images::archive::digest, tls};

/// Timeout of one attempt to join.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// The first delay between two attempts; it doubles with each failure.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// The longest delay between two attempts.
const MAX_DELAY: Duration = Duration::from_secs(15);
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
enum JoinError {
    /// Another attempt would fail too.
    Permanent(anyhow::Error),
    /// The server cannot be reached or is busy.
    Transient(anyhow::Error),
}

fn transient(error: impl Into<anyhow::Error>) -> JoinError {
    JoinError::Transient(error.into())
}

/// Makes sure that the agent has usable certificates. If it has none, it tries to join until the
/// server answers.
///
/// # Errors
/// If the token is wrong, another machine holds the node's name, or the agent is stopped.
pub(crate) async fn join(
    config: &Config,
    identity: &Identity,
    address: IpAddr,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let Some((ca_digest, _secret)) = config.token.split_once('.') else {
        bail!("the token must have the form DIGEST.SECRET; the server's data directory holds it");
    };
    let scope = identity::identity_scope(&config.node_name, address, ca_digest);
    if identity.is_usable(&scope) {
        return Ok(());
    }
    let mut delay = FIRST_DELAY;
    loop {
        let one = async {
            match tokio::time::timeout(
                ATTEMPT_TIMEOUT,
                attempt(config, identity, address, ca_digest),
            )
            .await
            {
                Ok(result) => result,
                Err(_elapsed) => Err(transient(anyhow::anyhow!(
                    "no response within {ATTEMPT_TIMEOUT:?}"
                ))),
            }
        };
        match shutdown.guard(Box::pin(one)).await {
            None => bail!("stopped while joining"),
            Some(Ok(())) => return identity.write("subject", &scope),
            Some(Err(JoinError::Permanent(error))) => return Err(error),
            Some(Err(JoinError::Transient(error))) => {
                tracing::warn!(
                    "cannot join {} yet, trying again in {delay:?}: {error:#}",
                    config.server
                );
            }
        }
        if shutdown.guard(tokio::time::sleep(delay)).await.is_none() {
            bail!("stopped while joining");
        }
        delay = (delay * 2).min(MAX_DELAY);
    }
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Joined {
    client_certificate: String,
    serving_certificate: String,
    ca_certificate: String,
}

async fn attempt(
    config: &Config,
    identity: &Identity,
    address: IpAddr,
    ca_digest: &str,
) -> Result<(), JoinError> {
    let server = Server::parse(&config.server).map_err(JoinError::Permanent)?;
    let request = http::Request::get("/cacerts")
        .body(Bytes::new())
        .map_err(transient)?;
    let (status, ca) = server
        .request(request, None)
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
        .header("Authorization", format!("Bearer {}", config.token))
        .body(Bytes::from(body))
        .map_err(transient)?;
    let (status, response) = server
        .request(request, Some(&ca))
        .await
        .map_err(JoinError::Transient)?;
    match status {
        200 | 201 => (),
        401 => return Err(refused(config, "the token is wrong")),
        400 | 403 | 409 | 422 => return Err(refused(config, &status_message(&response))),
        _ => {
            return Err(transient(anyhow::anyhow!(
                "join returned {status}: {}",
                status_message(&response)
            )));
        }
    }
    let joined: Joined = serde_json::from_str(&response).map_err(transient)?;
    let write = |name, text: &str| identity.write(name, text).map_err(JoinError::Permanent);
    write("ca.crt", &joined.ca_certificate)?;
    write("client.crt", &joined.client_certificate)?;
    write("serving.crt", &joined.serving_certificate)
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
    ) -> anyhow::Result<(u16, String)> {
        let place = format!("{}:{}", self.host, self.port);
        let stream = TcpStream::connect(&place)
            .await
            .with_context(|| format!("connect to {place}"))?;
        let stream = match ca {
            None => tls::unverified(stream, &self.host).await,
            Some(ca) => tls::verified(stream, &self.host, ca).await,
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

/// A client of the API server with the agent's certificates. It connects with the first request.
///
/// # Errors
/// If a certificate cannot be read.
pub(crate) fn client(config: &Config, identity: &Identity) -> anyhow::Result<kube::Client> {
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
    connect::direct(client).context("create the client")
}
