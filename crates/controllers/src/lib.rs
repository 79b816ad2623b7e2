//! The controllers: loops that watch the Kubernetes API, decide with pure functions, and act
//! through the same API.
//!
//! Each controller has three steps in separate files: *observe* (events into a small state), *plan*
//! (pure functions, tested as tables), *act* (requests). No controller calls another. All of their
//! state comes from lists and watches, so each can be stopped at any moment and started again.
//!
//! The list-watch, informers, work queues, event recorder and requests are in [`pandaemon_client`].
//!
//! [`standalone`] is the DaemonSet controller for other Kubernetes clusters, with
//! [`leader_election`], [`flow_control`] and [`metrics`].

pub mod certificates;
pub mod daemonset;
pub mod endpoints;
pub mod flow_control;
pub mod garbage_collector;
pub mod leader_election;
pub mod metrics;
pub mod namespace;
pub mod namespace_defaults;
pub mod node_lifecycle;
pub mod scheduler;
pub mod standalone;
pub mod views;

mod enabled_controllers;
#[cfg(test)]
mod fake_server;

use std::{collections::BTreeSet, sync::Arc};

use futures::future::{BoxFuture, FutureExt as _, join_all};
use kube::Client;
use pandaemon_certificates::CertificateSigner;
use pandaemon_client::{rest::Rest, supervise::supervise};
use pandaemon_runtime::Shutdown;

pub use enabled_controllers::{CONTROLLER_NAMES, EnabledControllers, UnknownController};
use namespace_defaults::{root_ca_publisher, service_account};
pub use node_lifecycle::timing::Timing as NodeLifecycleTiming;
use scheduler::shared_cache::SharedCache;
use views::SharedInformers;

/// Which controllers run, and what they need.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The controllers that run.
    pub controllers: EnabledControllers,
    /// The CA certificate that the controller `rootca` publishes, as PEM.
    pub ca_pem: String,
    /// Who signs certificates; without it the controller `csrsigning` does not run.
    pub signer: Option<Arc<dyn CertificateSigner>>,
    /// Whether the API server is in this process. Daemon pods are then created with their node set.
    pub embedded: bool,
}

/// Runs the enabled controllers until a stop is asked for. A controller that fails or panics is
/// started again; the others go on.
///
/// # Errors
/// None today.
pub async fn run(client: Client, options: Options, stop: Shutdown) -> anyhow::Result<()> {
    run_with_timing(client, options, NodeLifecycleTiming::default(), stop).await
}

/// As [`run`], with other delays of the node lifecycle controller.
///
/// # Errors
/// As [`run`].
pub async fn run_with_timing(
    client: Client,
    options: Options,
    timing: NodeLifecycleTiming,
    stop: Shutdown,
) -> anyhow::Result<()> {
    let shared = SharedInformers::start(&client, &stop);
    let cache = SharedCache::default();
    let controllers = options.controllers.iter().map(|name| {
        let (client, shared, options) = (client.clone(), shared.clone(), options.clone());
        let cache = cache.clone();
        let start = move |stop| {
            let context = Context {
                client: client.clone(),
                shared: shared.clone(),
                cache: cache.clone(),
                timing,
            };
            start(name, context, &options, stop)
        };
        supervise(name, stop.clone(), start)
    });
    join_all(controllers).await;
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

/// What every controller may use.
struct Context {
    client: Client,
    shared: SharedInformers,
    cache: SharedCache,
    timing: NodeLifecycleTiming,
}

fn start(
    name: &'static str,
    context: Context,
    options: &Options,
    stop: Shutdown,
) -> BoxFuture<'static, anyhow::Result<()>> {
    let Context {
        client,
        shared,
        cache,
        timing,
    } = context;
    match name {
        "namespace" => namespace::run(client, stop).boxed(),
        "serviceaccount" => service_account::run(client, stop).boxed(),
        "rootca" => root_ca_publisher::run(client, options.ca_pem.clone(), stop).boxed(),
        "csrapproving" => certificates::run_approver(client, stop).boxed(),
        "csrsigning" => match &options.signer {
            Some(signer) => certificates::run_signer(client, Arc::clone(signer), stop).boxed(),
            None => async move {
                stop.triggered().await;
                Ok(())
            }
            .boxed(),
        },
        "csrcleaner" => certificates::run_cleaner(client, stop).boxed(),
        "nodelifecycle" => node_lifecycle::run(client, shared, timing, stop).boxed(),
        "daemonset" => {
            let has_scheduler = options.controllers.contains("scheduler");
            let setup = daemonset::Setup {
                informers: Some(shared),
                scheduler: has_scheduler.then_some(cache),
                ..daemonset::Setup::new(client, options.embedded)
            };
            daemonset::run(setup, stop).boxed()
        }
        "scheduler" => scheduler::run(client, shared, cache, stop).boxed(),
        "endpoints" => endpoints::run_endpoints(client, shared, stop).boxed(),
        "endpointslice" => endpoints::run_slices(client, shared, stop).boxed(),
        // The last of `CONTROLLER_NAMES`, which is the only source of names.
        _ => garbage_collector::run(client, shared, stop).boxed(),
    }
}
