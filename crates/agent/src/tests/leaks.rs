//! What gets into no log, event, status or error: tokens, keys, the values of Secrets.

use std::{
    convert::Infallible,
    path::Path,
    sync::atomic::{AtomicU16, Ordering},
};

use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use pandaemon_testkit::leaks::{CapturedLog, Hidden};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{
    node::{BEGIN, Node, pod},
    server::Server,
};
use crate::{
    api::{
        identity::Identity,
        join::{self, JoinError},
    },
    config::Config,
    images::archive::digest,
    tls,
};

const PASSWORD: &str = "marker-of-a-password";
const POD_TOKEN: &str = "marker-of-a-pod-token";
const REGISTRY_PASSWORD: &str = "marker-of-a-registry-password";
const JOIN_SECRET: &str = "marker-of-the-join-token";
const USER_TOKEN: &str = "marker-of-a-user-token";
const WRONG_TOKEN: &str = "marker-of-a-wrong-token";
const IMAGE: &str = "registry.example/app:1";

fn hidden() -> Hidden {
    let mut hidden = Hidden::default();
    hidden.add("the value of a Secret", PASSWORD);
    hidden.add("the token of a pod", POD_TOKEN);
    hidden.add("the password of a registry", REGISTRY_PASSWORD);
    hidden.add("the join token", JOIN_SECRET);
    hidden.add("the token of a user", USER_TOKEN);
    hidden.add("a wrong token", WRONG_TOKEN);
    hidden
}

/// A pod that uses the Secret `login` and a token in all ways.
fn pod_with_secrets(name: &str) -> Value {
    let mut pod = pod(name, &[("c", IMAGE)]);
    let password = json!({ "secretKeyRef": { "name": "login", "key": "password" } });
    let token = json!({ "serviceAccountToken": { "path": "token", "expirationSeconds": 3600 } });
    let spec = &mut pod["spec"];
    spec["imagePullSecrets"] = json!([{ "name": "registry" }]);
    spec["volumes"] = json!([
        { "name": "login", "secret": { "secretName": "login" } },
        { "name": "token", "projected": { "sources": [token] } },
        { "name": "work", "emptyDir": {} },
    ]);
    let container = &mut spec["containers"][0];
    container["imagePullPolicy"] = json!("Always");
    container["args"] = json!(["--password=$(PASSWORD)"]);
    container["envFrom"] = json!([{ "secretRef": { "name": "login" }, "prefix": "LOGIN_" }]);
    container["env"] = json!([
        { "name": "PASSWORD", "valueFrom": password },
        { "name": "URL", "value": "postgres://user:$(PASSWORD)@db" },
    ]);
    container["volumeMounts"] = json!([
        { "name": "login", "mountPath": "/login" },
        { "name": "token", "mountPath": "/token" },
        { "name": "work", "mountPath": "/work", "subPathExpr": "$(PASSWORD)" },
    ]);
    pod
}

async fn until_waiting(node: &Node, pod: &str, reason: &str) {
    let waiting = Some(format!("waiting {reason}"));
    let what = format!("{pod} waits: {reason}");
    let is_waiting = |state: &super::fake_api::State| state.container_state(pod) == waiting;
    node.api.until(&what, is_waiting).await;
}

/// Starts pods with Secrets, which fails in several ways.
async fn start_pods(node: &Node) {
    let login = json!({ "auths": { "registry.example": { "username": "u", "password": REGISTRY_PASSWORD } } });
    node.api
        .apply_secret("registry", ".dockerconfigjson", &login.to_string());
    node.api.apply_secret("login", "password", PASSWORD);
    node.runtime.fail("pull_image", "unauthorized");
    node.api.apply(&pod_with_secrets("p"));
    let failed = "Error: ErrImagePull".to_owned();
    node.api
        .until("the pull fails", |state| state.events.contains(&failed))
        .await;
    node.runtime.recover("pull_image");
    node.runtime
        .fail("create_container", "no space left on device");
    node.advance(std::time::Duration::from_secs(60));
    until_waiting(node, "p", "CreateContainerError").await;
    node.runtime.recover("create_container");
    node.advance(std::time::Duration::from_secs(60));
    node.api
        .until("p is ready", |state| state.is_ready("p"))
        .await;

    let mut outside = pod_with_secrets("q");
    let mount = &mut outside["spec"]["containers"][0]["volumeMounts"][2];
    mount["subPathExpr"] = json!("../$(PASSWORD)");
    node.api.apply(&outside);
    until_waiting(node, "q", "CreateContainerConfigError").await;
    let mut missing = pod_with_secrets("r");
    missing["spec"]["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["key"] = json!("user");
    node.api.apply(&missing);
    until_waiting(node, "r", "CreateContainerConfigError").await;
}

/// Sends requests with good and bad tokens to the kubelet server, and opens a stream of the
/// runtime.
async fn use_kubelet_server(node: &Node) {
    node.api.change(|state| {
        let reviews = &mut state.reviews;
        reviews.tokens = [(USER_TOKEN.to_owned(), "admin".to_owned())].into();
        reviews.allowed = ["admin get proxy".to_owned()].into();
    });
    let server = Server::start(node).await;
    for (token, expected) in [(USER_TOKEN, "200"), (WRONG_TOKEN, "401 Unauthorized")] {
        let answer = server.send("", token, Request::get("/pods")).await;
        assert_eq!(answer, expected);
    }
    let exec = Request::get("/exec/default/p/c?command=id&output=1")
        .header("Connection", "Upgrade")
        .header("Upgrade", "SPDY/3.1");
    let answer = server.send("", USER_TOKEN, exec).await;
    assert!(
        answer.starts_with("500 connect to the runtime's streaming server"),
        "{answer}"
    );
    assert!(!answer.contains("streaming-token"), "{answer}");
}

/// A server that refuses to let a node join: first with 500, then with 401.
async fn refusing_server() -> (u16, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let own = params.signed_by(&key, &issuer).unwrap();
    let config = tls::server(&own.pem(), &key.serialize_pem(), &ca.pem()).unwrap();
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let ca_digest = digest(ca.der()).replace("sha256:", "");
    pandaemon_runtime::spawn("server", async move {
        let status = AtomicU16::new(500);
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
            let answer = |request: Request<Incoming>| {
                let is_join = request.uri().path() != "/cacerts";
                let status = if is_join {
                    status.swap(401, Ordering::Relaxed)
                } else {
                    200
                };
                let response = Response::builder().status(status);
                let text = if is_join {
                    "not now".to_owned()
                } else {
                    ca.pem()
                };
                let response = response.body(Full::new(bytes::Bytes::from(text)));
                async move { Ok::<_, Infallible>(response.unwrap()) }
            };
            let connection = hyper::server::conn::http1::Builder::new();
            let served = connection.serve_connection(stream, service_fn(answer));
            let _closed_by_client = served.await;
        }
    });
    (port, ca_digest)
}

/// Tries to join with a token that is refused. Returns what is told.
async fn join(identity: &Identity, data: &Path) -> Vec<String> {
    let (port, ca_digest) = refusing_server().await;
    let url = format!("https://localhost:{port}");
    let malformed = Config::new(&url, JOIN_SECRET, "n1", data);
    let config = Config::new(&url, &format!("{ca_digest}.{JOIN_SECRET}"), "n1", data);
    let mut told = vec![format!("{malformed:?} {config:?}")];
    let mut statuses = Vec::new();
    for config in [&malformed, &config, &config] {
        let error = match join::request(config, identity, [127, 0, 0, 1].into()).await {
            Err(JoinError::Permanent(error)) => format!("permanent: {error:#} {error:?}"),
            Err(JoinError::Transient(error)) => format!("transient: {error:#} {error:?}"),
            Err(JoinError::NodeDeleted(_)) | Ok(_) => panic!("the server lets nobody join"),
        };
        statuses.push(
            error
                .split_whitespace()
                .take(4)
                .collect::<Vec<_>>()
                .join(" "),
        );
        told.push(error);
    }
    let expected = [
        "permanent: the token must".to_owned(),
        "transient: ApiError: not now:".to_owned(),
        format!("permanent: {url} refused the"),
    ];
    assert_eq!(statuses, expected);
    told
}

#[tokio::test]
async fn no_token_key_or_secret_is_logged_or_reported() {
    let log = CapturedLog::start();
    let mut hidden = hidden();
    let node = Node::start();
    node.api.set_token_expiry(BEGIN / 1000 + 3600);
    node.api
        .change(|state| state.token_suffix = POD_TOKEN.to_owned());
    start_pods(&node).await;
    let node = node.restart().await;
    node.settle("p").await;
    use_kubelet_server(&node).await;
    let identity = Identity::new(node.paths().identity());
    let told = join(&identity, &node.paths().identity()).await;

    for name in ["client.key", "serving.key"] {
        let key = identity.read(name).unwrap();
        for line in key.lines().filter(|line| line.len() >= 32) {
            hidden.add_word("a key of the node", line);
        }
    }
    hidden.check("an error", &told.join("\n"));
    node.api.look(|state| {
        hidden.check("an event", &state.events.join("\n"));
        hidden.check("a request's path", &state.requests.join("\n"));
        for pod in ["p", "q", "r"] {
            hidden.check("a status", &state.status(pod).unwrap().to_string());
        }
    });
    hidden.add("the token of a stream", "streaming-token");
    let text = log.text();
    assert!(text.contains("TRACE"), "no log was recorded");
    hidden.check("the log", &text);
}
