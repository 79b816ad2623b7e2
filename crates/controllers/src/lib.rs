//! The controllers: loops that watch the Kubernetes API, decide with pure functions, and act through the same API.
//!
//! Each loop is three steps in three places: *observe* (a projection and a small state), *plan* (a pure function in a
//! module of its own, tested as a table), *act* (requests). No loop knows of another, and none holds truth: all of
//! them can be stopped at any moment and start again from a list.
//!
//! The toolkit, for every loop: [`watching`] and [`informer`] (list and watch), [`queue`] (work with back-off),
//! [`recorder`] (events), [`api`] (requests by path), [`meta`] (projections), [`supervise`] (restart).

pub mod api;
pub mod binder;
pub mod daemonset;
pub mod defaults;
pub mod endpoints;
pub mod eventttl;
pub mod garbagecollector;
pub mod informer;
pub mod kinds;
pub mod meta;
pub mod namespace;
pub mod nodelifecycle;
pub mod queue;
pub mod recorder;
pub mod selection;
pub mod supervise;
pub mod views;
pub mod watching;

use futures::future::{BoxFuture, FutureExt as _, join_all};
use kube::Client;
use pandaemon_runtime::Shutdown;

pub use nodelifecycle::Timing;
pub use selection::{Selection, UnknownLoop};
use supervise::supervise;
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
    /// How patient the node life cycle is.
    pub timing: Timing,
}

/// Runs the chosen loops until a stop is asked for. A loop that fails or panics starts again, alone.
///
/// # Errors
/// None now; a later one may need leader election.
pub async fn run(client: Client, options: Options, stop: Shutdown) -> anyhow::Result<()> {
    let shared = Shared::start(&client, &stop);
    let loops = options.controllers.iter().map(|name| {
        let (client, shared, options) = (client.clone(), shared.clone(), options.clone());
        let start = move |stop| start(name, client.clone(), shared.clone(), &options, stop);
        supervise(name, stop.clone(), start)
    });
    join_all(loops).await;
    Ok(())
}

fn start(
    name: &'static str,
    client: Client,
    shared: Shared,
    options: &Options,
    stop: Shutdown,
) -> BoxFuture<'static, anyhow::Result<()>> {
    match name {
        "namespace" => namespace::run(client, stop).boxed(),
        "serviceaccount" => defaults::run_accounts(client, stop).boxed(),
        "rootca" => defaults::run_root_ca(client, options.ca_pem.clone(), stop).boxed(),
        "nodelifecycle" => nodelifecycle::run(client, shared, options.timing, stop).boxed(),
        "daemonset" => daemonset::run(client, options.embedded, stop).boxed(),
        "binder" => binder::run(client, shared, stop).boxed(),
        "endpoints" => endpoints::run(client, shared, stop).boxed(),
        "endpointslice" => endpoints::run_slices(client, shared, stop).boxed(),
        "garbagecollector" => garbagecollector::run(client, stop).boxed(),
        // The last of `selection::LOOPS`, which is the only source of names.
        _ => eventttl::run(client, stop).boxed(),
    }
}
