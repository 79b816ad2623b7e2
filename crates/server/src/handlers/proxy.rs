//! Requests to node agents over mutual TLS, and proxying of their responses.
//!
//! Who asks gets one answer for all agents that are not reached, at one moment, whatever is at
//! their address: a node writes that address itself, and is not to find out what else the server
//! reaches.

mod body;
mod dial;

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use pandaemon_machinery::{Status, status::Result};
use pandaemon_runtime::upgrade::{STREAM_IDLE, copy_until_idle};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls_pki_types::{DnsName, ServerName};
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use self::{body::AgentBody, dial::Dialer};
use crate::{
    http::{
        body::{Body, BoxError},
        stream_end::StreamEnd,
    },
    registry::meta,
};

/// How long connecting to an agent may take, the TLS handshake included, and when a failure is
/// answered: three tries of TCP, or a handshake with an agent under load.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an agent may take for the head of its response: the API server's answer to who may do
/// what, and a call of its runtime (30 s). Upstream's `--request-timeout`.
const HEAD: Duration = Duration::from_secs(60);
/// How long an agent may be silent in the middle of a response, which is of files and memory. A log
/// that is followed may be silent for ever.
const BODY_IDLE: Duration = Duration::from_secs(60);
/// How often the log says why the agent of a node does not answer, so that requests do not fill it.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// The port of agents whose Node names no other (that of the kubelet).
const DEFAULT_PORT: i64 = 10_250;

/// The address of a node's agent, as the node says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agent {
    /// The name of the node.
    node: String,
    /// An address, or a name.
    host: String,
    port: i64,
}

impl std::fmt::Display for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { node, host, port } = self;
        match host.contains(':') {
            true => write!(f, "node {node} at [{host}]:{port}"),
            false => write!(f, "node {node} at {host}:{port}"),
        }
    }
}

impl Agent {
    /// The agent's address from a Node's `status.addresses` and `status.daemonEndpoints`.
    ///
    /// # Errors
    /// 500 if the Node has no address.
    pub(crate) fn of(node: &Value) -> Result<Self> {
        let name = meta::name(node).to_owned();
        let addresses = meta::at(node, &["status", "addresses"]).and_then(Value::as_array);
        let find = |kind: &str| {
            let all = addresses.into_iter().flatten();
            all.filter(|a| a["type"] == kind)
                .find_map(|a| a["address"].as_str())
        };
        let Some(address) = find("InternalIP").or_else(|| find("Hostname")) else {
            return Err(Status::internal(format!("node {name} has no address yet")));
        };
        let port = meta::at(
            node,
            &["status", "daemonEndpoints", "kubeletEndpoint", "Port"],
        );
        Ok(Self {
            node: name,
            host: address.to_owned(),
            port: port.and_then(Value::as_i64).unwrap_or(DEFAULT_PORT),
        })
    }

    /// The one answer for an agent that is not reached.
    fn unreachable(&self) -> Box<Status> {
        let text = format!(
            "the agent of {self} does not answer: check that it runs and that the API server can \
            reach it; the log of the API server says more"
        );
        Status::failure(502, "InternalError", text)
    }
}

/// A client of the node agents.
#[derive(Clone)]
pub(crate) struct Agents(Arc<Inner>);

struct Inner {
    tls: TlsConnector,
    dialer: Dialer,
    /// When the log last said why the agent of a node does not answer.
    logged: Mutex<HashMap<String, Instant>>,
}

impl std::fmt::Debug for Agents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Agents")
    }
}

type Sender = hyper::client::conn::http1::SendRequest<Empty<Bytes>>;

impl Agents {
    /// A client with this TLS configuration. It connects to loopback addresses only if they are
    /// allowed.
    #[must_use]
    pub(crate) fn new(config: Arc<ClientConfig>, allow_loopback: bool) -> Self {
        Self(Arc::new(Inner {
            tls: TlsConnector::from(config),
            dialer: Dialer::new(allow_loopback),
            logged: Mutex::default(),
        }))
    }

    /// The server itself is at this address, and no agent.
    pub(crate) fn server_is_at(&self, address: SocketAddr) {
        self.0.dialer.is_at(address);
    }

    /// Connects to an agent. Failures have one answer at one moment.
    async fn connect(&self, agent: &Agent) -> Result<Sender> {
        let deadline = Instant::now() + CONNECT;
        match timeout_at(deadline, self.open(agent)).await {
            Ok(Ok(sender)) => return Ok(sender),
            Ok(Err(why)) => self.log(agent, &*why),
            Err(_) => self.log(agent, &"connecting took too long"),
        }
        sleep_until(deadline).await;
        Err(agent.unreachable())
    }

    async fn open(&self, agent: &Agent) -> Result<Sender, BoxError> {
        let stream = self.0.dialer.dial(agent).await?;
        // The name of the node, whatever its address: also a name that looks like an address.
        let name = ServerName::DnsName(DnsName::try_from(agent.node.clone())?);
        let stream = TokioIo::new(self.0.tls.connect(name, stream).await?);
        let (sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        pandaemon_runtime::spawn("agent-connection", async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to an agent ended");
            }
        });
        Ok(sender)
    }

    /// Tells the operator why an agent does not answer, at most once in a while for each node.
    fn log(&self, agent: &Agent, why: &dyn std::fmt::Display) {
        let now = Instant::now();
        let mut logged = self.0.logged.lock();
        let is_recent = |at: &Instant| now < *at + LOG_INTERVAL;
        if logged.get(&agent.node).is_some_and(is_recent) {
            return;
        }
        logged.retain(|_, at| is_recent(at));
        logged.insert(agent.node.clone(), now);
        drop(logged);
        tracing::warn!(%why, "the agent of {agent} does not answer");
    }

    /// Sends a request and waits for the head of the response.
    async fn send(
        &self,
        agent: &Agent,
        (method, path): (Method, &str),
        headers: &[(header::HeaderName, HeaderValue)],
    ) -> Result<Response<AgentBody>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &agent.node);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Empty::new())
            .map_err(|e| Status::bad_request(format!("cannot proxy the request: {e}")))?;
        let mut sender = self.connect(agent).await?;
        match timeout(HEAD, sender.send_request(request)).await {
            Ok(Ok(response)) => return Ok(response.map(|body| AgentBody::new(body, BODY_IDLE))),
            Ok(Err(why)) => self.log(agent, &why),
            Err(_) => self.log(agent, &"it is connected, but does not respond"),
        }
        Err(agent.unreachable())
    }

    /// Sends a GET and proxies the response as a stream. If it follows something, it may be silent
    /// for any time.
    ///
    /// # Errors
    /// 502 when the agent does not respond; the agent's own errors.
    pub(crate) async fn get(
        &self,
        agent: &Agent,
        path: &str,
        follows: bool,
    ) -> Result<Response<Body>> {
        let mut answer = self.send(agent, (Method::GET, path), &[]).await?;
        if !answer.status().is_success() {
            return Err(agent_error(answer).await);
        }
        if follows {
            answer.body_mut().may_be_silent();
        }
        Ok(proxied_response(answer))
    }

    /// Upgrades the client's connection and one to the agent, and copies bytes between them.
    ///
    /// # Errors
    /// 502 when the agent does not respond; the agent's own errors.
    pub(crate) async fn upgrade(
        &self,
        agent: &Agent,
        path: &str,
        mut client: Parts,
    ) -> Result<Response<Body>> {
        let headers = upgrade_headers(&client.headers);
        let Some(upgrade) = client.extensions.remove::<hyper::upgrade::OnUpgrade>() else {
            return Err(Status::bad_request(
                "this connection cannot be upgraded; use HTTP/1.1",
            ));
        };
        let method_and_path = (client.method, path);
        let mut answer = self.send(agent, method_and_path, &headers).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(agent_error(answer).await);
        }
        let agent_side = hyper::upgrade::on(&mut answer);
        let end = StreamEnd::default();
        let of_streams = end.clone();
        pandaemon_runtime::spawn("stream", async move {
            if let Err(error) = copy_streams(upgrade, agent_side).await {
                tracing::debug!(%error, "a stream ended");
            }
            drop(of_streams);
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = answer.headers().clone();
        response.extensions_mut().insert(end);
        Ok(response)
    }
}

/// The request headers that negotiate an upgrade. A name may occur several times.
fn upgrade_headers(headers: &HeaderMap) -> Vec<(header::HeaderName, HeaderValue)> {
    const PASSED: [header::HeaderName; 6] = [
        header::CONNECTION,
        header::UPGRADE,
        header::SEC_WEBSOCKET_KEY,
        header::SEC_WEBSOCKET_VERSION,
        header::SEC_WEBSOCKET_PROTOCOL,
        header::HeaderName::from_static("x-stream-protocol-version"),
    ];
    let values = |name: header::HeaderName| {
        let all: Vec<_> = headers.get_all(&name).iter().cloned().collect();
        all.into_iter().map(move |value| (name.clone(), value))
    };
    PASSED.into_iter().flat_map(values).collect()
}

/// Copies bytes between two upgraded connections until both directions have ended, or are idle.
async fn copy_streams(
    client: hyper::upgrade::OnUpgrade,
    agent: hyper::upgrade::OnUpgrade,
) -> Result<(), BoxError> {
    let (client, agent) = tokio::try_join!(client, agent)?;
    let (client, agent) = (TokioIo::new(client), TokioIo::new(agent));
    Ok(copy_until_idle(client, agent, STREAM_IDLE).await?)
}

fn proxied_response(answer: Response<AgentBody>) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    let mut response = Response::new(Body::Boxed(body.boxed_unsync()));
    *response.status_mut() = parts.status;
    if let Some(value) = parts.headers.get(header::CONTENT_TYPE) {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, value.clone());
    }
    response
}

/// The error of an agent: its `Status`, or a status with its text as the message.
async fn agent_error(answer: Response<AgentBody>) -> Box<Status> {
    let code = answer.status().as_u16();
    let limited = http_body_util::Limited::new(answer.into_body(), 64 << 10);
    let body = limited
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    if let Ok(status) = serde_json::from_slice::<Status>(&body) {
        return Box::new(status);
    }
    let text = String::from_utf8_lossy(&body).trim().to_owned();
    let reason = match code {
        400 => "BadRequest",
        404 => "NotFound",
        _ => "InternalError",
    };
    Status::failure(code, reason, text)
}

#[cfg(test)]
mod tests;
