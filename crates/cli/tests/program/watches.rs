//! Ten thousand open watches on one server: their memory, the delay of events, and their end.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Incoming, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::PostParams, client::ConfigExt as _};
use serde_json::json;
use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::TlsConnector;

use pandaemon_testkit::{ServerProcess, server_process::resident_kibibytes};

use crate::process::{client, config, start_server};

const CONNECTIONS: usize = 20;
const WATCHES: usize = 10_000;
/// Most bytes of server memory for one watch; the test prints the measured value.
const WATCH_BYTES_MAX: usize = 24 << 10;

/// Opens an HTTP/2 connection, as an agent does.
async fn connect(config: &kube::Config) -> SendRequest<Empty<Bytes>> {
    let mut tls = config.rustls_client_config().unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let address = config.cluster_url.authority().unwrap().as_str();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(tls))
        .connect(name, stream)
        .await
        .unwrap();
    let connected =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = connected.await.unwrap();
    pandaemon_runtime::spawn("client", connection);
    sender
}

/// Opens a watch of the pods of one node, as its agent does.
async fn watch(sender: &mut SendRequest<Empty<Bytes>>, url: &str, node: usize) -> Incoming {
    let query = format!("watch=true&fieldSelector=spec.nodeName%3Dn{node}&timeoutSeconds=3000");
    let request = Request::get(format!("{url}api/v1/pods?{query}")).body(Empty::new());
    let answer = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.into_body()
}

async fn open(server: &ServerProcess) -> Vec<Incoming> {
    let config = config(server).await;
    let url = config.cluster_url.to_string();
    let mut watches = Vec::new();
    for at in 0..CONNECTIONS {
        let mut sender = connect(&config).await;
        for node in (at..WATCHES).step_by(CONNECTIONS) {
            watches.push((node, watch(&mut sender, &url, node).await));
        }
    }
    watches.sort_by_key(|(node, _)| *node);
    watches.into_iter().map(|(_, body)| body).collect()
}

fn pod(name: &str, node: usize) -> Pod {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"nodeName": format!("n{node}"), "containers": [{"name": "c", "image": "i"}]}});
    serde_json::from_value(pod).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_watches_are_small_prompt_and_closed_on_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start_server(folder.path());
    let pods = Api::<Pod>::namespaced(client(&server).await, "default");
    // Pods are refused until the controller has created the default service account.
    let (first, since) = (pod("first", WATCHES), Instant::now());
    while let Err(error) = pods.create(&PostParams::default(), &first).await {
        assert!(since.elapsed() < Duration::from_secs(30), "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let memory = || usize::try_from(resident_kibibytes(server.pid()).unwrap()).unwrap();
    let (idle, since) = (memory(), Instant::now());
    let mut watches = open(&server).await;
    let opened = since.elapsed();
    let each = (memory().saturating_sub(idle) << 10) / WATCHES;
    assert!(each < WATCH_BYTES_MAX, "{each} bytes for a watch");
    let mut slowest = Duration::ZERO;
    for at in 0..20 {
        let (node, name, since) = (at * 499, format!("p{at}"), Instant::now());
        pods.create(&PostParams::default(), &pod(&name, node))
            .await
            .unwrap();
        let frame = tokio::time::timeout(Duration::from_secs(10), watches[node].frame()).await;
        slowest = slowest.max(since.elapsed());
        let line = frame
            .expect("an event in time")
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap();
        let line = String::from_utf8(line.to_vec()).unwrap();
        assert!(line.contains(&format!("\"name\":\"{name}\"")), "{line}");
        assert_eq!(
            line.lines().count(),
            1,
            "a watch gets events of its node only"
        );
    }
    assert!(
        slowest < Duration::from_secs(2),
        "an event took {slowest:?}"
    );
    let since = Instant::now();
    let stopped = tokio::task::spawn_blocking(move || server.stop());
    for watch in watches {
        let rest = tokio::time::timeout(Duration::from_secs(20), watch.collect()).await;
        // The stream must end, not break.
        rest.expect("an end in time").expect("a clean end");
    }
    assert_eq!(stopped.await.unwrap().unwrap().code(), Some(0));
    println!(
        "{WATCHES} watches: opened in {opened:.1?}, {each} bytes each, slowest event {slowest:.1?}, ended in {:.1?}",
        since.elapsed()
    );
}
