//! A pod's worker: observe, plan, act, report; once for every pod, each in a task of its own.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::lock::Mutex;
use pandaemon_podsync::{
    BackoffState, ContainerState, DesiredPod, ObservedPod, PodActions, ProbeResults,
    compute_pod_actions,
};
use pandaemon_runtime::Shutdown;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    PodRef,
    act::{InFlight, Outcome},
    env::Surroundings,
    hooks::Target,
    inputs::{Inputs, Snapshot},
    observe::{Cache, observe},
    probes, status, view,
};
use crate::{
    api::{events, report::Reporter},
    context::{Context, now},
};

/// Verdicts that wait for the worker.
const VERDICTS: usize = 16;
/// How long to wait after the runtime did not answer or an action did not work out.
const PAUSE: i64 = 1000;
/// Tokens and the like are looked at this often although nothing happened.
const REFRESH: i64 = 60_000;

/// The pod as the API shows it.
#[derive(Debug, Clone)]
pub(crate) enum Desired {
    /// It is to be as this says.
    Pod(Arc<PodRef>),
    /// Its object no longer exists; everything of it is to go.
    Gone(Arc<PodRef>),
}

impl Desired {
    fn pod(&self) -> &Arc<PodRef> {
        match self {
            Self::Pod(pod) | Self::Gone(pod) => pod,
        }
    }
}

/// How a worker is told things.
#[derive(Clone)]
pub(crate) struct Handle {
    /// The pod as the API shows it.
    pub desired: watch::Sender<Desired>,
    /// Something of the pod changed in the runtime.
    pub changed: Arc<Notify>,
    /// The status last reported.
    pub status: watch::Receiver<Value>,
}

/// Starts a pod's worker; `done` gets its uid when everything of it is gone.
#[must_use]
pub(crate) fn start(
    context: &Arc<Context>,
    pod: Arc<PodRef>,
    gone: bool,
    done: mpsc::Sender<String>,
    shutdown: Shutdown,
) -> Handle {
    let desired = if gone {
        Desired::Gone(Arc::clone(&pod))
    } else {
        Desired::Pod(Arc::clone(&pod))
    };
    let (sender, receiver) = watch::channel(desired);
    let changed = Arc::new(Notify::new());
    let previous = serde_json::to_value(&pod.object.status).unwrap_or_default();
    let (reporter, status) = Reporter::start(context, &pod, previous, shutdown.clone());
    let worker = Worker {
        inputs: Inputs::follow(&pod, &context.sources),
        snapshot: Arc::default(),
        context: Arc::clone(context),
        desired: receiver,
        changed: Arc::clone(&changed),
        reporter,
        memory: BackoffState::default(),
        cache: Cache::default(),
        observed: ObservedPod::default(),
        known: probes::known_results(&pod),
        results: BTreeMap::new(),
        running: BTreeMap::new(),
        in_flight: InFlight::default(),
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
            let _ = done.send(uid).await;
        }
    });
    Handle {
        desired: sender,
        changed,
        status,
    }
}

struct Worker {
    context: Arc<Context>,
    pod: Arc<PodRef>,
    desired: watch::Receiver<Desired>,
    changed: Arc<Notify>,
    reporter: Reporter,
    inputs: Inputs,
    snapshot: Arc<Snapshot>,
    memory: BackoffState,
    cache: Cache,
    observed: ObservedPod,
    /// Results of containers that ran before this agent did, from the API.
    known: BTreeMap<String, ProbeResults>,
    results: BTreeMap<String, ProbeResults>,
    running: BTreeMap<String, probes::Running>,
    in_flight: InFlight,
    volumes: Arc<Mutex<()>>,
    cancel: CancellationToken,
    retry_at: Option<i64>,
    refresh_at: i64,
    dirty: bool,
}

impl Worker {
    async fn run(mut self) {
        let (verdicts, mut queue) = mpsc::channel(VERDICTS);
        self.take_desired();
        self.snapshot = Arc::new(self.inputs.read(&self.pod.namespace).await);
        loop {
            self.observe().await;
            self.probe(&verdicts);
            let gone = matches!(*self.desired.borrow(), Desired::Gone(_));
            let view = view::view(&self.pod, gone);
            let plan = compute_pod_actions(&view, &self.observed, &self.memory, now());
            let wake = self.report_and_begin(&view, plan);
            tokio::select! {
                outcome = self.in_flight.next() => {
                    if matches!(outcome, Outcome::Finished) {
                        self.reporter.finish(gone).await;
                        return;
                    }
                    if matches!(outcome, Outcome::Retry) {
                        self.retry_at = Some(now() + PAUSE);
                    }
                    outcome.note(&mut self.memory);
                    self.dirty = true;
                }
                result = self.desired.changed() => {
                    if result.is_err() {
                        return; // the agent is going down
                    }
                    self.take_desired();
                }
                () = self.changed.notified() => self.dirty = true,
                Some(verdict) = queue.recv() => self.judge(&verdict),
                () = self.inputs.changed() => self.refresh().await,
                () = sleep_until(wake) => {
                    if self.refresh_at <= now() {
                        self.refresh().await;
                    }
                }
            }
        }
    }

    fn take_desired(&mut self) {
        let old_grace = self.pod.grace_seconds();
        let desired = self.desired.borrow_and_update().clone();
        self.pod = Arc::clone(desired.pod());
        let stopping = matches!(desired, Desired::Gone(_))
            || self.pod.object.metadata.deletion_timestamp.is_some();
        if stopping {
            self.cancel.cancel();
            if self.pod.grace_seconds() < old_grace {
                self.in_flight.cancel_kills();
            }
        }
        self.memory.retry_now();
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
                tracing::debug!(%error, pod = self.pod.name, "observe");
                self.retry_at = Some(now() + PAUSE);
            }
        }
    }

    fn judge(&mut self, verdict: &probes::Verdict) {
        let results = self.results.entry(verdict.container.clone()).or_default();
        verdict.apply(results);
    }

    /// Keeps probes running for exactly the containers that run.
    fn probe(&mut self, verdicts: &mpsc::Sender<probes::Verdict>) {
        let running: Vec<_> = self.observed.running().cloned().collect();
        self.running
            .retain(|id, _| running.iter().any(|one| one.id == *id));
        self.results
            .retain(|id, _| running.iter().any(|one| one.id == *id));
        let stopping = self.cancel.is_cancelled();
        for one in running {
            let results = *self
                .results
                .entry(one.id.clone())
                .or_insert_with(|| self.known.get(&one.id).copied().unwrap_or_default());
            let Some((container, _)) = self.pod.container(&one.name) else {
                continue;
            };
            let none = container.startup_probe.is_none()
                && container.liveness_probe.is_none()
                && container.readiness_probe.is_none();
            if none || stopping {
                self.running.remove(&one.id);
                continue;
            }
            let subject = probes::Subject {
                context: Arc::clone(&self.context),
                pod: Arc::clone(&self.pod),
                container: container.clone(),
                target: Target {
                    id: one.id.clone(),
                    ip: self.ip(),
                },
                started_at: one.started_at,
            };
            let probes = self
                .running
                .entry(one.id.clone())
                .or_insert_with(probes::Running::none);
            probes.advance(&subject, results, verdicts);
        }
        self.observed.probes.clone_from(&self.results);
    }

    fn ip(&self) -> std::net::IpAddr {
        let sandbox = self.observed.sandbox();
        let ip = sandbox
            .and_then(|one| one.ips.first())
            .and_then(|ip| ip.parse().ok());
        ip.unwrap_or(self.context.address)
    }

    /// Reports the status, begins what is due, and yields when to wake up without an event.
    fn report_and_begin(&mut self, view: &DesiredPod, plan: PodActions) -> i64 {
        if view.ended.is_none() {
            self.report(&plan);
        }
        let held = self.retry_at.filter(|&at| now() < at);
        if held.is_none() && !self.dirty {
            self.retry_at = None;
            let starter = self.starter();
            for action in plan.actions {
                tracing::debug!(pod = view.label, ?action, "due");
                self.in_flight
                    .begin(action, &starter, &self.observed, &mut self.memory);
            }
        }
        let wakes = [plan.wake_at, held, Some(self.refresh_at.max(now() + 1))];
        wakes
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| now() + REFRESH)
    }

    fn report(&self, plan: &PodActions) {
        let previous = self.reporter.last();
        let rendered = status::render(
            &self.pod,
            &plan.status,
            &previous,
            self.context.address,
            "containerd",
            now(),
        );
        if rendered != previous {
            self.tell_back_offs(&previous, &rendered);
            self.reporter.report(rendered);
        }
    }

    /// An event for each container that has begun to wait for its next try.
    fn tell_back_offs(&self, previous: &Value, rendered: &Value) {
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
                let about = events::subject(&self.pod.object, Some((name, list.starts_with('i'))));
                let events = &self.context.events;
                if *reason == "CrashLoopBackOff" {
                    let label = self.pod.label();
                    let text =
                        format!("Back-off restarting failed container {name} in pod {label}");
                    events.warning(&about, "BackOff", text);
                } else if *reason == "ImagePullBackOff" {
                    let image = self
                        .pod
                        .container(name)
                        .and_then(|(one, _)| one.image.clone());
                    let text = format!("Back-off pulling image {:?}", image.unwrap_or_default());
                    events.normal(&about, "BackOff", text);
                    events.warning(&about, "Failed", "Error: ImagePullBackOff".to_owned());
                }
            }
        }
    }

    /// Reads config maps and secrets anew and brings volumes up to date.
    async fn refresh(&mut self) {
        self.refresh_at = now() + REFRESH;
        let snapshot = self.inputs.read(&self.pod.namespace).await;
        self.snapshot = Arc::new(snapshot);
        self.memory.retry_now();
        let runs = self
            .observed
            .containers
            .iter()
            .any(|one| one.state == ContainerState::Running);
        if runs
            && !self.cancel.is_cancelled()
            && let Err(error) = self.starter().prepare().await
        {
            tracing::debug!(error, pod = self.pod.name, "refresh volumes");
        }
    }

    fn starter(&self) -> super::start::Starter {
        super::start::Starter {
            context: Arc::clone(&self.context),
            pod: Arc::clone(&self.pod),
            inputs: Arc::clone(&self.snapshot),
            around: self.surroundings(),
            volumes: Arc::clone(&self.volumes),
            cancel: self.cancel.clone(),
        }
    }

    fn surroundings(&self) -> Surroundings {
        let context = &self.context;
        let ips = self
            .observed
            .sandbox()
            .map(|one| one.ips.clone())
            .unwrap_or_default();
        let own = vec![context.address.to_string()];
        Surroundings {
            node_name: context.config.node_name.clone(),
            host_ip: context.address.to_string(),
            pod_ips: if self.pod.host_network() { own } else { ips },
            node_millicpu: i64::from(context.machine.cpus) * 1000,
            node_memory: i64::try_from(context.machine.memory).unwrap_or(i64::MAX),
            api_server: api_server(&context.config.server),
        }
    }
}

/// Host and port of the server's address.
fn api_server(url: &str) -> Option<(String, u16)> {
    let uri: http::Uri = url.parse().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']).to_owned();
    Some((host, uri.port_u16().unwrap_or(443)))
}

async fn sleep_until(at: i64) {
    let left = u64::try_from(at - now()).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(left)).await;
}
