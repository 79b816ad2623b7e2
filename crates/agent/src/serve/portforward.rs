//! `portForward`: connections to a pod's ports.
//!
//! The runtime opens them inside the pod's network and speaks SPDY. Today's clients put the bytes
//! of that into WebSocket messages, older ones send them as they are.

use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, Request, StatusCode};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use pandaemon_cri::pb;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
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

/// Any connection.
trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

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

type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn tunnel(client: OnUpgrade, runtime: OnUpgrade) -> Result<(), Failed> {
    let (client, runtime) = tokio::try_join!(client, runtime)?;
    carry(TokioIo::new(client), TokioIo::new(runtime)).await
}

/// Carries the bytes of one SPDY connection: messages on the client's side, a stream on the other.
async fn carry(client: impl Stream, runtime: impl Stream) -> Result<(), Failed> {
    let client = WebSocketStream::from_raw_socket(client, Role::Server, None).await;
    let (mut to_client, mut from_client) = client.split();
    let (mut from_runtime, mut to_runtime) = tokio::io::split(runtime);
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
    // Either end means that nothing more can be carried.
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
    async fn messages_are_bytes_on_the_other_side() {
        let ((near, client), (mut far, runtime)) = (duplex(64), duplex(64));
        let carried = pandaemon_runtime::spawn("carry", async move {
            super::carry(client, runtime).await.is_ok()
        });
        let mut near = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        near.send(Message::Binary("ping".into())).await.unwrap();
        let mut four = [0; 4];
        far.read_exact(&mut four).await.unwrap();
        assert_eq!(&four, b"ping");
        far.write_all(b"pong").await.unwrap();
        let answer = near.next().await.unwrap().unwrap();
        assert_eq!(answer, Message::Binary("pong".into()));
        drop(far);
        assert!(near.next().await.unwrap().unwrap().is_close());
        assert_eq!(carried.await.unwrap(), Some(true));
    }
}
