//! `portForward`: connections to a pod's ports.
//!
//! The runtime opens them inside the pod's network and speaks SPDY. Today's clients put the bytes
//! of that into WebSocket messages, older ones send them as they are.

use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, Request, StatusCode};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use pandaemon_cri::pb;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::{Answer, Refusal, Scene, relay, socket};
use crate::pod::{PodRef, sandbox::POD_UID};

/// SPDY inside WebSocket, and what is spoken inside that.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const PLAIN: &str = "portforward.k8s.io";
const PIECE: usize = 32 << 10;

pub(super) async fn serve(
    scene: &Scene,
    mut request: Request<Incoming>,
    namespace: &str,
    name: &str,
) -> Result<Answer, Refusal> {
    let pod = scene.pods.find(namespace, name);
    let missing = || (StatusCode::NOT_FOUND, format!("pod {name:?} not found"));
    let pod = pod.ok_or_else(missing)?;
    let ask = pb::PortForwardRequest {
        pod_sandbox_id: sandbox(scene, &pod).await?,
        port: Vec::new(),
    };
    let url = scene.context.runtime.port_forward_url(ask).await;
    let url = url.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    if relay::is_spdy(request.headers()) {
        return relay::pass(&url, request).await;
    }
    let (answer, client) = socket::accept(&mut request, &[TUNNEL])?;
    let (_, runtime) = relay::dial(&url, vec![HeaderValue::from_static(PLAIN)]).await?;
    pandaemon_runtime::spawn("port-forward", async move {
        if let Err(error) = tunnel(client, runtime).await {
            tracing::debug!(%error, "a forwarded port");
        }
    });
    Ok(answer)
}

/// The pod's sandbox that is up.
async fn sandbox(scene: &Scene, pod: &PodRef) -> Result<String, Refusal> {
    let labels = [(POD_UID.to_owned(), pod.uid.clone())];
    let listed = scene.context.runtime.list_sandboxes(labels.into()).await;
    let listed = listed.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let up = pb::PodSandboxState::SandboxReady;
    let found = listed.into_iter().find(|one| one.state() == up);
    found.map(|one| one.id).ok_or_else(|| {
        let words = format!("pod {:?} is not running", pod.name);
        (StatusCode::BAD_REQUEST, words)
    })
}

/// Carries the bytes of one SPDY connection: messages on the client's side, a stream on the other.
async fn tunnel(
    client: OnUpgrade,
    runtime: OnUpgrade,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (client, runtime) = tokio::try_join!(client, runtime)?;
    let client = WebSocketStream::from_raw_socket(TokioIo::new(client), Role::Server, None).await;
    let (mut to_client, mut from_client) = client.split();
    let (mut from_runtime, mut to_runtime) = tokio::io::split(TokioIo::new(runtime));
    let down = async move {
        let mut buffer = vec![0; PIECE];
        loop {
            let length = from_runtime.read(&mut buffer).await?;
            if length == 0 {
                break;
            }
            let piece = bytes::Bytes::copy_from_slice(&buffer[..length]);
            to_client.send(Message::Binary(piece)).await?;
        }
        let _ = to_client.send(Message::Close(Some(socket::normal()))).await;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
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
    // Either end means that nothing more can be carried.
    tokio::select! {
        done = down => done,
        done = up => done,
    }
}
