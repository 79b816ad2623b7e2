//! The agent's own HTTPS surface, as the kubelet's: logs, exec, attach, ports, stats, health.
//!
//! The API server calls it with a certificate of the common CA; only health needs none.

mod attach;
mod exec;
mod log;
mod portforward;
mod relay;
mod socket;
mod stats;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{api::identity::Identity, context::Context, manager::Pods, pod::PodRef, tls};

/// A client that does not finish its handshake in time is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);

type Body = BoxBody<Bytes, std::io::Error>;
type Answer = Response<Body>;

/// The surface, ready to serve.
pub(crate) struct Surface {
    acceptor: TlsAcceptor,
}

/// What every request may use.
#[derive(Clone)]
struct Scene {
    context: Arc<Context>,
    pods: Pods,
}

/// A refusal: a status and the words.
type Refusal = (StatusCode, String);

impl Surface {
    /// A surface with this identity.
    ///
    /// # Errors
    /// When a certificate or the key cannot be read.
    pub(crate) fn new(identity: &Identity) -> anyhow::Result<Self> {
        let (certificate, key) = (identity.read("serving.crt")?, identity.read("serving.key")?);
        let config = tls::server(&certificate, &key, &identity.read("ca.crt")?)?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// Serves until dropped.
    pub(crate) async fn run(self, context: Arc<Context>, pods: Pods, listener: TcpListener) {
        let scene = Scene { context, pods };
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _peer)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (scene, acceptor) = (scene.clone(), self.acceptor.clone());
            pandaemon_runtime::spawn("request", async move {
                if let Err(error) = connection(scene, acceptor, stream).await {
                    tracing::debug!(%error, "a connection to the agent");
                }
            });
        }
    }
}

async fn connection(
    scene: Scene,
    acceptor: TlsAcceptor,
    stream: TcpStream,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let known = stream
        .get_ref()
        .1
        .peer_certificates()
        .is_some_and(|chain| !chain.is_empty());
    let service = service_fn(move |request| {
        let scene = scene.clone();
        async move { Ok::<_, std::convert::Infallible>(route(scene, known, request).await) }
    });
    hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await?;
    Ok(())
}

async fn route(scene: Scene, known: bool, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    if parts == ["healthz"] {
        return text(StatusCode::OK, "ok".to_owned());
    }
    if !known {
        return text(StatusCode::UNAUTHORIZED, "Unauthorized".to_owned());
    }
    let result = match (request.method(), parts.as_slice()) {
        (&Method::GET, ["containerLogs", namespace, pod, container]) => {
            log::serve(&scene, &request, namespace, pod, container)
        }
        (_, ["exec", namespace, pod, container]) => {
            exec::serve(&scene, request, namespace, pod, container).await
        }
        (_, ["attach", namespace, pod, container]) => {
            attach::serve(&scene, request, namespace, pod, container).await
        }
        (_, ["portForward", namespace, pod]) => {
            portforward::serve(&scene, request, namespace, pod).await
        }
        (&Method::GET, ["pods"]) => {
            let list = serde_json::json!({
                "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": scene.pods.list(),
            });
            Ok(json(&list))
        }
        (&Method::GET, ["stats", "summary"]) => stats::summary(&scene).await,
        (&Method::GET, ["metrics"]) => Ok(stats::metrics(&scene)),
        (&Method::GET, ["metrics", "cadvisor"]) => stats::cadvisor(&scene).await,
        _ => Err((StatusCode::NOT_FOUND, "404 page not found".to_owned())),
    };
    result.unwrap_or_else(|(status, words)| text(status, words))
}

fn text(status: StatusCode, words: String) -> Answer {
    let mut answer = Response::new(full(words));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        "Content-Type",
        http::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    answer
}

fn json(value: &serde_json::Value) -> Answer {
    let mut answer = Response::new(full(value.to_string()));
    answer.headers_mut().insert(
        "Content-Type",
        http::HeaderValue::from_static("application/json"),
    );
    answer
}

fn full(text: String) -> Body {
    Full::new(Bytes::from(text))
        .map_err(|never| match never {})
        .boxed()
}

/// The pod and its container, or the kubelet's words that there is none.
fn find(
    scene: &Scene,
    namespace: &str,
    name: &str,
    container: &str,
) -> Result<Arc<PodRef>, Refusal> {
    let missing = || (StatusCode::NOT_FOUND, format!("pod {name:?} not found"));
    let pod = scene.pods.find(namespace, name).ok_or_else(missing)?;
    if pod.container(container).is_none() {
        let words = format!("container {container:?} not found in pod {name:?}");
        return Err((StatusCode::NOT_FOUND, words));
    }
    Ok(pod)
}

/// The runtime's id of the running container.
async fn running(scene: &Scene, pod: &PodRef, container: &str) -> Result<String, Refusal> {
    use crate::pod::sandbox::{CONTAINER_NAME, POD_UID};
    let labels = [(POD_UID, pod.uid.as_str()), (CONTAINER_NAME, container)];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let listed = scene.context.runtime.list_containers(labels.into()).await;
    let listed = listed.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let running = pandaemon_cri::pb::ContainerState::ContainerRunning;
    let found = listed.into_iter().find(|one| one.state() == running);
    found.map(|one| one.id).ok_or_else(|| {
        let words = format!(
            "container {container:?} in pod {:?} is not running",
            pod.name
        );
        (StatusCode::BAD_REQUEST, words)
    })
}

/// All values of a query parameter.
fn query<'a>(uri: &'a http::Uri, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs
        .filter(move |(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Whether a query parameter is set.
fn is_set(uri: &http::Uri, name: &str) -> bool {
    query(uri, name).any(|value| matches!(value.as_str(), "1" | "true" | "True" | ""))
}
