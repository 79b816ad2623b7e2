//! The server over TLS: authentication, joining of agents, logs and exec through a fake agent.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming, client::conn::http1::SendRequest, service::service_fn, upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use pandaemon_testkit::{ServerOptions, join::Joined, leaks::CapturedLog};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, crypto::ring, server::WebPkiClientVerifier,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use crate::{
    harness::{Server, json_of},
    join::{join, token},
};

pub(crate) fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

pub(crate) fn roots(ca: &str) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    Arc::new(roots)
}

pub(crate) fn client_config(ca: &str, identity: Option<(&str, &str)>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(ca));
    match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder
                .with_client_auth_cert(vec![certificate(cert)], key)
                .unwrap()
        }
    }
}

/// A connection over TLS.
pub(crate) async fn tls(server: &Server, identity: Option<(&str, &str)>) -> TlsStream<TcpStream> {
    let running = server.running();
    let config = client_config(&running.ca_pem(), identity);
    let stream = TcpStream::connect(running.address()).await.unwrap();
    let name = ServerName::try_from("node.example").unwrap();
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
    connected.await.unwrap()
}

pub(crate) async fn connect(
    server: &Server,
    identity: Option<(&str, &str)>,
) -> SendRequest<Full<Bytes>> {
    let stream = tls(server, identity).await;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    pandaemon_runtime::spawn("client", async move { connection.with_upgrades().await });
    sender
}

pub(crate) async fn ask(
    sender: &mut SendRequest<Full<Bytes>>,
    method: &str,
    path: &str,
    token: &str,
    body: &Value,
) -> (u16, String) {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "x");
    if !token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let body = if body.is_null() {
        Vec::new()
    } else {
        serde_json::to_vec(body).unwrap()
    };
    let request = request.body(Full::from(body)).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let code = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn anonymous_users_can_read_public_paths_only() {
    let server = Server::start().await;
    let mut sender = connect(&server, None).await;
    for path in ["/healthz", "/livez", "/readyz", "/version", "/cacerts"] {
        assert_eq!(
            ask(&mut sender, "GET", path, "", &Value::Null).await.0,
            200,
            "{path}"
        );
    }
    let wrong = format!("{}x", token(&server));
    for (path, token) in [
        ("/api/v1/nodes", ""),
        ("/metrics", ""),
        ("/version", wrong.as_str()),
    ] {
        let (code, text) = ask(&mut sender, "GET", path, token, &Value::Null).await;
        assert_eq!(
            (code, &json_of(&text)["reason"]),
            (401, &json!("Unauthorized")),
            "{path}"
        );
    }
    // The join token is for joining only.
    let (code, _) = ask(
        &mut sender,
        "GET",
        "/api/v1/nodes",
        &token(&server),
        &Value::Null,
    )
    .await;
    assert_eq!(code, 403);
    let admin = server.running().admin_token();
    assert_eq!(
        ask(&mut sender, "GET", "/api/v1/nodes", &admin, &Value::Null)
            .await
            .0,
        200
    );
}

/// A fake agent: answers logs with the path of the request, and exec with an echo.
async fn fake_agent(
    mut request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let path = request.uri().to_string();
    if path.contains("missing") {
        let mut refused = Response::new(Full::from("container is not running"));
        *refused.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(refused);
    }
    if !path.starts_with("/exec") {
        return Ok(Response::new(Full::from(path)));
    }
    let upgrade = hyper::upgrade::on(&mut request);
    pandaemon_runtime::spawn("echo", async move {
        let mut stream = TokioIo::new(upgrade.await.unwrap());
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.unwrap();
        stream.write_all(&word).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer
        .headers_mut()
        .insert(header::UPGRADE, "websocket".parse().unwrap());
    answer
        .headers_mut()
        .insert(header::CONNECTION, "Upgrade".parse().unwrap());
    Ok(answer)
}

pub(crate) async fn start_agent(joined: &Joined) -> SocketAddr {
    let provider = Arc::new(ring::default_provider());
    let cas = roots(&joined.client_cas);
    let verifier = WebPkiClientVerifier::builder_with_provider(cas, Arc::clone(&provider))
        .build()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(joined.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate(&joined.serving)], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    pandaemon_runtime::spawn("agent", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let builder = hyper::server::conn::http1::Builder::new();
            let connection = builder
                .serve_connection(TokioIo::new(stream), service_fn(fake_agent))
                .with_upgrades();
            pandaemon_runtime::spawn("agent-connection", connection);
        }
    });
    address
}

pub(crate) async fn pod_on_an_agent(server: &Server, containers: Value) -> SocketAddr {
    let joined = join(server, "n1", "s", &token(server)).await.ok().unwrap();
    let agent = start_agent(&joined).await;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": agent.port()}}}});
    assert_eq!(server.post("/api/v1/nodes", &node).await.0, 201);
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    server
        .post("/api/v1/namespaces/default/serviceaccounts", &account)
        .await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"nodeName": "n1", "containers": containers}});
    let (code, answer) = server.post("/api/v1/namespaces/default/pods", &pod).await;
    assert_eq!(code, 201, "{answer}");
    agent
}

#[tokio::test]
async fn logs_are_proxied_from_the_agent_of_the_pods_node() {
    let server = Server::start().await;
    pod_on_an_agent(
        &server,
        json!([{"name": "c", "image": "i"}, {"name": "missing", "image": "i"}]),
    )
    .await;
    let log = "/api/v1/namespaces/default/pods/p/log";
    let (code, text) = server
        .get_text(&format!("{log}?container=c&tailLines=3&follow=true&x=y"))
        .await;
    assert_eq!(
        (code, text.as_str()),
        (200, "/containerLogs/default/p/c?tailLines=3&follow=true")
    );
    let (code, status) = server.get(&format!("{log}?container=missing")).await;
    assert_eq!(
        (code, &status["message"]),
        (400, &json!("container is not running"))
    );
    let (code, status) = server.get(log).await;
    assert_eq!(code, 400);
    assert_eq!(
        status["message"],
        "a container name must be specified for pod p, choose one of: [c missing]"
    );
    let (code, text) = server
        .get_text("/api/v1/nodes/n1/proxy/stats/summary?a=b")
        .await;
    assert_eq!((code, text.as_str()), (200, "/stats/summary?a=b"));
}

/// The answer of a server to a request for the agent of a new node at this address.
async fn ask_agent(server: &Server, name: &str, (ip, port): (&str, u16)) -> (u16, String) {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {
        "addresses": [{"type": "InternalIP", "address": ip}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
    assert_eq!(server.post("/api/v1/nodes", &node).await.0, 201);
    let path = format!("/api/v1/nodes/{name}/proxy/healthz");
    let (code, status) = server.get(&path).await;
    (code, status["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn the_log_alone_says_why_an_agent_does_not_answer() {
    let log = CapturedLog::start();
    let lenient = Server::start().await;
    let strict = ServerOptions {
        allow_loopback_nodes: false,
        ..ServerOptions::default()
    };
    let strict = Server::start_with(strict).await.unwrap();
    let agent = pod_on_an_agent(&strict, json!([{"name": "c", "image": "i"}])).await;
    let own = lenient.running().address().port();
    let also = lenient.running().also_listen(([127, 0, 0, 1], 0).into());
    let also = also.await.unwrap().port();
    let cases = [
        (
            &strict,
            "n2",
            ("127.0.0.1", agent.port()),
            "a loopback address",
        ),
        (
            &strict,
            "n3",
            ("169.254.169.254", 80),
            "a link-local address",
        ),
        (
            &lenient,
            "n4",
            ("127.0.0.1", own),
            "an address of this server",
        ),
        (
            &lenient,
            "n5",
            ("127.0.0.1", also),
            "an address of this server",
        ),
        (&lenient, "n6", ("127.0.0.1", 1), "connect to 127.0.0.1:1: "),
        (
            &lenient,
            "n7",
            ("127.0.0.1", agent.port()),
            "invalid peer certificate",
        ),
    ];
    let asked = cases.map(|(server, name, at, _)| ask_agent(server, name, at));
    let answers = futures::future::join_all(asked).await;
    let log = log.text();
    for ((_, name, (ip, port), why), (code, message)) in cases.into_iter().zip(answers) {
        let agent = format!("the agent of node {name} at {ip}:{port} does not answer");
        let advice = "check that it runs and that the API server can reach it; \
            the log of the API server says more";
        assert_eq!((code, message), (502, format!("{agent}: {advice}")));
        let line = log.lines().find(|line| line.contains(&agent)).unwrap();
        assert!(
            line.contains(" WARN ") && line.contains(why),
            "{why}: {line}"
        );
    }
}

/// The stream of an exec, which the fake agent echoes and then ends.
pub(crate) async fn open_exec(server: &Server, path: &str) -> TokioIo<Upgraded> {
    let mut sender = connect(server, None).await;
    let admin = server.running().admin_token();
    let request = Request::get(path)
        .header(header::HOST, "x")
        .header(header::AUTHORIZATION, format!("Bearer {admin}"))
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", "v5.channel.k8s.io")
        .body(Full::default())
        .unwrap();
    let mut answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap())
}

#[tokio::test]
async fn exec_copies_bytes_between_client_and_agent() {
    let server = Server::start().await;
    pod_on_an_agent(&server, json!([{"name": "c", "image": "i"}])).await;
    let admin = server.running().admin_token();
    let mut sender = connect(&server, None).await;
    let path = "/api/v1/namespaces/default/pods/p/exec?command=cat&stdin=true&stdout=true";
    let plain = ask(&mut sender, "GET", path, &admin, &Value::Null).await;
    assert_eq!(plain.0, 400, "{}", plain.1);
    let mut stream = open_exec(&server, path).await;
    stream.write_all(b"ping").await.unwrap();
    let mut echoed = String::new();
    stream.read_to_string(&mut echoed).await.unwrap();
    assert_eq!(echoed, "ping");
}

#[tokio::test]
async fn a_shutdown_ends_watches_and_then_the_server() {
    let mut server = Server::start().await;
    let request = Request::get("/api/v1/nodes?watch=true").body(kube::client::Body::empty());
    // The watch has started when its head is answered.
    let watch = server.client().send(request.unwrap()).await.unwrap();
    server.stop().await;
    watch.into_body().collect().await.unwrap();
}

#[tokio::test]
async fn the_error_of_a_used_port_names_the_address() {
    let server = Server::start().await;
    let taken = server.running().address();
    let options = ServerOptions {
        listen: taken,
        ..ServerOptions::default()
    };
    let error = Server::start_with(options).await.err().unwrap().to_string();
    assert!(
        error.contains(&taken.to_string()) && error.contains("in use"),
        "{error}"
    );
}
