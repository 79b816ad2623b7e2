//! A pod worker: one task for each pod that observes, computes what is due, acts and reports.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::lock::Mutex;
use pandaemon_podsync::{
    BackoffState, ContainerState, DesiredPod, ObservedPod, PodActions, PodStatus, ProbeResults,
    compute_pod_actions,
};
use pandaemon_runtime::Shutdown;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    PodRef,
    action_result::ActionResult,
    actions::RunningActions,
    api_status,
    desired::desired_pod,
    env::NodeInfo,
    handlers::ContainerTarget,
    observe::{ObservationCache, observe},
    probes,
    references::{PodReferences, ReferencedObjects},
};
use crate::{
    api::{events, status_manager::StatusManager},
    context::{Context, now},
};

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
    /// The latest status of the pod.
    pub status: watch::Receiver<Value>,
}

/// Starts a pod's worker. `ended` receives the uid when everything of the pod has been removed.
#[must_use]
pub(crate) fn start(
    context: &Arc<Context>,
    pod: Arc<PodRef>,
    ended: mpsc::Sender<String>,
    shutdown: Shutdown,
) -> WorkerHandle {
    let (sender, receiver) = watch::channel(PodUpdate::Sync(Arc::clone(&pod)));
    let changed = Arc::new(Notify::new());
    let previous = serde_json::to_value(&pod.object.status).unwrap_or_default();
    let (status_manager, status) = StatusManager::start(context, &pod, previous, shutdown.clone());
    let worker = PodWorker {
        references: PodReferences::watch(&pod, &context.object_cache),
        referenced: Arc::default(),
        context: Arc::clone(context),
        updates: receiver,
        changed: Arc::clone(&changed),
        status_manager,
        backoff: BackoffState::default(),
        cache: ObservationCache::default(),
        observed: ObservedPod::default(),
        reported_results: probes::reported_results(&pod),
        results: BTreeMap::new(),
        probes: BTreeMap::new(),
        actions: RunningActions::default(),
        volumes: Arc::default(),
        cancel: CancellationToken::new(),
        retry_at: None,
        refresh_at: 0,
        dirty: true,
        pod,
    };
    pandaemon_runtime::spawn("pod", async move {
        let uid = worker.pod.uid.clone();
        if shutdown.guard(worker.run()).await.is_some() {
            let _ = ended.send(uid).await;
        }
    });
    WorkerHandle {
        updates: sender,
        changed,
        status,
    }
}

struct PodWorker {
    context: Arc<Context>,
    pod: Arc<PodRef>,
    updates: watch::Receiver<PodUpdate>,
    changed: Arc<Notify>,
    status_manager: StatusManager,
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
    volumes: Arc<Mutex<()>>,
    cancel: CancellationToken,
    retry_at: Option<i64>,
    refresh_at: i64,
    dirty: bool,
}

impl PodWorker {
    async fn run(mut self) {
        let (probe_results, mut queue) = mpsc::channel(PROBE_RESULTS);
        self.take_update();
        self.referenced = Arc::new(self.references.read(&self.pod.namespace).await);
        loop {
            self.observe().await;
            self.sync_probes(&probe_results);
            let removed = matches!(*self.updates.borrow(), PodUpdate::Removed(_));
            let desired = desired_pod(&self.pod, removed);
            let due = compute_pod_actions(&desired, &self.observed, &self.backoff, now());
            let wake = self.report_and_start(&desired, due);
            tokio::select! {
                result = self.actions.next() => {
                    if matches!(result, ActionResult::CleanedUp) {
                        self.status_manager.finish(removed).await;
                        return;
                    }
                    if matches!(result, ActionResult::Retry) {
                        self.retry_at = Some(now() + RETRY_DELAY);
                    }
                    result.record(&mut self.backoff, now());
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
                () = self.references.changed() => self.refresh().await,
                () = sleep_until(wake) => {
                    if self.refresh_at <= now() {
                        self.refresh().await;
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
                self.retry_at = Some(now() + RETRY_DELAY);
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
        let retry_at = self.retry_at.filter(|&at| now() < at);
        if retry_at.is_none() && !self.dirty {
            self.retry_at = None;
            let starter = self.starter();
            for action in due.actions {
                tracing::debug!(pod = desired.label, ?action, "starting a pod action");
                self.actions
                    .start(action, &starter, &self.observed, &mut self.backoff);
            }
        }
        let wake_times = [due.wake_at, retry_at, Some(self.refresh_at.max(now() + 1))];
        wake_times
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| now() + REFRESH_INTERVAL)
    }

    fn report(&self, status: &PodStatus) {
        let previous = self.status_manager.last();
        let rendered = api_status::render(
            &self.pod,
            status,
            &previous,
            self.context.address,
            "containerd",
            now(),
        );
        if rendered != previous {
            self.record_backoff_events(&previous, &rendered);
            self.status_manager.set(rendered);
        }
    }

    /// Records an event for each container whose back-off has begun.
    fn record_backoff_events(&self, previous: &Value, rendered: &Value) {
        for list in ["initContainerStatuses", "containerStatuses"] {
            let statuses = rendered
                .get(list)
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            for (n, status) in statuses.enumerate() {
                let reason = &status["state"]["waiting"]["reason"];
                if *reason == previous[list][n]["state"]["waiting"]["reason"] {
                    continue;
                }
                let name = status["name"].as_str().unwrap_or_default();
                let reference =
                    events::object_reference(&self.pod.object, Some((name, list.starts_with('i'))));
                let events = &self.context.events;
                if *reason == "CrashLoopBackOff" {
                    let label = self.pod.label();
                    let text =
                        format!("Back-off restarting failed container {name} in pod {label}");
                    events.warning(&reference, "BackOff", text);
                } else if *reason == "ImagePullBackOff" {
                    let image = self
                        .pod
                        .container(name)
                        .and_then(|(one, _)| one.image.clone());
                    let text = format!("Back-off pulling image {:?}", image.unwrap_or_default());
                    events.normal(&reference, "BackOff", text);
                    events.warning(&reference, "Failed", "Error: ImagePullBackOff".to_owned());
                }
            }
        }
    }

    /// Reads the referenced objects again and updates the volumes.
    async fn refresh(&mut self) {
        self.refresh_at = now() + REFRESH_INTERVAL;
        let referenced = self.references.read(&self.pod.namespace).await;
        self.referenced = Arc::new(referenced);
        self.backoff.retry_now();
        let any_running = self
            .observed
            .containers
            .iter()
            .any(|one| one.state == ContainerState::Running);
        if any_running
            && !self.cancel.is_cancelled()
            && let Err(error) = self.starter().set_up_volumes().await
        {
            tracing::debug!(
                error,
                pod = self.pod.name,
                "cannot update the volumes of a pod"
            );
        }
    }

    fn starter(&self) -> super::start::Starter {
        super::start::Starter {
            context: Arc::clone(&self.context),
            pod: Arc::clone(&self.pod),
            references: Arc::clone(&self.referenced),
            node_info: self.node_info(),
            volumes: Arc::clone(&self.volumes),
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
            api_server: api_server(&context.config.server),
        }
    }
}

/// Host and port of the API server's URL.
fn api_server(url: &str) -> Option<(String, u16)> {
    let uri: http::Uri = url.parse().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']).to_owned();
    Some((host, uri.port_u16().unwrap_or(443)))
}

async fn sleep_until(at: i64) {
    let left = u64::try_from(at - now()).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(left)).await;
}
