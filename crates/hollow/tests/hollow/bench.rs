//! A whole run of the benchmark against a control plane in this process.

use clap::Parser;
use pandaemon_controllers::Options;
use pandaemon_hollow::BenchArgs;
use pandaemon_runtime::spawn;
use pandaemon_testkit::Server;
use serde_json::{Value, json};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    bench: BenchArgs,
}

fn args(words: &[&str]) -> BenchArgs {
    let words = ["bench"].iter().chain(words);
    Line::parse_from(words).bench
}

/// Runs the benchmark and returns what it writes.
async fn run(server: &Server, words: &[&str]) -> anyhow::Result<String> {
    let (mut out, stop) = (Vec::new(), server.shutdown().child());
    pandaemon_hollow::bench(server.client(), args(words), stop, &mut out).await?;
    Ok(String::from_utf8(out)?)
}

fn start_controllers(server: &Server) {
    let options = Options {
        ca_pem: "PEM".to_owned(),
        signer: None,
        embedded: true,
        ..Options::default()
    };
    let loops = pandaemon_controllers::run(server.client(), options, server.shutdown().child());
    spawn("controllers", loops);
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().into_iter().flatten();
    items
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect()
}

async fn nothing_is_left(server: &Server) {
    assert_eq!(server.get("/api/v1/nodes").await["items"], json!([]));
    assert_eq!(server.get("/api/v1/pods").await["items"], json!([]));
    let namespaces = server.get("/api/v1/namespaces").await;
    let ours = names(&namespaces);
    assert!(!ours.iter().any(|name| name.contains("bench")), "{ours:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_through_all_phases_and_leaves_nothing() {
    let server = Server::start().await;
    start_controllers(&server);
    let pid = std::process::id().to_string();
    let words = [
        "--nodes",
        "20",
        "--joins",
        "3",
        "--json",
        "--roll",
        "5",
        "--ceiling",
        "--ceiling-span",
        "50ms",
        "--pid",
        &pid,
    ];
    let report = run(&server, &words).await.unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let phases = report["phases"].as_array().unwrap();
    let phases: Vec<&str> = phases.iter().map(|p| p["name"].as_str().unwrap()).collect();
    let expected = [
        "nodes",
        "ceiling",
        "roll-out",
        "joins",
        "rolling update",
        "roll back",
        "deletion",
    ];
    assert_eq!(phases, expected);
    let results = report["results"].as_object().unwrap();
    let zero: Vec<_> = results
        .iter()
        .filter(|(_, value)| **value == json!(0.0))
        .collect();
    assert!(results.len() == 13 && zero.is_empty(), "{results:#?}");
    assert_eq!(results["joinMilliseconds"]["count"], 3);
    assert_eq!(report["processes"][0]["pid"].to_string(), pid);
    nothing_is_left(&server).await;
    server.shutdown().trigger();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_run_cleans_up() {
    let server = Server::start().await;
    start_controllers(&server);
    let stop = server.shutdown().child();
    // Pods that never get ready: the roll-out waits for ever.
    let words = ["--nodes", "5", "--failure-rate", "1"];
    let (client, args, interrupt) = (server.client(), args(&words), stop.clone());
    let running = spawn("bench", async move {
        pandaemon_hollow::bench(client, args, interrupt, &mut Vec::new()).await
    });
    server
        .until("/api/v1/pods", |pods| names(pods).len() == 5)
        .await;
    stop.trigger();
    let error = running.await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "interrupted");
    nothing_is_left(&server).await;
    server.shutdown().trigger();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phase_that_takes_too_long_says_how_far_it_came() {
    let server = Server::start().await;
    start_controllers(&server);
    let words = ["--nodes", "3", "--failure-rate", "1", "--timeout", "4s"];
    let error = run(&server, &words).await.unwrap_err().to_string();
    let expected = "roll-out: not done after 4s (--timeout): 3 pods exist; the DaemonSet wants 3, \
                    has 3 of the newest template, 0 available";
    assert_eq!(error, expected);
    nothing_is_left(&server).await;
    server.shutdown().trigger();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_refuses_nodes_that_exist_already() {
    let server = Server::start().await;
    start_controllers(&server);
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "hollow-0"}});
    server.create("/api/v1/nodes", node).await;
    let error = run(&server, &["--nodes", "1"]).await.unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with("the node hollow-0 exists already"),
        "{error}"
    );
    assert_eq!(names(&server.get("/api/v1/nodes").await), ["hollow-0"]);
    server.shutdown().trigger();
}
