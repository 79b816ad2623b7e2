//! Memory and processor time of hollow nodes with one pod each, against a server that answers at
//! once. `cargo bench -p pandaemon-hollow -- 100000`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement for a person"
)]

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use clap::Parser;
use futures::{Stream, StreamExt as _, stream};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::{Client, client::Body};
use pandaemon_hollow::HollowArgs;
use pandaemon_runtime::Shutdown;
use serde_json::json;
use tokio::sync::Semaphore;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    hollow: HollowArgs,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Counts the status writes that have arrived.
type Started = Arc<Semaphore>;

fn answer(request: &Request<Body>, count: u32, started: &Started) -> Answer {
    let (path, query) = (
        request.uri().path(),
        request.uri().query().unwrap_or_default(),
    );
    if query.contains("watch=true") {
        let count = if path.ends_with("pods") { count } else { 0 };
        let events = stream::iter(0..count)
            .map(added)
            .chain(stream::iter([list_end()]));
        return Response::new(StreamBody::new(events.chain(never())).boxed_unsync());
    }
    if path.ends_with("/status") && path.contains("/pods/") {
        started.add_permits(1);
    }
    let object = match *request.method() {
        Method::GET => json!({"metadata": {"resourceVersion": "1"}, "items": []}),
        _ => json!({"metadata": {"uid": uid(0)}}),
    };
    Response::new(Full::from(object.to_string()).boxed_unsync())
}

fn never() -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
    stream::pending()
}

fn uid(index: u32) -> String {
    format!("4f0c5d3e-0000-4000-8000-{index:012}")
}

fn added(index: u32) -> Result<Frame<Bytes>, Infallible> {
    let padding = "x".repeat(1500);
    let event = json!({"type": "ADDED", "object": {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("d-{index}"), "namespace": "default", "uid": uid(index),
                     "resourceVersion": "2", "annotations": {"padding": padding}},
        "spec": {"nodeName": format!("hollow-{index}"),
                 "containers": [{"name": "c", "image": "img:1"}]},
    }});
    Ok(Frame::data(Bytes::from(format!("{event}\n"))))
}

/// The bookmark that ends a streamed list.
fn list_end() -> Result<Frame<Bytes>, Infallible> {
    let metadata = json!({"resourceVersion": "2",
        "annotations": {"k8s.io/initial-events-end": "true"}});
    let event = json!({"type": "BOOKMARK", "object": {"metadata": metadata}});
    Ok(Frame::data(Bytes::from(format!("{event}\n"))))
}

fn proc(file: &str, field: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: u32 = fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap();
    f64::from(ticks) / 100.0
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let count: u32 = std::env::args()
        .find_map(|word| word.parse().ok())
        .unwrap_or(10_000);
    let started = Started::new(Semaphore::new(0));
    let service = {
        let started = Arc::clone(&started);
        tower::service_fn(move |request: Request<Body>| {
            let answer = answer(&request, count, &started);
            async move { Ok::<_, Infallible>(answer) }
        })
    };
    let client = Client::new(service, "default");
    let before = proc("/proc/self/status", "VmRSS:");
    let args = ["hollow", "--lease-interval", "10s", "--count"].map(str::to_owned);
    let args = Line::parse_from(args.into_iter().chain([count.to_string()])).hollow;
    let shutdown = Shutdown::default();
    let hollow = pandaemon_runtime::spawn(
        "hollow",
        pandaemon_hollow::run(client, args, shutdown.clone()),
    );
    drop(started.acquire_many(count).await.unwrap());
    let all = cpu_seconds();
    println!("{count} nodes registered and {count} pods started with {all:.1} s of processor time");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let renewals = cpu_seconds() - all;
    println!("{:.3} processors for the leases", renewals / 10.0);
    let resident = proc("/proc/self/status", "VmRSS:") - before;
    println!(
        "{} MB resident, {} bytes a node",
        resident / 1024,
        resident * 1024 / u64::from(count)
    );
    shutdown.trigger();
    hollow.await.unwrap().unwrap().unwrap();
}
