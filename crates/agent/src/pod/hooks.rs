//! Things done in or to a container from outside: hooks and probes share them.

use std::{net::IpAddr, time::Duration};

use http_body_util::{BodyExt as _, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{
    Container, ExecAction, HTTPGetAction, LifecycleHandler, TCPSocketAction,
};
use tokio::net::TcpStream;

use super::port_number;
use crate::{context::Context, tls};

/// A hook without an end must not hold a pod for ever.
const HOOK_LIMIT: Duration = Duration::from_secs(600);
/// Of an answer's body as much is read, as upstream.
const MAX_BODY: usize = 10 << 10;

/// A container that runs, and how to reach it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The runtime's id.
    pub id: String,
    /// The pod's address; with host network the node's own.
    pub ip: IpAddr,
}

/// Runs a hook.
///
/// # Errors
/// What went wrong, in words for an event.
pub(crate) async fn run(
    context: &Context,
    target: &Target,
    container: &Container,
    hook: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let (code, output) = self::exec(context, target, exec, HOOK_LIMIT).await?;
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
        return http(target, container, get, HOOK_LIMIT).await.map(|_| ());
    }
    if let Some(socket) = &hook.tcp_socket {
        return tcp(target, container, socket, HOOK_LIMIT).await;
    }
    if let Some(sleep) = &hook.sleep {
        let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
    Ok(())
}

/// Runs a command; yields its exit code and what it printed.
///
/// # Errors
/// When it could not be run or took too long.
pub(crate) async fn exec(
    context: &Context,
    target: &Target,
    action: &ExecAction,
    limit: Duration,
) -> Result<(i32, String), String> {
    let command = action.command.clone().unwrap_or_default();
    let run = context.runtime.exec_sync(&target.id, command, limit);
    let output = run.await.map_err(|error| error.to_string())?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok((output.exit_code, text.trim_end().to_owned()))
}

/// Connects and hangs up.
///
/// # Errors
/// When nobody listens.
pub(crate) async fn tcp(
    target: &Target,
    container: &Container,
    action: &TCPSocketAction,
    limit: Duration,
) -> Result<(), String> {
    let port = port_number(&action.port, container).ok_or("invalid port")?;
    let host = action.host.clone().unwrap_or_else(|| target.ip.to_string());
    connect(&host, port, limit).await.map(|_| ())
}

async fn connect(host: &str, port: u16, limit: Duration) -> Result<TcpStream, String> {
    let failed = |what: &str| format!("dial tcp {}: {what}", address(host, port));
    match tokio::time::timeout(limit, TcpStream::connect((host, port))).await {
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

/// Asks for a page; yields its status.
///
/// # Errors
/// When there is no answer, or one that is an error.
pub(crate) async fn http(
    target: &Target,
    container: &Container,
    action: &HTTPGetAction,
    limit: Duration,
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
    let ask = async {
        let stream = connect(&host, port, limit).await?;
        let request = request(action, &path, &address(&host, port))?;
        if secure {
            let stream = tls::unverified(stream, &host).await?;
            send(request, stream).await
        } else {
            send(request, stream).await
        }
    };
    let (status, body) = match tokio::time::timeout(limit, ask).await {
        Ok(answer) => answer.map_err(failed)?,
        Err(_elapsed) => {
            let text = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
            return Err(failed(text.to_owned()));
        }
    };
    tracing::trace!(url, status, body, "asked a container");
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
    let words = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(words)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(words)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_BODY).collect().await;
        let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
        Ok((status, text.unwrap_or_default()))
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = &mut connection => match ended {
            // The connection may end first while the answer is complete.
            Ok(()) => exchange.await,
            Err(error) => Err(words(error)),
        },
    }
}
