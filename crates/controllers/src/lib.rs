//! The controllers: loops that watch the Kubernetes API, decide with pure functions, and act through the same API.
//!
//! Each loop is three steps in three places: *observe* (a projection and a small state), *plan* (a pure function in a
//! module of its own, tested as a table), *act* (requests). No loop knows of another, and none holds truth: all of
//! them can be stopped at any moment and start again from a list.
//!
//! What every loop is made of is in [`pandaemon_client`]: list-watch, informer, work queue, event recorder, requests.
//!
//! [`standalone`] is the DaemonSet controller for clusters of others: [`election`], [`rate`], [`telemetry`].

pub mod binder;
pub mod daemonset;
pub mod defaults;
pub mod election;
pub mod endpoints;
pub mod garbagecollector;
pub mod namespace;
pub mod nodelifecycle;
pub mod rate;
pub mod selection;
pub mod standalone;
pub mod telemetry;
pub mod views;

use std::collections::BTreeSet;

use futures::future::{BoxFuture, FutureExt as _, join_all};
use kube::Client;
use pandaemon_client::{rest::Rest, supervise::supervise};
use pandaemon_runtime::Shutdown;

pub use nodelifecycle::Timing;
pub use selection::{Selection, UnknownLoop};
use views::Shared;

/// What runs, and with what.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which loops.
    pub controllers: Selection,
    /// The certificate that the loop `rootca` publishes.
    pub ca_pem: String,
    /// Whether the server is ours: daemon pods may then be created with their node set.
    pub embedded: bool,
}

/// Runs the chosen loops until a stop is asked for. A loop that fails or panics starts again, alone.
///
/// # Errors
/// None now; a later one may need leader election.
pub async fn run(client: Client, options: Options, stop: Shutdown) -> anyhow::Result<()> {
    run_timed(client, options, Timing::default(), stop).await
}

/// [`run`] with a node life cycle of another patience.
///
/// # Errors
/// As [`run`].
pub async fn run_timed(
    client: Client,
    options: Options,
    timing: Timing,
    stop: Shutdown,
) -> anyhow::Result<()> {
    let shared = Shared::start(&client, &stop);
    let loops = options.controllers.iter().map(|name| {
        let (client, shared, options) = (client.clone(), shared.clone(), options.clone());
        let start = move |stop| {
            let world = World {
                client: client.clone(),
                shared: shared.clone(),
                timing,
            };
            start(name, world, &options, stop)
        };
        supervise(name, stop.clone(), start)
    });
    join_all(loops).await;
    Ok(())
}

/// The names of the nodes that are ready.
///
/// # Errors
/// When the server cannot be reached.
pub async fn ready_nodes(client: &Client) -> kube::Result<BTreeSet<String>> {
    #[derive(serde::Deserialize)]
    struct List {
        items: Vec<views::Node>,
    }
    let nodes: Option<List> = Rest::new(client.clone()).get("/api/v1/nodes").await?;
    let nodes = nodes.map(|list| list.items).unwrap_or_default();
    Ok(nodes
        .into_iter()
        .filter(views::Node::is_ready)
        .map(|node| node.meta.name)
        .collect())
}

/// What every loop may use.
struct World {
    client: Client,
    shared: Shared,
    timing: Timing,
}

fn start(
    name: &'static str,
    world: World,
    options: &Options,
    stop: Shutdown,
) -> BoxFuture<'static, anyhow::Result<()>> {
    let World {
        client,
        shared,
        timing,
    } = world;
    match name {
        "namespace" => namespace::run(client, stop).boxed(),
        "serviceaccount" => defaults::run_accounts(client, stop).boxed(),
        "rootca" => defaults::run_root_ca(client, options.ca_pem.clone(), stop).boxed(),
        "nodelifecycle" => nodelifecycle::run(client, shared, timing, stop).boxed(),
        "daemonset" => {
            daemonset::run(daemonset::Setup::new(client, options.embedded), stop).boxed()
        }
        "binder" => binder::run(client, shared, stop).boxed(),
        "endpoints" => endpoints::run(client, shared, stop).boxed(),
        "endpointslice" => endpoints::run_slices(client, shared, stop).boxed(),
        // The last of `selection::LOOPS`, which is the only source of names.
        _ => garbagecollector::run(client, shared, stop).boxed(),
    }
}
