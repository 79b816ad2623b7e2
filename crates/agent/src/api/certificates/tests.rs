//! Certificates from a CA in the test, for a node whose clock the test sets.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::client::Body;
use pandaemon_client::events::EventRecorder;
use pandaemon_runtime::Shutdown;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::images::archive::digest;

const DAY: i64 = 24 * 3600;

/// Answers of a server, in order; the last one is repeated.
#[derive(Clone, Copy)]
enum Answer {
    Issue,
    Refuse,
    NodeDeleted,
    Fail,
}

/// A CA that answers requests for certificates.
struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    clock: watch::Sender<i64>,
    identity: Identity,
    answers: Mutex<VecDeque<Answer>>,
    requests: watch::Sender<u32>,
}

impl Ca {
    fn new(dir: &std::path::Path) -> Arc<Self> {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Arc::new(Self {
            pem: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
            clock: watch::Sender::new(jiff::Timestamp::now().as_millisecond()),
            identity: Identity::new(dir.join("identity")),
            answers: Mutex::new([Answer::Issue].into()),
            requests: watch::Sender::new(0),
        })
    }

    fn answer(&self, answers: &[Answer]) {
        *self.answers.lock() = answers.iter().copied().collect();
    }

    fn advance(&self, seconds: i64) {
        self.clock.send_modify(|now| *now += seconds * 1000);
    }

    /// A certificate for 30 days from the machine's present time, with the key of this name.
    fn sign(&self, key: &str) -> String {
        let key = self.identity.key(key).unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let now = jiff::Timestamp::now().as_second();
        let from = u64::try_from(now).unwrap();
        params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(from - 60);
        params.not_after = params.not_before + Duration::from_secs(30 * 24 * 3600);
        params.signed_by(&key, &self.issuer).unwrap().pem()
    }

    fn request(&self) -> Result<IssuedCertificates, JoinError> {
        self.requests.send_modify(|count| *count += 1);
        let mut answers = self.answers.lock();
        let answer = match answers.len() {
            1 => answers.front().copied(),
            _ => answers.pop_front(),
        };
        match answer.unwrap() {
            Answer::Issue => Ok(IssuedCertificates {
                client_certificate: self.sign("client.key"),
                serving_certificate: self.sign("serving.key"),
                ca_certificate: self.pem.clone(),
                client_ca_certificate: self.pem.clone(),
            }),
            Answer::Refuse => Err(JoinError::Permanent(anyhow::anyhow!("the token is wrong"))),
            Answer::NodeDeleted => Err(JoinError::NodeDeleted(anyhow::anyhow!("deleted"))),
            Answer::Fail => Err(JoinError::Transient(anyhow::anyhow!("no server"))),
        }
    }

    /// The certificates of a node whose API server has this address.
    fn certificates(self: &Arc<Self>, node: &str, server: SocketAddr) -> Arc<Certificates> {
        let path = std::path::Path::new("/nonexistent");
        let config = Config::new(&format!("https://{server}"), "ca.secret", node, path);
        let scope = identity_scope(node, [127, 0, 0, 1].into(), "ca");
        let (clock, identity) = (Clock::Manual(self.clock.clone()), self.identity.clone());
        let ca = Arc::clone(self);
        let request: Request = Box::new(move || {
            let answer = ca.request();
            Box::pin(async { answer })
        });
        let made = Certificates::load_or_none(&config, identity, scope, clock, request);
        Arc::new(made)
    }

    async fn requested(&self, count: u32) {
        let mut requests = self.requests.subscribe();
        let wait = requests.wait_for(|made| *made == count);
        let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
        waited.expect("a request").unwrap();
    }

    /// An API server that answers each request with the digest of the client's certificate.
    async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let key = self.identity.key("server.key").unwrap().serialize_pem();
        let tls = tls::server(&self.sign("server.key"), &key, &self.pem).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        pandaemon_runtime::spawn("server", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stream = acceptor.accept(stream).await.unwrap();
                let client = stream.get_ref().1.peer_certificates().unwrap();
                let client = digest(&client[0]);
                let answer = service_fn(move |_request: http::Request<Incoming>| {
                    let body = Full::new(Bytes::from(client.clone()));
                    async { Ok::<_, std::convert::Infallible>(Response::new(body)) }
                });
                let serve = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer);
                pandaemon_runtime::spawn("connection", serve);
            }
        });
        address
    }

    fn digest_on_disk(&self, name: &str) -> String {
        digest(&tls::first_certificate(&self.identity.read(name).unwrap()).unwrap())
    }
}

/// An address at which nothing listens.
const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 1);

fn keep_valid(certificates: &Arc<Certificates>) -> Shutdown {
    let shutdown = Shutdown::default();
    let events = EventRecorder::start_on(
        certificates.client(),
        "kubelet",
        "n1".to_owned(),
        shutdown.clone(),
    );
    let (keep, stop) = (
        Arc::clone(certificates).keep_valid(events),
        shutdown.clone(),
    );
    pandaemon_runtime::spawn("keep", async move { stop.guard(keep).await });
    shutdown
}

/// The digest of the certificate that the API server sees.
async fn client_certificate(certificates: &Certificates) -> String {
    let request = http::Request::get("/").body(Vec::new()).unwrap();
    certificates.client().request_text(request).await.unwrap()
}

/// The digest of the certificate that clients of the kubelet server see.
async fn serving_certificate(certificates: &Certificates) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let config = certificates.serving().borrow().clone().unwrap();
    let accept = async {
        let (stream, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(config).accept(stream).await
    };
    let (accepted, stream) = tokio::join!(accept, tls::unverified(stream, "127.0.0.1"));
    accepted.unwrap();
    digest(&stream.unwrap().get_ref().1.peer_certificates().unwrap()[0])
}

#[tokio::test]
async fn certificates_are_renewed_while_they_are_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::new(dir.path());
    let certificates = ca.certificates("n1", ca.serve().await);
    let request = http::Request::get("/").body(Body::empty()).unwrap();
    let error = certificates.client().send(request).await.unwrap_err();
    assert!(error.to_string().contains("no credentials"), "{error}");
    certificates.obtain().await.unwrap();
    certificates.obtain().await.unwrap();
    assert_eq!(*ca.requests.borrow(), 1, "valid ones are used");

    let first = [
        ca.digest_on_disk("client.crt"),
        ca.digest_on_disk("serving.crt"),
    ];
    assert_eq!(client_certificate(&certificates).await, first[0]);
    assert_eq!(serving_certificate(&certificates).await, first[1]);
    let stop = keep_valid(&certificates);
    ca.advance(20 * DAY - 3600);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        *ca.requests.borrow(),
        1,
        "not before two thirds of the lifetime"
    );
    ca.answer(&[Answer::Fail, Answer::Issue]);
    ca.advance(3 * DAY + 7200);
    ca.requested(2).await;
    ca.advance(20);
    ca.requested(3).await;

    let second = [
        ca.digest_on_disk("client.crt"),
        ca.digest_on_disk("serving.crt"),
    ];
    assert_ne!(first, second);
    assert_eq!(client_certificate(&certificates).await, second[0]);
    assert_eq!(serving_certificate(&certificates).await, second[1]);
    stop.trigger();
}

#[tokio::test]
async fn a_refusal_stops_no_node_that_has_certificates_however_old() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::new(dir.path());
    ca.certificates("n1", NOWHERE.into())
        .obtain()
        .await
        .unwrap();
    ca.advance(31 * DAY);
    let certificates = ca.certificates("n1", NOWHERE.into());
    assert!(
        certificates.serving().borrow().is_some(),
        "the old ones are in use"
    );
    ca.answer(&[Answer::Refuse]);
    let refused = certificates.obtain().await.unwrap_err();
    assert_eq!(refused.to_string(), "the token is wrong");

    ca.answer(&[Answer::Refuse, Answer::Issue]);
    let old = ca.digest_on_disk("client.crt");
    let stop = keep_valid(&certificates);
    ca.requested(3).await;
    ca.advance(299);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        *ca.requests.borrow(),
        3,
        "a server that refuses is asked seldom"
    );
    ca.advance(1);
    ca.requested(4).await;
    assert_ne!(ca.digest_on_disk("client.crt"), old);
    // A clock that is far ahead makes no loop of renewals.
    ca.advance(599);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*ca.requests.borrow(), 4);
    stop.trigger();
}

#[tokio::test]
async fn only_certificates_of_this_node_are_used() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::new(dir.path());
    ca.certificates("n1", NOWHERE.into())
        .obtain()
        .await
        .unwrap();
    let other = ca.certificates("n2", NOWHERE.into());
    assert!(other.serving().borrow().is_none());
    other.obtain().await.unwrap();
    assert_eq!(*ca.requests.borrow(), 2);
    ca.identity.write("client.crt", "damaged").unwrap();
    let again = ca.certificates("n2", NOWHERE.into());
    assert!(again.serving().borrow().is_none());
    again.obtain().await.unwrap();
    assert_eq!(*ca.requests.borrow(), 3);
}

#[tokio::test]
async fn only_a_node_without_pods_joins_again_after_its_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::new(dir.path());
    let certificates = ca.certificates("n1", NOWHERE.into());
    certificates.obtain().await.unwrap();
    ca.advance(31 * DAY);
    // Pods run: the old certificate stays, by which the server tells that they are to end.
    ca.answer(&[Answer::NodeDeleted]);
    let stop = keep_valid(&certificates);
    ca.requested(2).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(ca.identity.read("client.crt").is_ok());
    assert_eq!(*ca.requests.borrow(), 2);
    stop.trigger();
    ca.answer(&[Answer::NodeDeleted, Answer::Refuse]);
    certificates.obtain().await.unwrap_err();
    assert!(
        ca.identity.read("client.crt").is_err(),
        "only the token is left"
    );
}
