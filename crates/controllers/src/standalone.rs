//! `pandaemon controller`: the DaemonSet controller for another Kubernetes cluster, in place of the
//! one in kube-controller-manager.
//!
//! One process leads ([`crate::leader_election`]). The others hold no watches: a new leader lists
//! everything before it acts. Its requests go through the request gate ([`crate::flow_control`]),
//! which finds out how many the API server can take at once, and which refuses changes when this
//! process may no longer be the leader.

pub mod args;
mod healthz;
mod settings;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use kube::Client;
use pandaemon_client::{connect, supervise::supervise};
use pandaemon_runtime::{Shutdown, metrics::Metrics};

pub use self::{args::ControllerArgs, settings::Settings};
use crate::{
    daemonset::{self, Setup},
    flow_control::{request_gate::RequestGate, token_bucket::TokenBucket},
    leader_election::{
        elector::{LeaderElector, LeaderStatus},
        fence::Fence,
    },
    metrics::ControllerMetrics,
};

/// How long requests under way may take to end after a stop; less than a lease duration.
const DRAIN: Duration = Duration::from_secs(5);

/// Connects, serves metrics, and runs until a stop is asked for.
///
/// # Errors
/// When the arguments contradict each other, or the cluster's address or the listener cannot be
/// used.
pub async fn run(args: ControllerArgs, stop: Shutdown) -> anyhow::Result<()> {
    let settings = args.settings()?;
    let mut config = connect::config(args.kubeconfig.as_deref(), args.context.as_deref()).await?;
    // The gate repeats requests after 429, and must see each of them.
    config.default_retry = false;
    let (metrics, controller_metrics, leader_status) = (
        Metrics::default(),
        ControllerMetrics::default(),
        LeaderStatus::default(),
    );
    metrics.with(|registry| controller_metrics.register(registry));
    // The lease has connections of its own, so that its renewal never waits behind other requests.
    let lease_client = connect::direct(config.clone())?;
    let work_client = connect::direct(config)?;
    if let Some(address) = args.metrics_address()? {
        let state = healthz::Sources {
            metrics,
            leader_status: leader_status.clone(),
            has_election: settings.leader_election.is_some(),
        };
        healthz::serve(address, state, stop.clone())
            .await
            .with_context(|| format!("listen on {address} (--metrics-bind-address)"))?;
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        leader_elect = settings.leader_election.is_some(),
        "DaemonSet controller starts"
    );
    run_with_clients(
        [lease_client, work_client],
        settings,
        controller_metrics,
        leader_status,
        stop,
    )
    .await;
    Ok(())
}

/// Runs the controller with given clients, the first for the lease and the second for everything
/// else.
pub async fn run_with_clients(
    [lease_client, work_client]: [Client; 2],
    settings: Settings,
    controller_metrics: ControllerMetrics,
    leader_status: LeaderStatus,
    stop: Shutdown,
) {
    let fence = match settings.leader_election {
        Some(_) => Fence::shut(),
        None => Fence::open(),
    };
    let cap = settings
        .cap
        .and_then(|(qps, burst)| TokenBucket::new(qps, burst));
    let gate = RequestGate::new(
        settings.bounds,
        cap,
        fence.clone(),
        controller_metrics.clone(),
    );
    let setup = Setup {
        paged: !settings.streamed,
        // The gate has timeouts of its own, which begin when a request leaves it.
        timeout: Duration::MAX,
        drain: DRAIN,
        telemetry: controller_metrics.clone(),
        ..Setup::new(gate.client(work_client), false)
    };
    let setup = Arc::new(setup);
    let work = move |term: Shutdown| {
        let setup = Arc::clone(&setup);
        supervise("daemonset", term, move |stop| {
            daemonset::run(Setup::clone(&setup), stop)
        })
    };
    match settings.leader_election {
        None => work(stop).await,
        Some(leader_election) => {
            LeaderElector::new(
                lease_client,
                leader_election,
                fence,
                controller_metrics,
                leader_status,
                &stop,
            )
            .run(stop, work)
            .await;
        }
    }
}
