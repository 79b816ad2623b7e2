//! `portForward`: connections to a pod's ports.
//!
//! The runtime opens them inside the pod's network namespace and speaks SPDY. Clients since
//! Kubernetes 1.31 tunnel SPDY through WebSocket messages, older ones speak SPDY directly.

use std::sync::Arc;

use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, Request, StatusCode};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use pandaemon_cri::pb;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use super::{
    HttpError, HttpResponse, ServerState, relay, socket,
    upgrade::{self, Upgrade},
};
use crate::pod::{PodRef, sandbox::POD_UID};

/// The WebSocket protocol that tunnels SPDY.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// The protocol inside SPDY.
const PLAIN: &str = "portforward.k8s.io";
/// The size of the read buffer in bytes.
const BUFFER: usize = 32 << 10;

/// A bidirectional byte stream.
trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

pub(super) async fn serve(
    state: &ServerState,
    mut request: Request<Incoming>,
    namespace: &str,
    name: &str,
) -> Result<HttpResponse, HttpError> {
    let pod = state.pods.find(namespace, name);
    let missing = || (StatusCode::NOT_FOUND, format!("pod {name:?} not found"));
    let pod = pod.ok_or_else(missing)?;
    let upgrade = upgrade::check(&request, &[TUNNEL])?;
    let ports = pb::PortForwardRequest {
        pod_sandbox_id: sandbox(state, &pod).await?,
        port: Vec::new(),
    };
    let runtime = Arc::clone(&state.context.runtime);
    let asked = async move { runtime.port_forward_url(ports).await };
    let url = state.tokens.request(asked).await?;
    let handshake = match upgrade {
        Upgrade::Spdy => return relay::pass(url, request).await,
        Upgrade::WebSocket(handshake) => handshake,
    };
    let (_, runtime) = relay::dial(url, vec![HeaderValue::from_static(PLAIN)]).await?;
    let (response, client) = handshake.accept(&mut request);
    pandaemon_runtime::spawn("port-forward", async move {
        if let Err(error) = tunnel(client, runtime).await {
            tracing::debug!(%error, "a forwarded connection failed");
        }
    });
    Ok(response)
}

/// The id of the pod's ready sandbox.
async fn sandbox(state: &ServerState, pod: &PodRef) -> Result<String, HttpError> {
    let labels = [(POD_UID.to_owned(), pod.uid.clone())];
    let listed = state.context.runtime.list_sandboxes(labels.into()).await;
    let listed = listed.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let up = pb::PodSandboxState::SandboxReady;
    let found = listed.into_iter().find(|one| one.state() == up);
    found.map(|one| one.id).ok_or_else(|| {
        let message = format!("pod {:?} is not running", pod.name);
        (StatusCode::BAD_REQUEST, message)
    })
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn tunnel(client: OnUpgrade, runtime: OnUpgrade) -> Result<(), Failed> {
    let (client, runtime) = tokio::try_join!(client, runtime)?;
    copy_tunnel(TokioIo::new(client), TokioIo::new(runtime)).await
}

/// Copies the bytes of one SPDY connection between WebSocket messages (client) and a stream
/// (runtime).
async fn copy_tunnel(client: impl Stream, runtime: impl Stream) -> Result<(), Failed> {
    let client = socket::server_side(client).await;
    let (mut to_client, mut from_client) = client.split();
    let (mut from_runtime, mut to_runtime) = tokio::io::split(runtime);
    let down = async move {
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = from_runtime.read(&mut buffer).await?;
            if length == 0 {
                break;
            }
            let chunk = bytes::Bytes::copy_from_slice(&buffer[..length]);
            to_client.send(Message::Binary(chunk)).await?;
        }
        let close = Message::Close(Some(socket::normal()));
        to_client.send(close).await.map_err(Failed::from)
    };
    let up = async move {
        while let Some(message) = from_client.next().await {
            match message? {
                Message::Binary(bytes) => to_runtime.write_all(&bytes).await?,
                Message::Close(_) => break,
                _ => (),
            }
        }
        Ok(())
    };
    // The end of either direction ends the connection.
    tokio::select! {
        done = down => done,
        done = up => done,
    }
}

#[cfg(test)]
mod tests {
    use futures::{SinkExt as _, StreamExt as _};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio_tungstenite::{
        WebSocketStream,
        tungstenite::{Message, protocol::Role},
    };

    #[tokio::test]
    async fn websocket_messages_and_stream_bytes_are_copied_both_ways() {
        let ((near, client), (mut far, runtime)) = (duplex(64), duplex(64));
        let copied = pandaemon_runtime::spawn("tunnel", async move {
            super::copy_tunnel(client, runtime).await.is_ok()
        });
        let mut near = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        near.send(Message::Binary("ping".into())).await.unwrap();
        let mut four = [0; 4];
        far.read_exact(&mut four).await.unwrap();
        assert_eq!(&four, b"ping");
        far.write_all(b"pong").await.unwrap();
        let response = near.next().await.unwrap().unwrap();
        assert_eq!(response, Message::Binary("pong".into()));
        drop(far);
        assert!(near.next().await.unwrap().unwrap().is_close());
        assert_eq!(copied.await.unwrap(), Some(true));
    }
}
