//! `attach`: the streams of a container's own process.
//!
//! The runtime owns them, so this connects to CRI's streaming server, by the only protocol that
//! both sides implement: WebSocket, version 4 of the remote command protocol.

use std::sync::Arc;

use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use pandaemon_cri::pb;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

use super::{
    HttpError, HttpResponse, ServerState, find, is_set, relay, running_container,
    socket::{self, ERROR, Input, Receiver, STDIN, Sender, V4, V5},
    streaming,
    upgrade::{self, Upgrade},
};

pub(super) async fn serve(
    state: &ServerState,
    mut request: Request<Incoming>,
    namespace: &str,
    name: &str,
    container: &str,
) -> Result<HttpResponse, HttpError> {
    let pod = find(state, namespace, name, container)?;
    let uri = request.uri().clone();
    let on = |short: &str, long: &str| is_set(&uri, short) || is_set(&uri, long);
    let wants_input = on("stdin", "input");
    let upgrade = upgrade::check(&request, protocols(wants_input))?;
    let tty = pod
        .container(container)
        .is_some_and(|(one, _)| one.tty == Some(true));
    let attach = pb::AttachRequest {
        container_id: running_container(state, &pod, container).await?,
        stdin: wants_input,
        stdout: on("stdout", "output"),
        stderr: on("stderr", "error") && !tty,
        tty,
    };
    let runtime = Arc::clone(&state.context.runtime);
    let asked = async move { runtime.attach_url(attach).await };
    let url = state.tokens.request(asked).await?;
    let handshake = match upgrade {
        Upgrade::Spdy => return relay::pass(url, request).await,
        Upgrade::WebSocket(handshake) => handshake,
    };
    // Before the client's upgrade, which a client that reads nothing can delay.
    let text = url.text();
    let runtime = url.dial(connect(&text)).await?;
    let (response, upgrade) = handshake.accept(&mut request);
    pandaemon_runtime::spawn("attach", async move {
        let (sender, receiver) = match socket::open(upgrade).await {
            Ok(both) => both,
            Err(error) => return tracing::debug!(%error, "cannot upgrade the connection"),
        };
        bridge(runtime, sender, receiver).await;
    });
    Ok(response)
}

/// Version 5 can signal the end of input, but version 4, which the runtime speaks, cannot. So
/// version 5 is not offered for a connection with input; kubectl then falls back to SPDY.
fn protocols(input: bool) -> &'static [&'static str] {
    match input {
        true => &[V4],
        false => &[V5, V4],
    }
}

async fn bridge(mut runtime: Runtime, mut sender: Sender, mut receiver: Receiver) {
    // The runtime sends the final status itself, unless the connection breaks.
    let mut status_sent = false;
    loop {
        tokio::select! {
            message = runtime.next() => match message {
                Some(Ok(Message::Binary(bytes))) => {
                    let Some((&channel, rest)) = bytes.split_first() else { continue };
                    status_sent |= channel == ERROR && !rest.is_empty();
                    if !sender.send(channel, rest).await {
                        break;
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => (),
            },
            input = receiver.next() => {
                let message = match input {
                    Some(Input::Stdin(bytes)) => framed(STDIN, &bytes),
                    Some(Input::Resize(width, height)) => {
                        framed(4, format!("{{\"Width\":{width},\"Height\":{height}}}").as_bytes())
                    }
                    Some(Input::StdinEnd) => continue,
                    None => break,
                };
                if runtime.send(message).await.is_err() {
                    break;
                }
            }
        }
    }
    let _ = runtime.close(None).await;
    match status_sent {
        true => sender.close().await,
        false => sender.finish(&socket::ended(0)).await,
    }
}

fn framed(channel: u8, bytes: &[u8]) -> Message {
    let mut message = Vec::with_capacity(bytes.len() + 1);
    message.push(channel);
    message.extend_from_slice(bytes);
    Message::Binary(message.into())
}

type Runtime = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

/// Connects to the runtime's streaming server by WebSocket.
async fn connect(url: &str) -> Result<Runtime, String> {
    let stream = streaming::connect(url).await?;
    let mut request = url
        .replacen("http", "ws", 1)
        .into_client_request()
        .map_err(|error| error.to_string())?;
    let protocol = HeaderValue::from_static(V4);
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", protocol);
    let connected = tokio_tungstenite::client_async(request, stream).await;
    connected
        .map(|(socket, _)| socket)
        .map_err(|error| format!("attach: {error}"))
}
