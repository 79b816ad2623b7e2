//! What the DaemonSet controller works with.

use std::time::Duration;

use kube::Client;
use pandaemon_client::rest::REQUEST_TIMEOUT;

use crate::{
    metrics::ControllerMetrics, scheduler::shared_cache::SharedCache, views::SharedInformers,
};

/// The parameters of the controller.
#[derive(Clone)]
pub struct Setup {
    /// The client of the API server.
    pub client: Client,
    /// The nodes and pods that other controllers of this process read, too; without them the
    /// controller watches nodes and pods itself.
    pub informers: Option<SharedInformers>,
    /// No other scheduler binds pods in this cluster, so that a pod which fits is created on its
    /// node at once.
    pub embedded: bool,
    /// Request lists in pages rather than as streams (`sendInitialEvents`).
    pub paged: bool,
    /// How long a request may take.
    pub timeout: Duration,
    /// How long to wait for requests under way after a stop.
    pub drain: Duration,
    /// The cache of the scheduler in this process, where a pod that is created on its node reserves
    /// its resources.
    pub scheduler: Option<SharedCache>,
    /// The counters and gauges that the loop updates.
    pub telemetry: ControllerMetrics,
}

impl Setup {
    /// The parameters for an API server in the same process.
    #[must_use]
    pub fn new(client: Client, embedded: bool) -> Self {
        Self {
            client,
            informers: None,
            embedded,
            paged: false,
            timeout: REQUEST_TIMEOUT,
            drain: Duration::ZERO,
            scheduler: None,
            telemetry: ControllerMetrics::default(),
        }
    }
}
