//! Requests to node agents over mutual TLS, and proxying of their responses.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use pandaemon_machinery::{Status, status::Result};
use rustls::ClientConfig;
use rustls_pki_types::{DnsName, ServerName};
use serde_json::Value;
use tokio::{io::copy_bidirectional, net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use crate::{
    http::{
        body::{Body, BoxError},
        stream_end::StreamEnd,
    },
    registry::meta,
};

/// How long connecting to an agent may take, the TLS handshake included.
const CONNECT: Duration = Duration::from_secs(10);
/// The port of agents whose Node names no other (that of the kubelet).
const DEFAULT_PORT: i64 = 10_250;

/// The address of a node's agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agent {
    /// The name of the node.
    pub node: String,
    /// The address, as `ADDRESS:PORT`.
    pub address: String,
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
        let port = port.and_then(Value::as_i64).unwrap_or(DEFAULT_PORT);
        let address = match address.contains(':') {
            true => format!("[{address}]:{port}"),
            false => format!("{address}:{port}"),
        };
        Ok(Self {
            node: name,
            address,
        })
    }

    fn unreachable(&self, why: &dyn std::fmt::Display) -> Box<Status> {
        let text = format!(
            "the agent of node {} at {} does not answer: {why}",
            self.node, self.address
        );
        Status::failure(502, "InternalError", text)
    }
}

/// A client of the node agents.
#[derive(Clone)]
pub(crate) struct Agents(TlsConnector);

impl std::fmt::Debug for Agents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Agents")
    }
}

type Sender = hyper::client::conn::http1::SendRequest<Empty<Bytes>>;

impl Agents {
    /// A client with this TLS configuration.
    #[must_use]
    pub(crate) fn new(config: Arc<ClientConfig>) -> Self {
        Self(TlsConnector::from(config))
    }

    async fn connect(&self, agent: &Agent) -> Result<Sender> {
        let connecting = async {
            let stream = TcpStream::connect(&agent.address).await?;
            stream.set_nodelay(true)?;
            // The name of the node, whatever its address: also a name that looks like an address.
            let name = DnsName::try_from(agent.node.clone()).map_err(std::io::Error::other)?;
            self.0.connect(ServerName::DnsName(name), stream).await
        };
        let stream = match timeout(CONNECT, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(agent.unreachable(&error)),
            Err(_) => return Err(agent.unreachable(&"timed out while connecting")),
        };
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| agent.unreachable(&error))?;
        pandaemon_runtime::spawn("agent-connection", async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to an agent ended");
            }
        });
        Ok(sender)
    }

    async fn send(
        &self,
        agent: &Agent,
        (method, path): (Method, &str),
        headers: &[(header::HeaderName, HeaderValue)],
    ) -> Result<Response<Incoming>> {
        let mut sender = self.connect(agent).await?;
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
        sender
            .send_request(request)
            .await
            .map_err(|error| agent.unreachable(&error))
    }

    /// Sends a GET and proxies the response as a stream.
    ///
    /// # Errors
    /// 502 when the agent does not respond; the agent's own errors.
    pub(crate) async fn get(&self, agent: &Agent, path: &str) -> Result<Response<Body>> {
        let answer = self.send(agent, (Method::GET, path), &[]).await?;
        if !answer.status().is_success() {
            return Err(agent_error(answer).await);
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

/// Copies bytes between two upgraded connections until both directions have ended.
async fn copy_streams(
    client: hyper::upgrade::OnUpgrade,
    agent: hyper::upgrade::OnUpgrade,
) -> Result<(), BoxError> {
    let (client, agent) = tokio::try_join!(client, agent)?;
    let (mut client, mut agent) = (TokioIo::new(client), TokioIo::new(agent));
    copy_bidirectional(&mut client, &mut agent).await?;
    Ok(())
}

fn proxied_response(answer: Response<Incoming>) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    let body = body.map_err(BoxError::from).boxed_unsync();
    let mut response = Response::new(Body::Boxed(body));
    *response.status_mut() = parts.status;
    if let Some(value) = parts.headers.get(header::CONTENT_TYPE) {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, value.clone());
    }
    response
}

/// The error of an agent: its `Status`, or a status with its text as the message.
async fn agent_error(answer: Response<Incoming>) -> Box<Status> {
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
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_offered_stream_versions_are_proxied_and_no_credentials() {
        let mut headers = HeaderMap::new();
        let mut add = |name: &'static str, value| {
            headers.append(name, HeaderValue::from_static(value));
        };
        add("connection", "Upgrade");
        add("upgrade", "SPDY/3.1");
        add("x-stream-protocol-version", "v4.channel.k8s.io");
        add("x-stream-protocol-version", "channel.k8s.io");
        add("authorization", "Bearer secret");
        let passed = upgrade_headers(&headers);
        let passed: Vec<_> = passed.iter().map(|(_, v)| v.to_str().unwrap()).collect();
        let wanted = ["Upgrade", "SPDY/3.1", "v4.channel.k8s.io", "channel.k8s.io"];
        assert_eq!(passed, wanted);
    }

    #[test]
    fn agent_addresses_are_read_from_the_node() {
        let node = json!({"metadata": {"name": "n"}, "status": {
            "addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 1234}}}});
        assert_eq!(Agent::of(&node).unwrap().address, "10.0.0.1:1234");
        let v6 = json!({"metadata": {"name": "n"}, "status": {"addresses": [{"type": "InternalIP", "address": "fd00::1"}]}});
        assert_eq!(Agent::of(&v6).unwrap().address, "[fd00::1]:10250");
        let none = json!({"metadata": {"name": "n"}});
        assert_eq!(Agent::of(&none).unwrap_err().code, 500);
    }
}
