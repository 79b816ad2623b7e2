//! Handlers of lifecycle hooks and probes: exec, HTTP GET, TCP socket, sleep.

use std::{net::IpAddr, time::Duration};

use http_body_util::{BodyExt as _, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{
    Container, ExecAction, HTTPGetAction, LifecycleHandler, TCPSocketAction,
};
use tokio::net::TcpStream;

use super::port_number;
use crate::{context::Context, tls};

/// Timeout of a lifecycle hook, which has none of its own.
const HOOK_TIMEOUT: Duration = Duration::from_secs(600);
/// The largest part of a response body that is read, as in the kubelet.
const MAX_BODY: usize = 10 << 10;

/// A running container and its address.
#[derive(Debug, Clone)]
pub(crate) struct ContainerTarget {
    /// The container's id in the runtime.
    pub id: String,
    /// The pod's address; on the host network the node's.
    pub ip: IpAddr,
}

/// Runs a lifecycle hook.
///
/// # Errors
/// The message for the event.
pub(crate) async fn run(
    context: &Context,
    target: &ContainerTarget,
    container: &Container,
    hook: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let (code, output) = self::exec(context, target, exec, HOOK_TIMEOUT).await?;
        return match code {
            0 => Ok(()),
            _ => {
                let command = exec.command.clone().unwrap_or_default().join(" ");
                Err(format!(
                    "Exec lifecycle hook ({command}) failed, exit code {code}: {output}"
                ))
            }
        };
    }
    if let Some(get) = &hook.http_get {
        return http(target, container, get, HOOK_TIMEOUT).await.map(|_| ());
    }
    if let Some(socket) = &hook.tcp_socket {
        return tcp(target, container, socket, HOOK_TIMEOUT).await;
    }
    if let Some(sleep) = &hook.sleep {
        let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
    Ok(())
}

/// Runs a command in the container and returns its exit code and output.
///
/// # Errors
/// If it could not be run or exceeded the timeout.
pub(crate) async fn exec(
    context: &Context,
    target: &ContainerTarget,
    action: &ExecAction,
    timeout: Duration,
) -> Result<(i32, String), String> {
    let command = action.command.clone().unwrap_or_default();
    let run = context.runtime.exec_sync(&target.id, command, timeout);
    let output = run.await.map_err(|error| error.to_string())?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok((output.exit_code, text.trim_end().to_owned()))
}

/// Opens a TCP connection and closes it.
///
/// # Errors
/// If the connection fails.
pub(crate) async fn tcp(
    target: &ContainerTarget,
    container: &Container,
    action: &TCPSocketAction,
    timeout: Duration,
) -> Result<(), String> {
    let port = port_number(&action.port, container).ok_or("invalid port")?;
    let host = action.host.clone().unwrap_or_else(|| target.ip.to_string());
    connect(&host, port, timeout).await.map(|_| ())
}

async fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
    let failed = |what: &str| format!("dial tcp {}: {what}", address(host, port));
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(failed("connect: connection refused"))
        }
        Ok(Err(error)) => Err(failed(&error.to_string())),
        Err(_elapsed) => Err(failed("i/o timeout")),
    }
}

fn address(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Sends an HTTP GET request and returns the status code.
///
/// # Errors
/// If there is no response, or its status is not between 200 and 399.
pub(crate) async fn http(
    target: &ContainerTarget,
    container: &Container,
    action: &HTTPGetAction,
    timeout: Duration,
) -> Result<u16, String> {
    let port = port_number(&action.port, container).ok_or("invalid port")?;
    let host = action.host.clone().filter(|host| !host.is_empty());
    let host = host.unwrap_or_else(|| target.ip.to_string());
    let secure = action.scheme.as_deref() == Some("HTTPS");
    let path = action
        .path
        .clone()
        .filter(|path| !path.is_empty())
        .unwrap_or_else(|| "/".into());
    let path = if path.starts_with('/') {
        path
    } else {
        format!("/{path}")
    };
    let scheme = if secure { "https" } else { "http" };
    let url = format!("{scheme}://{}{path}", address(&host, port));
    let failed = |what: String| format!("Get \"{url}\": {what}");
    let exchange = async {
        let stream = connect(&host, port, timeout).await?;
        let request = request(action, &path, &address(&host, port))?;
        if secure {
            let stream = tls::unverified(stream, &host).await?;
            send(request, stream).await
        } else {
            send(request, stream).await
        }
    };
    let (status, body) = match tokio::time::timeout(timeout, exchange).await {
        Ok(response) => response.map_err(failed)?,
        Err(_elapsed) => {
            let text = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
            return Err(failed(text.to_owned()));
        }
    };
    tracing::trace!(url, status, body, "HTTP handler");
    if (200..400).contains(&status) {
        return Ok(status);
    }
    Err(format!("HTTP probe failed with statuscode: {status}"))
}

type Empty = http_body_util::Empty<bytes::Bytes>;

fn request(action: &HTTPGetAction, path: &str, host: &str) -> Result<http::Request<Empty>, String> {
    let mut builder = http::Request::get(path);
    let given = action.http_headers.iter().flatten();
    let mut named = false;
    for header in given {
        named |= header.name.eq_ignore_ascii_case("host");
        builder = builder.header(&header.name, &header.value);
    }
    if !named {
        builder = builder.header("Host", host);
    }
    let builder = builder
        .header("User-Agent", "kube-probe/1.33")
        .header("Accept", "*/*")
        .header("Connection", "close");
    builder
        .body(Empty::new())
        .map_err(|error| error.to_string())
}

async fn send<S>(request: http::Request<Empty>, stream: S) -> Result<(u16, String), String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let message = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(message)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(message)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
        Ok((status, text.unwrap_or_default()))
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        response = &mut exchange => response,
        ended = &mut connection => match ended {
            // The connection may end although the response is complete.
            Ok(()) => exchange.await,
            Err(error) => Err(message(error)),
        },
    }
}
