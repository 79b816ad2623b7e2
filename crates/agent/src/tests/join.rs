//! Joining and renewal: which credential asks for what, and what becomes of the requests.

use std::{collections::BTreeMap, net::IpAddr, path::Path, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer};
use rcgen::{DnType, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::fake_api::FakeApi;
use crate::{
    api::{
        identity::{Credential, Identity},
        join::{self, IssuedCertificates, JoinError, Joining},
    },
    config::Config,
    images::archive::digest,
    tls,
};

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const SERVING: &str = "kubernetes.io/kubelet-serving";

/// What the control plane does with new requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Controllers {
    Sign,
    Fail,
    /// They sign for another key.
    Confuse,
    Absent,
}

#[derive(Default)]
struct Asked {
    /// Credential and signer of each request.
    log: Vec<(&'static str, String)>,
    /// The names of the objects, in order.
    names: Vec<String>,
    /// The answers to a credential.
    refusals: BTreeMap<&'static str, Value>,
}

/// A cluster, and a machine that joins it.
struct Cluster {
    config: Config,
    identity: Identity,
    _dir: tempfile::TempDir,
    api: FakeApi,
    issuer: Issuer<'static, KeyPair>,
    controllers: Mutex<Controllers>,
    asked: Mutex<Asked>,
}

fn ca() -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, Issuer::new(params, key))
}

impl Cluster {
    fn new() -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        let (pem, issuer) = ca();
        let api = FakeApi::default();
        api.apply_config_map("extension-apiserver-authentication", "client-ca-file", &pem);
        Arc::new(Self {
            config: Config::new(
                "https://server",
                "ca.secret",
                "n1",
                Path::new("/nonexistent"),
            ),
            identity: Identity::new(dir.path().join("identity")),
            _dir: dir,
            api,
            issuer,
            controllers: Mutex::new(Controllers::Sign),
            asked: Mutex::default(),
        })
    }

    /// One attempt, whose certificates are saved if there are any.
    async fn attempt(self: &Arc<Self>) -> Result<IssuedCertificates, JoinError> {
        let cluster = Arc::clone(self);
        let connect = move |credential: &Credential| Ok(cluster.client(credential));
        let joining = Joining {
            config: &self.config,
            identity: &self.identity,
            address: ADDRESS,
            ca_certificate: "ca".to_owned(),
            connect: &connect,
        };
        let issued = joining.certificates().await?;
        let write = |name, text| self.identity.write(name, text).unwrap();
        write("client.crt", &issued.client_certificate);
        Ok(issued)
    }

    fn client(self: &Arc<Self>, credential: &Credential) -> Client {
        let who = match credential {
            Credential::Token => "token",
            Credential::Certificate { .. } => "certificate",
        };
        let this = Arc::clone(self);
        let service = tower::service_fn(move |request: Request<Body>| {
            let this = Arc::clone(&this);
            async move { this.answer(who, request).await }
        });
        Client::new(service, "default")
    }

    async fn answer(
        &self,
        who: &'static str,
        request: Request<Body>,
    ) -> Result<Response<Body>, std::io::Error> {
        let refusal = self.asked.lock().refusals.get(who).cloned();
        if let Some(refusal) = refusal {
            // No code: the handshake fails.
            let code = refusal["code"]
                .as_u64()
                .ok_or(std::io::ErrorKind::ConnectionReset)?;
            let mut answer = Response::new(Body::from(refusal.to_string().into_bytes()));
            *answer.status_mut() = u16::try_from(code).unwrap().try_into().unwrap();
            return Ok(answer);
        }
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let object: Value = serde_json::from_slice(&body).unwrap_or_default();
        let request = Request::from_parts(head, Body::from(body.to_vec()));
        let answer = self.api.client().send(request).await.unwrap();
        if object["kind"] == "CertificateSigningRequest" {
            self.take(who, &object, answer.status().is_success());
        }
        Ok(answer)
    }

    fn take(&self, who: &'static str, object: &Value, is_new: bool) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let name = text(&object["metadata"]["name"]);
        let mut asked = self.asked.lock();
        asked.log.push((who, text(&object["spec"]["signerName"])));
        if is_new {
            asked.names.push(name.clone());
            drop(asked);
            self.decide(&name);
        }
    }

    fn decide(&self, name: &str) {
        let condition = |of_type: &str, message: &str| json!({"type": of_type, "status": "True", "reason": "Test", "message": message});
        let status = match *self.controllers.lock() {
            Controllers::Absent => return,
            Controllers::Fail => json!({"conditions": [
                condition("Approved", ""), condition("Failed", "the name is taken"),
            ]}),
            Controllers::Sign => self.signed(name, None),
            Controllers::Confuse => self.signed(name, Some(KeyPair::generate().unwrap())),
        };
        self.api.set_request_status(name, status);
    }

    fn signed(&self, name: &str, other: Option<KeyPair>) -> Value {
        let pem = self.api.look(|state| {
            let object = state.request(name).unwrap();
            let pem = BASE64_STANDARD.decode(object["spec"]["request"].as_str().unwrap());
            String::from_utf8(pem.unwrap()).unwrap()
        });
        let mut request = CertificateSigningRequestParams::from_pem(&pem).unwrap();
        request.params.is_ca = IsCa::NoCa;
        let signed = match other {
            Some(key) => request.params.signed_by(&key, &self.issuer),
            None => request.signed_by(&self.issuer),
        };
        let pem = signed.unwrap().pem();
        json!({
            "conditions": [{"type": "Approved", "status": "True"}],
            "certificate": BASE64_STANDARD.encode(pem),
        })
    }

    fn set_controllers(&self, controllers: Controllers) {
        *self.controllers.lock() = controllers;
    }

    fn refuse(&self, who: &'static str, answer: Value) {
        self.asked.lock().refusals.insert(who, answer);
    }

    /// Which credential has asked which signer since the last look.
    fn log(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.asked.lock().log)
    }

    fn names(&self) -> Vec<String> {
        self.asked.lock().names.clone()
    }
}

fn asked(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let owned = |&(who, signer): &(&'static str, &str)| (who, signer.to_owned());
    pairs.iter().map(owned).collect()
}

fn unauthorized() -> Value {
    json!({"kind": "Status", "status": "Failure", "reason": "Unauthorized", "code": 401, "message": "Unauthorized"})
}

fn transient(result: Result<IssuedCertificates, JoinError>) -> String {
    match result.map(drop) {
        Err(JoinError::Transient(error)) => format!("{error:#}"),
        other => panic!("{other:?}"),
    }
}

fn refused(result: Result<IssuedCertificates, JoinError>) -> String {
    match result.map(drop) {
        Err(JoinError::Permanent(error)) => {
            assert!(error.is::<join::JoinRefused>(), "{error:#}");
            error.to_string()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_joins_with_the_token_and_renews_with_its_certificate() {
    let cluster = Cluster::new();
    let issued = cluster.attempt().await.unwrap();
    assert_eq!(
        cluster.log(),
        asked(&[("token", CLIENT), ("certificate", SERVING)])
    );
    let key_of = |pem: &str| {
        let der = tls::first_certificate(pem).unwrap();
        pandaemon_certificates::ClientSubject::of(&der).unwrap()
    };
    let client = key_of(&issued.client_certificate);
    assert_eq!(client.name, "system:node:n1");
    assert_eq!(client.organizations, ["system:nodes"]);
    assert_ne!(
        client.public_key,
        key_of(&issued.serving_certificate).public_key
    );
    assert!(issued.client_ca_certificate.contains("BEGIN CERTIFICATE"));

    // The token has ended since.
    cluster.refuse("token", unauthorized());
    cluster.attempt().await.unwrap();
    assert_eq!(
        cluster.log(),
        asked(&[("certificate", CLIENT), ("certificate", SERVING)])
    );
    assert_eq!(
        cluster.names().len(),
        4,
        "the requests of the first time are done"
    );
}

#[tokio::test(start_paused = true)]
async fn the_token_follows_a_certificate_that_no_longer_counts() {
    let cluster = Cluster::new();
    cluster.attempt().await.unwrap();
    // Unknown to the server, and refused in the handshake.
    for answer in [unauthorized(), json!({})] {
        cluster.log();
        cluster.refuse("certificate", answer);
        let error = cluster.attempt().await.err().unwrap();
        assert!(matches!(error, JoinError::Transient(_)), "{error:?}");
        assert_eq!(cluster.log(), asked(&[("token", CLIENT)]));
    }
    // Nor does one of another node.
    cluster.asked.lock().refusals.clear();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, "system:node:n2");
    let key = cluster.identity.key("client.key").unwrap();
    let other = params.signed_by(&key, &cluster.issuer).unwrap().pem();
    cluster.identity.write("client.crt", &other).unwrap();
    cluster.log();
    cluster.attempt().await.unwrap();
    assert_eq!(cluster.log().first().unwrap().0, "token");
    // A wrong token is a refusal.
    cluster.refuse("certificate", unauthorized());
    cluster.refuse("token", unauthorized());
    let text = refused(cluster.attempt().await);
    assert!(text.contains("the token is wrong, has expired"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_node_does_not_come_back_with_its_token() {
    let cluster = Cluster::new();
    cluster.attempt().await.unwrap();
    cluster.log();
    cluster.refuse(
        "certificate",
        json!({
            "kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403,
            "message": "the node was deleted",
            "details": {"kind": "nodes", "name": "n1", "uid": "u", "causes": [{"reason": "NodeDeleted"}]},
        }),
    );
    let error = cluster.attempt().await.err().unwrap();
    assert!(matches!(error, JoinError::NodeDeleted(_)), "{error:?}");
    assert_eq!(cluster.log(), []);
    // A certificate that was signed before is not taken up again.
    cluster.identity.remove_file("client.crt").unwrap();
    for _ in 0..2 {
        let error = cluster.attempt().await.err().unwrap();
        assert!(matches!(error, JoinError::NodeDeleted(_)), "{error:?}");
    }
    assert_eq!(cluster.names().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_approves_is_named_and_waited_for_again() {
    let cluster = Cluster::new();
    cluster.set_controllers(Controllers::Absent);
    for _ in 0..3 {
        let text = transient(cluster.attempt().await);
        let name = cluster.names().pop().unwrap();
        let command = format!("kubectl certificate approve {name}");
        assert!(text.contains(&command), "{text}");
    }
    let names = cluster.names();
    assert_eq!(names.len(), 1, "{names:?}");
    // Approved while the agent waits, and signed later.
    let approved = json!({"conditions": [{"type": "Approved", "status": "True"}]});
    cluster.api.set_request_status(&names[0], approved);
    let text = transient(cluster.attempt().await);
    assert!(text.contains("is approved, and not signed yet"), "{text}");
    let control_plane = async {
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        cluster.set_controllers(Controllers::Sign);
        cluster.decide(&names[0]);
    };
    let (done, ()) = tokio::join!(cluster.attempt(), control_plane);
    done.unwrap();
    // The client certificate is not asked for again while the second request waits.
    assert_eq!(cluster.names().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_second_request_keeps_the_first() {
    let cluster = Cluster::new();
    let api = &cluster.api;
    api.refuse(Some("GET /api/v1/namespaces/kube-system/configmaps"));
    for _ in 0..3 {
        let text = transient(cluster.attempt().await);
        assert!(
            text.contains("extension-apiserver-authentication"),
            "{text}"
        );
    }
    api.refuse(None);
    cluster.attempt().await.unwrap();
    assert_eq!(cluster.names().len(), 2, "one for each certificate");
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_is_told_and_the_next_one_is_another() {
    let cluster = Cluster::new();
    cluster.set_controllers(Controllers::Fail);
    let text = refused(cluster.attempt().await);
    assert!(text.contains("the name is taken"), "{text}");
    cluster.set_controllers(Controllers::Absent);
    transient(cluster.attempt().await);
    let names = cluster.names();
    let denied = json!({"conditions": [{"type": "Denied", "status": "True", "message": "no"}]});
    cluster.api.set_request_status(&names[1], denied);
    let text = refused(cluster.attempt().await);
    assert!(
        text.contains("was denied") && text.contains(&names[1]),
        "{text}"
    );
    cluster.set_controllers(Controllers::Confuse);
    let text = transient(cluster.attempt().await);
    assert!(text.contains("another key"), "{text}");
    cluster.set_controllers(Controllers::Sign);
    cluster.attempt().await.unwrap();
    assert_eq!(cluster.names().len(), 5);
}

/// A server that answers everything with this text.
async fn serve(text: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("https://{}", listener.local_addr().unwrap());
    let (_, issuer) = ca();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    let config = tls::server(&certificate, &key.serialize_pem(), &certificate).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    pandaemon_runtime::spawn("server", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = acceptor.accept(stream).await.unwrap();
            let text = text.clone();
            let answer = service_fn(move |_request: Request<Incoming>| {
                let body = Full::new(Bytes::from(text.clone()));
                async { Ok::<_, std::convert::Infallible>(Response::new(body)) }
            });
            let serve = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer);
            pandaemon_runtime::spawn("connection", serve);
        }
    });
    server
}

#[tokio::test]
async fn only_the_ca_of_the_token_is_trusted() {
    let (pem, _) = ca();
    let digest = digest(&tls::first_certificate(&pem).unwrap());
    let token = format!("{}.secret", digest.trim_start_matches("sha256:"));
    let server_ca = async |text: &str| {
        let server = serve(text.to_owned()).await;
        let config = Config::new(&server, &token, "n1", Path::new("/nonexistent"));
        join::server_ca(&config).await
    };
    assert_eq!(server_ca(&pem).await.unwrap(), pem);
    let (other, _) = ca();
    let error = server_ca(&other).await.unwrap_err();
    assert!(matches!(&error, JoinError::Permanent(error) if error.is::<join::JoinRefused>()));
    // Someone between agent and server adds a CA of his own.
    let error = server_ca(&format!("{pem}{other}")).await.unwrap_err();
    assert!(matches!(&error, JoinError::Transient(_)), "{error:?}");
}
