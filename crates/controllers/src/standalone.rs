//! `pandaemon controller`: the DaemonSet controller for a cluster of others, in place of kube-controller-manager's.
//!
//! One process leads (`election`), the others wait and hold nothing but a lease's last state: who wins lists first and
//! acts then, so nothing is decided on what was true under another leader. All changes go through one gate (`rate`),
//! which finds out what the API server can take, and which closes by itself when leadership is no longer certain.

pub mod args;
mod web;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use kube::Client;
use pandaemon_runtime::{Shutdown, metrics::Metrics};

pub use self::args::ControllerArgs;
use crate::{
    daemonset::{self, Setup},
    election::{
        campaign::{Campaign, Candidate, Standing},
        fence::Fence,
    },
    rate::{Bounds, bucket::Bucket, gate::Gate},
    telemetry::Telemetry,
};
use pandaemon_client::{connect, supervise::supervise};

/// How long requests that are under way may take to end after a stop; a lease outlasts it.
const DRAIN: Duration = Duration::from_secs(5);
/// How long the API server may be silent before this process is not ready.
const SILENCE: Duration = Duration::from_secs(60);

/// What [`drive`] needs, apart from a cluster.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Whether and how leadership is won; without it, this process acts at once.
    pub candidate: Option<Candidate>,
    /// How many changes may be under way.
    pub bounds: Bounds,
    /// Requests per second, and how many at once: a cap beside the limit that is found.
    pub cap: Option<(f64, u32)>,
    /// Lists are asked for as streams, where the server can.
    pub streamed: bool,
}

/// Connects, serves metrics, and runs until a stop is asked for.
///
/// # Errors
/// When the arguments contradict each other, or the cluster's address or the listener cannot be used.
pub async fn run(args: ControllerArgs, stop: Shutdown) -> anyhow::Result<()> {
    let settings = args.settings()?;
    let mut config = connect::config(args.kubeconfig.as_deref(), args.context.as_deref()).await?;
    // The gate repeats what was throttled, and must know of it.
    config.default_retry = false;
    let (metrics, telemetry, standing) = (
        Metrics::default(),
        Telemetry::default(),
        Standing::default(),
    );
    metrics.with(|registry| telemetry.register(registry));
    // What must not be starved has connections of its own.
    let apart = connect::direct(config.clone())?;
    let working = connect::direct(config)?;
    if let Some(address) = args.metrics_address()? {
        let state = web::State {
            metrics,
            standing: standing.clone(),
            elects: settings.candidate.is_some(),
        };
        web::serve(address, state, stop.clone())
            .await
            .with_context(|| format!("listen on {address} (--metrics-bind-address)"))?;
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        leader_elect = settings.candidate.is_some(),
        "DaemonSet controller starts"
    );
    drive([apart, working], settings, telemetry, standing, stop).await;
    Ok(())
}

/// Runs the controller with clients that exist: one for the lease, one for the work.
pub async fn drive(
    [apart, working]: [Client; 2],
    settings: Settings,
    telemetry: Telemetry,
    standing: Standing,
    stop: Shutdown,
) {
    let fence = match settings.candidate {
        Some(_) => Fence::shut(),
        None => Fence::open(),
    };
    let cap = settings
        .cap
        .and_then(|(qps, burst)| Bucket::new(qps, burst));
    let gate = Gate::new(settings.bounds, cap, fence.clone(), telemetry.clone());
    let setup = Setup {
        streamed: settings.streamed,
        drain: DRAIN,
        telemetry: telemetry.clone(),
        ..Setup::new(gate.client(working), false)
    };
    let setup = Arc::new(setup);
    let work = move |term: Shutdown| {
        let setup = Arc::clone(&setup);
        supervise("daemonset", term, move |stop| {
            daemonset::run(Setup::clone(&setup), stop)
        })
    };
    match settings.candidate {
        None => work(stop).await,
        Some(candidate) => {
            Campaign::new(apart, candidate, fence, telemetry, standing, &stop)
                .run(stop, work)
                .await;
        }
    }
}
