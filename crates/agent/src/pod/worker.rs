//! A pod worker: one task for each pod that observes, computes what is due, acts and reports.

use std::{collections::BTreeMap, sync::Arc};

use pandaemon_client::supervise::restart_on_panic;
use pandaemon_podsync::{
    BackoffState, ContainerState, DesiredPod, ObservedPod, PodActions, PodStatus, ProbeResults,
    compute_pod_actions,
};
use pandaemon_runtime::Shutdown;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    PodRef,
    action_result::ActionResult,
    actions::RunningActions,
    api_status, backoff_events,
    desired::desired_pod,
    env::NodeInfo,
    handlers::ContainerTarget,
    observe::{ObservationCache, observe},
    probes,
    references::{PodReferences, ReferencedObjects},
};
use crate::{api::status_manager::StatusManager, context::Context};

/// Probe results that wait for the worker.
const PROBE_RESULTS: usize = 16;
/// The delay in milliseconds after the runtime did not respond or an action failed.
const RETRY_DELAY: i64 = 1000;
/// How often, in milliseconds, volumes are updated even if no object changed: tokens are renewed.
const REFRESH_INTERVAL: i64 = 60_000;

/// An update from the API, as the kubelet's `UpdatePodOptions`.
#[derive(Debug, Clone)]
pub(crate) enum PodUpdate {
    /// The pod exists in this form.
    Sync(Arc<PodRef>),
    /// The pod's object no longer exists: everything of it is to be removed.
    Removed(Arc<PodRef>),
}

impl PodUpdate {
    fn pod(&self) -> &Arc<PodRef> {
        match self {
            Self::Sync(pod) | Self::Removed(pod) => pod,
        }
    }
}

/// The connection to a running worker.
#[derive(Clone)]
pub(crate) struct WorkerHandle {
    /// Passes updates from the API.
    pub updates: watch::Sender<PodUpdate>,
    /// Tells the worker that something of the pod changed in the runtime.
    pub changed: Arc<Notify>,
    /// Sends the status of the pod.
    pub status: Arc<StatusManager>,
}

/// Starts a pod's worker. The future runs it, and again after a panic; it ends with true when
/// everything of the pod has been removed, and with false at a shutdown.
pub(crate) fn start(
    context: Arc<Context>,
    pod: Arc<PodRef>,
    shutdown: Shutdown,
) -> (WorkerHandle, impl Future<Output = bool> + Send) {
    let reported = serde_json::to_value(&pod.object.status).unwrap_or_default();
    let handle = WorkerHandle {
        changed: Arc::default(),
        status: StatusManager::start(&context, &pod, reported, shutdown.clone()),
        updates: watch::Sender::new(PodUpdate::Sync(pod)),
    };
    let worker = handle.clone();
    let run = move || PodWorker::new(&context, &worker).run();
    (handle, async move {
        let ended = shutdown.guard(restart_on_panic("pod worker", run)).await;
        ended.is_some()
    })
}

struct PodWorker {
    context: Arc<Context>,
    pod: Arc<PodRef>,
    updates: watch::Receiver<PodUpdate>,
    changed: Arc<Notify>,
    status_manager: Arc<StatusManager>,
    references: PodReferences,
    referenced: Arc<ReferencedObjects>,
    backoff: BackoffState,
    cache: ObservationCache,
    observed: ObservedPod,
    /// Probe results in the status that an earlier agent reported, by container id.
    reported_results: BTreeMap<String, ProbeResults>,
    results: BTreeMap<String, ProbeResults>,
    probes: BTreeMap<String, probes::ContainerProbes>,
    actions: RunningActions,
    cancel: CancellationToken,
    retry_at: Option<i64>,
    refresh_at: i64,
    /// Whether the volumes of running containers are to be updated.
    update_volumes: bool,
    dirty: bool,
}

impl PodWorker {
    fn new(context: &Arc<Context>, handle: &WorkerHandle) -> Self {
        let updates = handle.updates.subscribe();
        let pod = Arc::clone(updates.borrow().pod());
        Self {
            references: PodReferences::watch(&pod, &context.object_cache),
            referenced: Arc::default(),
            context: Arc::clone(context),
            updates,
            changed: Arc::clone(&handle.changed),
            backoff: BackoffState::default(),
            cache: ObservationCache::default(),
            observed: ObservedPod::default(),
            reported_results: probes::reported_results(&handle.status.last()),
            status_manager: Arc::clone(&handle.status),
            results: BTreeMap::new(),
            probes: BTreeMap::new(),
            actions: RunningActions::default(),
            cancel: CancellationToken::new(),
            retry_at: None,
            refresh_at: 0,
            update_volumes: false,
            dirty: true,
            pod,
        }
    }

    fn now(&self) -> i64 {
        self.context.clock.now()
    }

    async fn run(mut self) {
        let clock = self.context.clock.clone();
        let (probe_results, mut queue) = mpsc::channel(PROBE_RESULTS);
        self.take_update();
        self.referenced = Arc::new(self.references.read(&self.pod.namespace).await);
        loop {
            self.observe().await;
            self.sync_probes(&probe_results);
            let removed = matches!(*self.updates.borrow(), PodUpdate::Removed(_));
            let desired = desired_pod(&self.pod, removed);
            let due = compute_pod_actions(&desired, &self.observed, &self.backoff, self.now());
            let wake = self.report_and_start(&desired, due);
            tokio::select! {
                result = self.actions.next() => {
                    if matches!(result, ActionResult::CleanedUp) {
                        self.status_manager.finish(removed).await;
                        return;
                    }
                    if matches!(result, ActionResult::Retry) {
                        self.retry_at = Some(self.now() + RETRY_DELAY);
                    }
                    let now = self.now();
                    result.record(&mut self.backoff, now);
                    self.dirty = true;
                }
                result = self.updates.changed() => {
                    if result.is_err() {
                        return; // The agent is stopping.
                    }
                    self.take_update();
                }
                () = self.changed.notified() => self.dirty = true,
                Some(result) = queue.recv() => self.take_probe_result(&result),
                () = self.references.changed() => self.refresh(),
                () = clock.sleep_until(wake) => {
                    if self.refresh_at <= self.now() {
                        self.refresh();
                    }
                }
            }
        }
    }

    fn take_update(&mut self) {
        let old_grace = self.pod.grace_seconds();
        let update = self.updates.borrow_and_update().clone();
        self.pod = Arc::clone(update.pod());
        let stopping = matches!(update, PodUpdate::Removed(_))
            || self.pod.object.metadata.deletion_timestamp.is_some();
        if stopping {
            self.cancel.cancel();
            if self.pod.grace_seconds() < old_grace {
                self.actions.cancel_kills();
            }
        }
        self.backoff.retry_now();
    }

    async fn observe(&mut self) {
        if !self.dirty {
            return;
        }
        match observe(&self.context, &self.pod, &mut self.cache).await {
            Ok(observed) => {
                self.observed = observed;
                self.dirty = false;
            }
            Err(error) => {
                tracing::debug!(%error, pod = self.pod.name, "cannot read a pod from the runtime; trying again");
                self.retry_at = Some(self.now() + RETRY_DELAY);
            }
        }
    }

    fn take_probe_result(&mut self, result: &probes::ProbeResult) {
        let results = self.results.entry(result.container.clone()).or_default();
        result.apply(results);
    }

    /// Runs probes for exactly the running containers.
    fn sync_probes(&mut self, queue: &mpsc::Sender<probes::ProbeResult>) {
        let running: Vec<_> = self.observed.running().cloned().collect();
        self.probes
            .retain(|id, _| running.iter().any(|one| one.id == *id));
        self.results
            .retain(|id, _| running.iter().any(|one| one.id == *id));
        let stopping = self.cancel.is_cancelled();
        for one in running {
            let results = *self.results.entry(one.id.clone()).or_insert_with(|| {
                self.reported_results
                    .get(&one.id)
                    .copied()
                    .unwrap_or_default()
            });
            let Some((container, _)) = self.pod.container(&one.name) else {
                continue;
            };
            let has_none = container.startup_probe.is_none()
                && container.liveness_probe.is_none()
                && container.readiness_probe.is_none();
            if has_none || stopping {
                self.probes.remove(&one.id);
                continue;
            }
            let target = probes::ProbeTarget {
                context: Arc::clone(&self.context),
                pod: Arc::clone(&self.pod),
                container: container.clone(),
                running: ContainerTarget {
                    id: one.id.clone(),
                    ip: self.pod_ip(),
                },
                started_at: one.started_at,
            };
            let probes = self
                .probes
                .entry(one.id.clone())
                .or_insert_with(probes::ContainerProbes::none);
            probes.start_due(&target, results, queue);
        }
        self.observed.probes.clone_from(&self.results);
    }

    fn pod_ip(&self) -> std::net::IpAddr {
        let sandbox = self.observed.sandbox();
        let ip = sandbox
            .and_then(|one| one.ips.first())
            .and_then(|ip| ip.parse().ok());
        ip.unwrap_or(self.context.address)
    }

    /// Reports the status, starts the due actions, and returns when to compute again without an
    /// event.
    fn report_and_start(&mut self, desired: &DesiredPod, due: PodActions) -> i64 {
        if desired.ended.is_none() {
            self.report(&due.status);
        }
        let retry_at = self.retry_at.filter(|&at| self.now() < at);
        if retry_at.is_none() && !self.dirty {
            self.retry_at = None;
            let starter = self.starter();
            for action in due.actions {
                tracing::debug!(pod = desired.label, ?action, "starting a pod action");
                self.actions
                    .start(action, &starter, &self.observed, &mut self.backoff);
            }
        }
        self.start_volume_update();
        let wake_times = [
            due.wake_at,
            retry_at,
            Some(self.refresh_at.max(self.now() + 1)),
        ];
        wake_times
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| self.now() + REFRESH_INTERVAL)
    }

    fn report(&self, status: &PodStatus) {
        let previous = self.status_manager.last();
        let rendered = api_status::render(
            &self.pod,
            status,
            &previous,
            self.context.address,
            "containerd",
            self.now(),
        );
        if rendered != previous {
            backoff_events::record(&self.context.events, &self.pod, &previous, &rendered);
            self.status_manager.set(rendered);
        }
    }

    /// Takes the referenced objects as they are now. An action updates the volumes: it may wait for
    /// a token, and only this loop polls the actions in progress.
    fn refresh(&mut self) {
        self.refresh_at = self.now() + REFRESH_INTERVAL;
        self.referenced = Arc::new(self.references.current(&self.pod.namespace));
        self.backoff.retry_now();
        self.update_volumes = true;
    }

    /// Starts the update of the volumes that is due, once containers run and no other update does.
    fn start_volume_update(&mut self) {
        let mut containers = self.observed.containers.iter();
        let any_running = containers.any(|one| one.state == ContainerState::Running);
        if self.update_volumes && any_running && !self.cancel.is_cancelled() {
            let starter = self.starter();
            self.update_volumes = !self.actions.update_volumes(&starter);
        }
    }

    fn starter(&self) -> super::start::Starter {
        super::start::Starter {
            context: Arc::clone(&self.context),
            pod: Arc::clone(&self.pod),
            references: Arc::clone(&self.referenced),
            node_info: self.node_info(),
            cancel: self.cancel.clone(),
        }
    }

    fn node_info(&self) -> NodeInfo {
        let context = &self.context;
        let ips = self
            .observed
            .sandbox()
            .map(|one| one.ips.clone())
            .unwrap_or_default();
        let own = vec![context.address.to_string()];
        NodeInfo {
            node_name: context.config.node_name.clone(),
            host_ip: context.address.to_string(),
            pod_ips: if self.pod.host_network() { own } else { ips },
            node_millicpu: i64::from(context.machine.cpus) * 1000,
            node_memory: i64::try_from(context.machine.memory).unwrap_or(i64::MAX),
            api_server: context.api_server.for_containers(),
        }
    }
}
