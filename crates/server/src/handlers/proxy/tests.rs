//! Agents that are not there, are something else, or stop.

use std::net::{Ipv4Addr, TcpListener as StdListener};

use nix::sys::socket::{getsockopt, sockopt};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{RootCertStore, ServerConfig, crypto::ring};
use rustls_pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::*;

/// A CA of agents.
struct Ca {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            certificate: params.self_signed(&key).unwrap(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A client of agents with certificates of this CA.
    fn agents(&self, allow_loopback: bool) -> Agents {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Agents::new(Arc::new(config), allow_loopback)
    }

    /// TLS of the agent of this node.
    fn agent(&self, node: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![node.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn agent(host: &str, port: impl Into<i64>) -> Agent {
    Agent {
        node: "n1".to_owned(),
        host: host.to_owned(),
        port: port.into(),
    }
}

/// What happens to connections of a listener; returns its address as that of the node n1.
async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Agent
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    pandaemon_runtime::spawn("listener", async move {
        while let Ok((stream, _)) = listener.accept().await {
            pandaemon_runtime::spawn("connection", serve(stream));
        }
    });
    agent("127.0.0.1", port)
}

/// The agent of n1. It reads the head of a request, and goes on with this.
async fn serve<F>(
    ca: &Ca,
    answer: impl Fn(TlsStream<TcpStream>) -> F + Send + Sync + 'static,
) -> Agent
where
    F: Future<Output = ()> + Send + 'static,
{
    let (tls, answer) = (ca.agent("n1"), Arc::new(answer));
    listen(move |stream| {
        let (tls, answer) = (tls.clone(), Arc::clone(&answer));
        async move {
            let mut stream = tls.accept(stream).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            answer(stream).await;
        }
    })
    .await
}

/// That the request fails with the answer for an agent that does not answer, after this time.
async fn is_unreachable(agents: &Agents, agent: &Agent, after: Duration) {
    let begin = Instant::now();
    let failed = agents.get(agent, "/healthz", false).await.unwrap_err();
    assert_eq!(begin.elapsed(), after, "{agent}");
    assert_eq!(failed.code, 502, "{agent}");
    let (address, rest) = failed.message.split_once(" does not answer: ").unwrap();
    assert_eq!(address, format!("the agent of {agent}"));
    assert_eq!(
        rest,
        "check that it runs and that the API server can reach it; the log of the API server says more"
    );
}

#[tokio::test(start_paused = true)]
async fn whatever_is_at_an_address_the_answer_and_its_moment_are_the_same() {
    let (ca, other_ca) = (Ca::new(), Ca::new());
    let agents = ca.agents(true);
    let closed = StdListener::bind("127.0.0.1:0").unwrap();
    let closed = closed.local_addr().unwrap().port();
    let silent = listen(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    });
    let closes = listen(|stream| async move { drop(stream) });
    let plain = listen(|mut stream| async move {
        let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 6\r\n\r\nsecret";
        let _closed = stream.write_all(answer).await;
    });
    let with = |tls: TlsAcceptor| {
        listen(move |stream| {
            let accept = tls.accept(stream);
            async move {
                let _refused = accept.await;
            }
        })
    };
    let other_node = with(ca.agent("n2"));
    let stranger = with(other_ca.agent("n1"));
    for agent in [
        agent("127.0.0.1", closed),
        silent.await,
        closes.await,
        plain.await,
        other_node.await,
        stranger.await,
        agent("169.254.169.254", 80),
        agent("fe80::1", 80),
        agent("..", 80),
        agent("127.0.0.1", 0),
        agent("127.0.0.1", 70_000),
        agent("127.0.0.1", -1),
    ] {
        is_unreachable(&agents, &agent, CONNECT).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_node_is_not_dialed() {
    let listener = StdListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let ca = Ca::new();
    let strict = ca.agents(false);
    for host in [
        "127.0.0.1",
        "::ffff:127.0.0.1",
        "localhost",
        // As the resolver reads it.
        "2130706433",
        "0x7f.1",
        "0.0.0.0",
        "0",
    ] {
        is_unreachable(&strict, &agent(host, port), CONNECT).await;
        assert!(listener.accept().is_err(), "{host}");
    }
    let lenient = ca.agents(true);
    is_unreachable(&lenient, &agent("127.0.0.1", port), CONNECT).await;
    assert!(listener.accept().is_ok());
    lenient.server_is_at(listener.local_addr().unwrap());
    for host in ["127.0.0.1", "127.8.8.8", "::ffff:127.0.0.1", "localhost"] {
        is_unreachable(&lenient, &agent(host, port), CONNECT).await;
        assert!(listener.accept().is_err(), "{host}");
    }
}

#[tokio::test]
async fn an_agent_that_does_not_respond_is_given_up() {
    let ca = Ca::new();
    let frozen = serve(&ca, |stream| async move {
        tokio::time::pause();
        std::future::pending::<()>().await;
        drop(stream);
    });
    let (agents, frozen) = (ca.agents(true), frozen.await);
    let begin = Instant::now();
    let failed = agents.get(&frozen, "/healthz", false).await.unwrap_err();
    let after = begin.elapsed();
    assert!((HEAD..=HEAD + CONNECT).contains(&after), "{after:?}");
    assert_eq!(failed.message, frozen.unreachable().message);
}

/// An agent that sends a part of a response, and the rest when it is told to.
async fn slow_agent(ca: &Ca) -> (Agent, Arc<Notify>) {
    let go_on = Arc::new(Notify::new());
    let told = Arc::clone(&go_on);
    let slow = serve(ca, move |mut stream| {
        let told = Arc::clone(&told);
        async move {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npart";
            stream.write_all(head).await.unwrap();
            told.notified().await;
            let _closed = stream.write_all(b"rest").await;
            let _closed = stream.flush().await;
            std::future::pending::<()>().await;
        }
    });
    (slow.await, go_on)
}

async fn part(response: &mut Response<Body>) -> Result<String, String> {
    let frame = response.body_mut().frame().await.unwrap();
    let data = frame.map_err(|error| error.to_string())?;
    Ok(String::from_utf8(data.into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn an_agent_that_stops_in_the_middle_of_a_response_is_given_up() {
    let ca = Ca::new();
    let (slow, _go_on) = slow_agent(&ca).await;
    let agents = ca.agents(true);
    let mut log = agents.get(&slow, "/containerLogs", false).await.unwrap();
    assert_eq!(part(&mut log).await.unwrap(), "part");
    tokio::time::pause();
    let begin = Instant::now();
    let failed = part(&mut log).await.unwrap_err();
    assert_eq!(begin.elapsed().as_secs(), BODY_IDLE.as_secs());
    assert_eq!(
        failed,
        "the agent has stopped in the middle of its response"
    );
}

#[tokio::test]
async fn a_log_that_is_followed_may_be_silent_and_a_client_may_read_slowly() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let ca = Ca::new();
    let agents = ca.agents(true);
    let (slow, go_on) = slow_agent(&ca).await;
    let mut log = agents.get(&slow, "/containerLogs", true).await.unwrap();
    assert_eq!(part(&mut log).await.unwrap(), "part");
    tokio::time::pause();
    let silent = timeout(DAY, part(&mut log)).await;
    assert!(silent.is_err(), "{silent:?}");
    tokio::time::resume();
    go_on.notify_one();
    assert_eq!(part(&mut log).await.unwrap(), "rest");

    let mut log = agents.get(&slow, "/containerLogs", false).await.unwrap();
    assert_eq!(part(&mut log).await.unwrap(), "part");
    go_on.notify_one();
    tokio::time::pause();
    tokio::time::advance(DAY).await;
    tokio::time::resume();
    assert_eq!(part(&mut log).await.unwrap(), "rest");
}

#[tokio::test]
async fn the_connection_to_an_agent_ends_with_the_request() {
    let ca = Ca::new();
    let (begun, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let told = (Arc::clone(&begun), Arc::clone(&ended));
    let agent = serve(&ca, move |mut stream| {
        let (begun, ended) = told.clone();
        async move {
            begun.notify_one();
            let mut rest = Vec::new();
            let _closed = stream.read_to_end(&mut rest).await;
            ended.notify_one();
        }
    });
    let (agents, agent) = (ca.agents(true), agent.await);
    let headers = [(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"))];
    tokio::select! {
        answer = agents.send(&agent, (Method::POST, "/exec"), &headers) => panic!("{answer:?}"),
        () = begun.notified() => (),
    }
    ended.notified().await;
}

#[tokio::test]
async fn the_kernel_asks_a_silent_agent_whether_it_is_there_and_lets_it_not_read() {
    let silent = listen(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    });
    let stream = Dialer::new(true).dial(&silent.await).await.unwrap();
    assert!(getsockopt(&stream, sockopt::KeepAlive).unwrap());
    let seconds = |value: u32| Duration::from_secs(value.into());
    let idle = seconds(getsockopt(&stream, sockopt::TcpKeepIdle).unwrap());
    let interval = seconds(getsockopt(&stream, sockopt::TcpKeepInterval).unwrap());
    let probes = getsockopt(&stream, sockopt::TcpKeepCount).unwrap();
    assert!(idle + interval * probes <= Duration::from_secs(30));
    assert_eq!(getsockopt(&stream, sockopt::TcpUserTimeout).unwrap(), 0);
}

#[test]
fn all_offered_stream_versions_are_proxied_and_no_credentials() {
    let mut headers = HeaderMap::new();
    let mut add = |name: &'static str, value| {
        headers.append(name, HeaderValue::from_static(value));
    };
    add("connection", "Upgrade");
    add("upgrade", "SPDY/3.1");
    add("x-stream-protocol-version", "v4.channel.k8s.io");
    add("x-stream-protocol-version", "channel.k8s.io");
    add("authorization", "Bearer secret");
    let passed = upgrade_headers(&headers);
    let passed: Vec<_> = passed.iter().map(|(_, v)| v.to_str().unwrap()).collect();
    let wanted = ["Upgrade", "SPDY/3.1", "v4.channel.k8s.io", "channel.k8s.io"];
    assert_eq!(passed, wanted);
}

#[test]
fn agent_addresses_are_read_from_the_node() {
    let node = json!({"metadata": {"name": "n"}, "status": {
        "addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 1234}}}});
    let shown = |node| Agent::of(node).unwrap().to_string();
    assert_eq!(shown(&node), "node n at 10.0.0.1:1234");
    let v6 = json!({"metadata": {"name": "n"}, "status": {"addresses": [{"type": "InternalIP", "address": "fd00::1"}]}});
    assert_eq!(shown(&v6), "node n at [fd00::1]:10250");
    let none = json!({"metadata": {"name": "n"}});
    assert_eq!(Agent::of(&none).unwrap_err().code, 500);
}
