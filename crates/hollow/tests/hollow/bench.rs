//! A whole run of the benchmark against a control plane in this process.

use clap::Parser;
use pandaemon_controllers::Options;
use pandaemon_hollow::BenchArgs;
use pandaemon_runtime::spawn;
use serde_json::{Value, json};

use crate::cluster::World;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    bench: BenchArgs,
}

fn args(words: &[&str]) -> BenchArgs {
    let words = ["bench"].iter().chain(words);
    Line::parse_from(words).bench
}

fn start_controllers(world: &World) {
    let options = Options {
        ca_pem: "PEM".to_owned(),
        embedded: true,
        ..Options::default()
    };
    let loops = pandaemon_controllers::run(world.client(), options, world.shutdown().child());
    spawn("controllers", loops);
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().into_iter().flatten();
    items
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect()
}

async fn nothing_is_left(world: &World) {
    assert_eq!(world.get("/api/v1/nodes").await["items"], json!([]));
    assert_eq!(world.get("/api/v1/pods").await["items"], json!([]));
    let namespaces = world.get("/api/v1/namespaces").await;
    let ours = names(&namespaces);
    assert!(!ours.iter().any(|name| name.contains("bench")), "{ours:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_through_all_phases_and_leaves_nothing() {
    let world = World::new().await;
    start_controllers(&world);
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
    let result = pandaemon_hollow::bench(world.client(), args(&words), world.shutdown().child());
    result.await.unwrap();
    nothing_is_left(&world).await;
    world.shutdown().trigger();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_run_cleans_up() {
    let world = World::new().await;
    start_controllers(&world);
    let stop = world.shutdown().child();
    // Pods that never get ready: the roll-out waits for ever.
    let words = ["--nodes", "5", "--failure-rate", "1"];
    let running = spawn(
        "bench",
        pandaemon_hollow::bench(world.client(), args(&words), stop.clone()),
    );
    world
        .until("/api/v1/pods", |pods| names(pods).len() == 5)
        .await;
    stop.trigger();
    let error = running.await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "interrupted");
    nothing_is_left(&world).await;
    world.shutdown().trigger();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phase_that_takes_too_long_says_how_far_it_came() {
    let world = World::new().await;
    start_controllers(&world);
    let words = ["--nodes", "3", "--failure-rate", "1", "--timeout", "4s"];
    let result = pandaemon_hollow::bench(world.client(), args(&words), world.shutdown().child());
    let error = result.await.unwrap_err().to_string();
    let expected = "roll-out: not done after 4s (--timeout): 3 pods exist; the DaemonSet wants 3, \
                    has 3 of the newest template, 0 available";
    assert_eq!(error, expected);
    nothing_is_left(&world).await;
    world.shutdown().trigger();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_refuses_nodes_that_exist_already() {
    let world = World::new().await;
    start_controllers(&world);
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "hollow-0"}});
    world.post("/api/v1/nodes", &node).await;
    let result = pandaemon_hollow::bench(
        world.client(),
        args(&["--nodes", "1"]),
        world.shutdown().child(),
    );
    let error = result.await.unwrap_err().to_string();
    assert!(
        error.starts_with("the node hollow-0 exists already"),
        "{error}"
    );
    assert_eq!(names(&world.get("/api/v1/nodes").await), ["hollow-0"]);
    world.shutdown().trigger();
}
