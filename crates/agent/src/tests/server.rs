//! The kubelet server over TLS, with users of several kinds.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, request::Builder};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::node::Node;
use crate::{server::KubeletServer, tls};

/// A CA of clients, and a kubelet server that trusts it.
pub(super) struct Server {
    issuer: Issuer<'static, KeyPair>,
    ca: CertificateDer<'static>,
    address: SocketAddr,
}

/// A certificate for this name, signed by the CA.
fn sign(issuer: &Issuer<'static, KeyPair>, name: &str) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["n1".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.signed_by(&key, issuer).unwrap(), key)
}

impl Server {
    pub(super) async fn start(node: &Node) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let (own, key) = sign(&issuer, "system:node:n1");
        let config = tls::server(&own.pem(), &key.serialize_pem(), &ca.pem()).unwrap();
        let (sender, tls) = watch::channel(Some(Arc::new(config)));
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = listener.local_addr().unwrap();
        let server = Arc::new(KubeletServer { tls });
        let run = server.run(Arc::clone(node.context()), node.pods.clone(), listener);
        pandaemon_runtime::spawn("server", async move {
            run.await;
            drop(sender);
        });
        let ca = ca.der().clone();
        Self {
            issuer,
            ca,
            address,
        }
    }

    /// The answer to a GET of the user with this certificate, or with this token.
    async fn get(&self, user: &str, token: &str, path: &str) -> String {
        let request = Request::get(path);
        self.send(user, token, request).await
    }

    /// A connection of the user with this certificate.
    pub(super) async fn connect(&self, user: &str) -> SendRequest<Empty<Bytes>> {
        let stream = TokioIo::new(self.open(user).await);
        let (sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        pandaemon_runtime::spawn("connection", connection.with_upgrades());
        sender
    }

    /// A connection of the user with this certificate, over which nothing was sent yet.
    pub(super) async fn open(&self, user: &str) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = if user.is_empty() {
            builder.with_no_client_auth()
        } else {
            let (certificate, key) = sign(&self.issuer, user);
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            let chain = vec![certificate.der().clone()];
            builder.with_client_auth_cert(chain, key).unwrap()
        };
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("n1").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream);
        stream.await.unwrap()
    }

    /// The answer to a request of the user with this certificate, or with this token.
    pub(super) async fn send(&self, user: &str, token: &str, request: Builder) -> String {
        let mut sender = self.connect(user).await;
        let mut request = request.header("Host", "n1");
        if !token.is_empty() {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        match status {
            200 => "200".to_owned(),
            _ => format!("{status} {}", String::from_utf8_lossy(&body)),
        }
    }
}

#[tokio::test]
async fn the_control_plane_decides_who_may_do_what_at_the_kubelet_server() {
    let node = Node::start();
    node.api.change(|state| {
        let reviews = &mut state.reviews;
        reviews.tokens = [("t1".to_owned(), "scraper".to_owned())].into();
        let allowed = [
            "scraper get metrics",
            "admin get proxy",
            "probe get healthz",
        ];
        reviews.allowed = allowed.map(str::to_owned).into();
    });
    let server = Server::start(&node).await;
    for (user, token, path, expected) in [
        ("", "", "/metrics", "401 Unauthorized"),
        ("", "", "/healthz", "401 Unauthorized"),
        ("", "wrong", "/metrics", "401 Unauthorized"),
        ("scraper", "", "/metrics", "200"),
        ("", "t1", "/metrics", "200"),
        // A certificate counts before a token.
        ("scraper", "wrong", "/metrics", "200"),
        (
            "scraper",
            "",
            "/pods",
            "403 Forbidden (user=scraper, verb=get, resource=nodes, subresource(s)=[pods proxy])",
        ),
        (
            "system:node:n2",
            "",
            "/exec/default/p/c",
            "403 Forbidden (user=system:node:n2, verb=get, resource=nodes, subresource(s)=[proxy])",
        ),
        ("admin", "", "/pods", "200"),
        ("admin", "", "/healthz", "200"),
        ("probe", "", "/healthz", "200"),
        ("admin", "", "/nothing", "404 404 page not found"),
    ] {
        let answer = server.get(user, token, path).await;
        assert_eq!(answer, expected, "{user} {token} {path}");
    }
}

#[tokio::test]
async fn decisions_are_kept_for_seconds_and_nothing_is_open_without_a_control_plane() {
    let node = Node::start();
    node.api.change(|state| {
        let reviews = &mut state.reviews;
        reviews.tokens = [("t1".to_owned(), "scraper".to_owned())].into();
        reviews.allowed = ["scraper get metrics".to_owned()].into();
    });
    let server = Server::start(&node).await;
    let asked = || {
        let is_review = |one: &&String| one.ends_with("reviews");
        node.api
            .look(|state| state.requests.iter().filter(is_review).count())
    };
    let get = |path| server.get("", "t1", path);
    assert_eq!(get("/metrics").await, "200");
    assert_eq!(asked(), 2, "whose the token is, and whether the user may");
    assert_eq!(get("/metrics").await, "200");
    assert_eq!(asked(), 2, "both are known");

    node.api.set_down(true);
    assert_eq!(get("/metrics").await, "200");
    let away = "503 the API server cannot be asked whether the user may do this; try again later";
    assert_eq!(get("/stats/summary").await, away);
    assert_eq!(
        server.get("scraper", "", "/metrics").await,
        away,
        "has other groups"
    );
    let away = "503 the API server cannot be asked whose the token is; try again later";
    assert_eq!(server.get("", "t2", "/metrics").await, away);
    node.advance(Duration::from_secs(10));
    assert_eq!(get("/metrics").await, away);

    node.api.set_down(false);
    node.api.change(|state| state.reviews.allowed.clear());
    let refused =
        "403 Forbidden (user=scraper, verb=get, resource=nodes, subresource(s)=[metrics])";
    assert_eq!(get("/metrics").await, refused);
    node.api.change(|state| state.reviews.tokens.clear());
    assert_eq!(get("/metrics").await, refused);
    node.advance(Duration::from_secs(10));
    assert_eq!(get("/metrics").await, "401 Unauthorized");
}
