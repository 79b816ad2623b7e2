//! The kubelet server: the HTTPS endpoints of the node for logs, exec, attach, port-forward, stats
//! and health.
//!
//! The control plane decides who may do what, as for a kubelet with webhook authentication and
//! authorization: `access.rs`.

mod access;
mod attach;
mod exec;
mod listen;
mod log;
mod portforward;
mod relay;
mod socket;
mod stats;
mod streaming;
mod upgrade;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::Incoming;
use pandaemon_runtime::connections::{Connections, Request as Progress};
use rustls::ServerConfig;
use tokio::{net::TcpListener, sync::watch};
use tokio_rustls::TlsAcceptor;

use self::access::{Access, ClientCertificate, Refusal};
use crate::{context::Context, pod::PodRef, pods::Pods};

type Body = BoxBody<Bytes, std::io::Error>;
type HttpResponse = Response<Body>;

/// The kubelet server.
pub(crate) struct KubeletServer {
    /// TLS with the certificate in use; `None` until there is one.
    pub tls: watch::Receiver<Option<Arc<ServerConfig>>>,
}

/// What the handlers of all requests use.
#[derive(Clone)]
struct ServerState {
    context: Arc<Context>,
    pods: Pods,
    access: Arc<Access>,
    /// Those of the runtime's streaming server.
    tokens: streaming::Tokens,
}

/// An error response: status code and message.
type HttpError = (StatusCode, String);

impl KubeletServer {
    /// Serves requests as soon as there is a certificate; does not return. Each connection has the
    /// certificate that was in use when it began.
    pub(crate) async fn run(
        self: Arc<Self>,
        context: Arc<Context>,
        pods: Pods,
        listener: Arc<TcpListener>,
    ) {
        let (client, clock) = (context.client.clone(), context.clock.clone());
        let access = Arc::new(Access::new(client, clock, &context.config.node_name));
        let state = ServerState {
            context,
            pods,
            access,
            tokens: streaming::Tokens::default(),
        };
        let connections = Connections::new(listen::BOUNDS);
        let mut tls = self.tls.clone();
        drop(tls.wait_for(Option::is_some).await);
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the kubelet server");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Some(config) = tls.borrow().clone() else {
                continue;
            };
            let Some(open) = connections.admit(peer.ip()) else {
                tracing::debug!(%peer, "refused: too many connections to the kubelet server");
                continue;
            };
            let (state, acceptor) = (state.clone(), TlsAcceptor::from(config));
            pandaemon_runtime::spawn("request", async move {
                if let Err(error) = listen::connection(state, acceptor, stream, open).await {
                    tracing::debug!(%error, "a connection to the kubelet server failed");
                }
            });
        }
    }
}

/// Answers a request if its client may send it.
async fn answer(
    state: ServerState,
    certificate: Option<&ClientCertificate>,
    progress: &Progress,
    request: Request<Incoming>,
) -> HttpResponse {
    let (method, path) = (request.method(), request.uri().path());
    let check = state
        .access
        .check(certificate, method, path, request.headers());
    let result = match check.await {
        // One user may have all connections: API servers, and those whom they send on.
        Ok(()) => match progress.authenticated("") {
            Ok(()) => route(&state, request).await,
            Err(why) => Err((StatusCode::TOO_MANY_REQUESTS, why.to_string())),
        },
        Err(Refusal::Unauthorized) => Err((StatusCode::UNAUTHORIZED, "Unauthorized".to_owned())),
        Err(Refusal::Forbidden(why)) => Err((StatusCode::FORBIDDEN, why)),
        Err(Refusal::Unavailable(why)) => Err((StatusCode::SERVICE_UNAVAILABLE, why.to_owned())),
    };
    result.unwrap_or_else(|(status, message)| text(status, message))
}

async fn route(state: &ServerState, request: Request<Incoming>) -> Result<HttpResponse, HttpError> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (request.method(), parts.as_slice()) {
        (_, ["healthz"]) => Ok(text(StatusCode::OK, "ok".to_owned())),
        (&Method::GET, ["containerLogs", namespace, pod, container]) => {
            log::serve(state, &request, namespace, pod, container)
        }
        (method, ["exec" | "attach", _, _, _] | ["portForward", _, _])
            if !matches!(method, &Method::GET | &Method::POST) =>
        {
            // The answer of the kubelet's router.
            let message = "405: Method Not Allowed".to_owned();
            Err((StatusCode::METHOD_NOT_ALLOWED, message))
        }
        (_, ["exec", namespace, pod, container]) => {
            exec::serve(state, request, namespace, pod, container).await
        }
        (_, ["attach", namespace, pod, container]) => {
            attach::serve(state, request, namespace, pod, container).await
        }
        (_, ["portForward", namespace, pod]) => {
            portforward::serve(state, request, namespace, pod).await
        }
        (&Method::GET, ["pods"]) => {
            let list = serde_json::json!({
                "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": state.pods.list(),
            });
            Ok(json(&list))
        }
        (&Method::GET, ["stats", "summary"]) => stats::summary(state).await,
        (&Method::GET, ["metrics"]) => Ok(stats::metrics(state)),
        (&Method::GET, ["metrics", "cadvisor"]) => stats::cadvisor(state).await,
        _ => Err((StatusCode::NOT_FOUND, "404 page not found".to_owned())),
    }
}

fn text(status: StatusCode, message: String) -> HttpResponse {
    let mut response = Response::new(full(message));
    *response.status_mut() = status;
    response.headers_mut().insert(
        "Content-Type",
        http::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

fn json(value: &serde_json::Value) -> HttpResponse {
    let mut response = Response::new(full(value.to_string()));
    response.headers_mut().insert(
        "Content-Type",
        http::HeaderValue::from_static("application/json"),
    );
    response
}

fn full(text: String) -> Body {
    Full::new(Bytes::from(text))
        .map_err(|never| match never {})
        .boxed()
}

/// The pod with this container, or the kubelet's message that there is none.
fn find(
    state: &ServerState,
    namespace: &str,
    name: &str,
    container: &str,
) -> Result<Arc<PodRef>, HttpError> {
    let missing = || (StatusCode::NOT_FOUND, format!("pod {name:?} not found"));
    let pod = state.pods.find(namespace, name).ok_or_else(missing)?;
    if pod.container(container).is_none() {
        let message = format!("container {container:?} not found in pod {name:?}");
        return Err((StatusCode::NOT_FOUND, message));
    }
    Ok(pod)
}

/// The id of the running container in the runtime.
async fn running_container(
    state: &ServerState,
    pod: &PodRef,
    container: &str,
) -> Result<String, HttpError> {
    use crate::pod::sandbox::{CONTAINER_NAME, POD_UID};
    let labels = [(POD_UID, pod.uid.as_str()), (CONTAINER_NAME, container)];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let listed = state.context.runtime.list_containers(labels.into()).await;
    let listed = listed.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let running = pandaemon_cri::pb::ContainerState::ContainerRunning;
    let found = listed.into_iter().find(|one| one.state() == running);
    found.map(|one| one.id).ok_or_else(|| {
        let message = format!(
            "container {container:?} in pod {:?} is not running",
            pod.name
        );
        (StatusCode::BAD_REQUEST, message)
    })
}

/// All values of a query parameter.
fn query<'a>(uri: &'a http::Uri, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs
        .filter(move |(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Whether a boolean query parameter is set.
fn is_set(uri: &http::Uri, name: &str) -> bool {
    query(uri, name).any(|value| matches!(value.as_str(), "1" | "true" | "True" | ""))
}
