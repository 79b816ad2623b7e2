//! Joining: from a token to certificates, or straight from the certificates on disk.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderValue, header::USER_AGENT};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use kube::config::AuthInfo;
use pandaemon_runtime::Shutdown;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;

use super::identity::{self, Identity};
use crate::{config::Config, images::archive::digest, tls};

const LIMIT: Duration = Duration::from_secs(15);
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(15);
const MAX_ANSWER: usize = 1 << 20;

/// The server will not have this agent; trying again does not help.
#[derive(Debug, thiserror::Error)]
#[error("{server} refused to join: {why}")]
pub struct Refused {
    server: String,
    why: String,
}

/// Why joining failed.
#[derive(Debug)]
enum Failure {
    /// Trying again will not help.
    Final(anyhow::Error),
    /// The server is away or busy.
    Later(anyhow::Error),
}

fn later(error: impl Into<anyhow::Error>) -> Failure {
    Failure::Later(error.into())
}

/// Makes sure that the agent has certificates; waits for the server if it must ask for them.
///
/// # Errors
/// When the token is wrong, the name is taken, or the agent is told to stop.
pub(crate) async fn join(
    config: &Config,
    identity: &Identity,
    address: IpAddr,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let Some((ca_digest, _secret)) = config.token.split_once('.') else {
        bail!("the token must have the form DIGEST.SECRET; the server's data directory holds it");
    };
    let subject = identity::subject(&config.node_name, address, ca_digest);
    if identity.is_usable(&subject) {
        return Ok(());
    }
    let mut pause = FIRST_RETRY;
    loop {
        let attempt = async {
            match tokio::time::timeout(LIMIT, once(config, identity, address, ca_digest)).await {
                Ok(result) => result,
                Err(_elapsed) => Err(later(anyhow::anyhow!("no answer within {LIMIT:?}"))),
            }
        };
        match shutdown.guard(attempt).await {
            None => bail!("stopped while joining"),
            Some(Ok(())) => return identity.write("subject", &subject),
            Some(Err(Failure::Final(error))) => return Err(error),
            Some(Err(Failure::Later(error))) => {
                tracing::warn!("cannot join {} yet: {error:#}", config.server);
            }
        }
        if shutdown.guard(tokio::time::sleep(pause)).await.is_none() {
            bail!("stopped while joining");
        }
        pause = (pause * 2).min(LAST_RETRY);
    }
}

fn refused(config: &Config, why: &str) -> Failure {
    let server = config.server.clone();
    Failure::Final(
        Refused {
            server,
            why: why.to_owned(),
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

async fn once(
    config: &Config,
    identity: &Identity,
    address: IpAddr,
    ca_digest: &str,
) -> Result<(), Failure> {
    let server = Server::parse(&config.server).map_err(Failure::Final)?;
    let request = http::Request::get("/cacerts")
        .body(Bytes::new())
        .map_err(later)?;
    let (status, ca) = server.ask(request, None).await.map_err(Failure::Later)?;
    if status != 200 {
        return Err(later(anyhow::anyhow!(
            "{}/cacerts answered {status}",
            config.server
        )));
    }
    let certificate = tls::first_certificate(&ca).map_err(Failure::Later)?;
    if digest(&certificate).trim_start_matches("sha256:") != ca_digest {
        let why = "the token belongs to another server: its CA certificate has another digest";
        return Err(refused(config, why));
    }
    let body = request_body(config, identity, address).map_err(Failure::Final)?;
    let request = http::Request::post("/pandaemon/v1/join")
        .header("Content-Type", "application/json")
        .header("Authorization", format!("Bearer {}", config.token))
        .body(Bytes::from(body))
        .map_err(later)?;
    let (status, answer) = server
        .ask(request, Some(&ca))
        .await
        .map_err(Failure::Later)?;
    match status {
        200 | 201 => (),
        401 => return Err(refused(config, "the token is wrong")),
        400 | 403 | 409 | 422 => return Err(refused(config, &words(&answer))),
        _ => {
            return Err(later(anyhow::anyhow!(
                "join answered {status}: {}",
                words(&answer)
            )));
        }
    }
    let joined: Joined = serde_json::from_str(&answer).map_err(later)?;
    let write = |name, text: &str| identity.write(name, text).map_err(Failure::Final);
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

/// The message of a Status, or the answer as it is.
fn words(answer: &str) -> String {
    let status: Option<serde_json::Value> = serde_json::from_str(answer).ok();
    let message = status
        .as_ref()
        .and_then(|status| status.get("message")?.as_str());
    message.unwrap_or(answer).trim().to_owned()
}

struct Server {
    host: String,
    port: u16,
}

impl Server {
    fn parse(url: &str) -> anyhow::Result<Self> {
        let uri: http::Uri = url
            .parse()
            .with_context(|| format!("{url:?} is not an address"))?;
        if uri.scheme_str() != Some("https") {
            bail!("the server's address must begin with https://, but is {url:?}");
        }
        let host = uri
            .host()
            .context("the server's address names no host")?
            .to_owned();
        Ok(Self {
            host,
            port: uri.port_u16().unwrap_or(443),
        })
    }

    async fn ask(
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
        let stream = stream.map_err(|error| anyhow::anyhow!("speak TLS with {place}: {error}"))?;
        request.headers_mut().insert("Host", place.parse()?);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let exchange = async {
            let answer = sender.send_request(request.map(Full::new)).await?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("read the answer: {error}"))?;
            Ok((
                status,
                String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            ))
        };
        tokio::pin!(exchange, connection);
        tokio::select! {
            answer = &mut exchange => answer,
            ended = &mut connection => {
                ended?;
                exchange.await
            }
        }
    }
}

/// A client of the API with the agent's certificates. It does not connect before it is used.
///
/// # Errors
/// When a certificate cannot be read.
pub(crate) fn client(config: &Config, identity: &Identity) -> anyhow::Result<kube::Client> {
    let uri: http::Uri = config
        .server
        .parse()
        .with_context(|| format!("{:?} is not an address", config.server))?;
    let ca = tls::first_certificate(&identity.read("ca.crt")?)?;
    let mut client = kube::Config::new(uri);
    client.root_cert = Some(vec![ca.to_vec()]);
    client.auth_info = AuthInfo {
        client_certificate: Some(identity.client_certificate().to_string_lossy().into_owned()),
        client_key: Some(identity.client_key().to_string_lossy().into_owned()),
        ..AuthInfo::default()
    };
    client.connect_timeout = Some(Duration::from_secs(10));
    // The first word names the manager of the fields that the agent sets.
    let name = HeaderValue::from_static("pandaemon-agent/v1");
    client.headers.push((USER_AGENT, name));
    kube::Client::try_from(client).context("make a client")
}
