//! The probe manager of a pod: one task for each probe of each running container, which sends the
//! pod's worker every change of the result.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, PodStatus, Probe};
use pandaemon_client::events::EventType;
use pandaemon_client::supervise::restart_on_panic;
use pandaemon_podsync::ProbeResults;
use serde::Deserialize as _;
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

use super::{
    PodRef,
    handlers::{self, ContainerTarget},
};
use crate::{api::events, context::Context};

/// The type of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeType {
    /// The startup probe.
    Startup,
    /// The liveness probe.
    Liveness,
    /// The readiness probe.
    Readiness,
}

impl ProbeType {
    const fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

/// The result of a probe.
#[derive(Debug, Clone)]
pub(crate) struct ProbeResult {
    /// The container's id in the runtime.
    pub container: String,
    /// The type of a probe.
    pub kind: ProbeType,
    /// Whether the success threshold was reached, not the failure threshold.
    pub success: bool,
}

impl ProbeResult {
    /// Stores the result.
    pub(crate) fn apply(&self, results: &mut ProbeResults) {
        match self.kind {
            ProbeType::Startup => results.startup = Some(self.success),
            ProbeType::Liveness => results.liveness = Some(self.success),
            ProbeType::Readiness => results.readiness = Some(self.success),
        }
    }
}

/// The probe tasks of one running container. Dropping it ends them.
pub(crate) struct ContainerProbes {
    tasks: Vec<(ProbeType, JoinHandle<Option<()>>)>,
}

impl Drop for ContainerProbes {
    fn drop(&mut self) {
        self.tasks.iter().for_each(|(_, task)| task.abort());
    }
}

impl ContainerProbes {
    #[must_use]
    pub(crate) const fn none() -> Self {
        Self { tasks: Vec::new() }
    }

    /// Starts missing tasks: the startup probe first, the others once it has succeeded.
    pub(crate) fn start_due(
        &mut self,
        target: &ProbeTarget,
        results: ProbeResults,
        queue: &mpsc::Sender<ProbeResult>,
    ) {
        let started =
            ProbeType::Startup.of(&target.container).is_none() || results.startup == Some(true);
        let types: &[ProbeType] = if started {
            &[ProbeType::Liveness, ProbeType::Readiness]
        } else {
            &[ProbeType::Startup]
        };
        for &kind in types {
            let running = self.tasks.iter().any(|(one, _)| *one == kind);
            if let (false, Some(probe)) = (running, kind.of(&target.container)) {
                let prober = ProbeWorker {
                    target: target.clone(),
                    probe: probe.clone(),
                    kind,
                    queue: queue.clone(),
                };
                let run = move || prober.clone().run();
                let task = pandaemon_runtime::spawn("probe", restart_on_panic("probe", run));
                self.tasks.push((kind, task));
            }
        }
    }
}

/// The container that is probed.
#[derive(Clone)]
pub(crate) struct ProbeTarget {
    pub context: Arc<Context>,
    pub pod: Arc<PodRef>,
    /// The container in the pod spec.
    pub container: Container,
    /// The running container.
    pub running: ContainerTarget,
    /// When it was started, in milliseconds since 1970.
    pub started_at: i64,
}

#[derive(Clone)]
struct ProbeWorker {
    target: ProbeTarget,
    probe: Probe,
    kind: ProbeType,
    queue: mpsc::Sender<ProbeResult>,
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    let seconds = value
        .and_then(|value| u64::try_from(value).ok())
        .filter(|&value| value > 0);
    Duration::from_secs(seconds.unwrap_or(default))
}

impl ProbeWorker {
    async fn run(self) {
        let delay = i64::from(self.probe.initial_delay_seconds.unwrap_or(0)) * 1000;
        let clock = self.target.context.clock.clone();
        clock.sleep_until(self.target.started_at + delay).await;
        let period = seconds(self.probe.period_seconds, 10);
        // Consecutive successes, or failures as a negative number.
        let (mut streak, mut reported) = (0_i32, None);
        loop {
            let began = tokio::time::Instant::now();
            let success = self.probe_once().await;
            streak = if success {
                streak.max(0) + 1
            } else {
                streak.min(0) - 1
            };
            let successes = self.probe.success_threshold.unwrap_or(1).max(1);
            let failures = self.probe.failure_threshold.unwrap_or(3).max(1);
            let changed = match success {
                true if successes <= streak => Some(true),
                false if failures <= -streak => Some(false),
                _ => None,
            };
            if let Some(success) = changed
                && reported != Some(success)
            {
                reported = Some(success);
                let container = self.target.running.id.clone();
                let result = ProbeResult {
                    container,
                    kind: self.kind,
                    success,
                };
                if self.queue.send(result).await.is_err() {
                    return;
                }
                if self.kind == ProbeType::Startup || (self.kind == ProbeType::Liveness && !success)
                {
                    return; // A started container stays started; one that failed is killed.
                }
            }
            sleep(period.saturating_sub(began.elapsed())).await;
        }
    }

    async fn probe_once(&self) -> bool {
        let message = match self.run_handler().await {
            Ok(()) => return true,
            Err(message) => message,
        };
        let target = &self.target;
        let init = target
            .pod
            .container(&target.container.name)
            .is_some_and(|(_, init)| init);
        let reference =
            events::object_reference(&target.pod.object, Some((&target.container.name, init)));
        let message = format!("{} probe failed: {message}", self.kind.name());
        target
            .context
            .events
            .event(&reference, EventType::Warning, "Unhealthy", message);
        false
    }

    async fn run_handler(&self) -> Result<(), String> {
        let ProbeTarget {
            context,
            container,
            running,
            ..
        } = &self.target;
        let timeout = seconds(self.probe.timeout_seconds, 1);
        if let Some(exec) = &self.probe.exec {
            let run = handlers::exec(context, running, exec, timeout);
            return match tokio::time::timeout(timeout, run).await {
                Ok(Ok((0, _))) => Ok(()),
                Ok(Ok((_, output))) => Err(output),
                Ok(Err(error)) => Err(error),
                Err(_elapsed) => Err(format!("command timed out after {timeout:?}")),
            };
        }
        if let Some(get) = &self.probe.http_get {
            return handlers::http(running, container, get, timeout)
                .await
                .map(|_| ());
        }
        if let Some(socket) = &self.probe.tcp_socket {
            return handlers::tcp(running, container, socket, timeout).await;
        }
        if let Some(grpc) = &self.probe.grpc {
            let port = u16::try_from(grpc.port).map_err(|_| "invalid port")?;
            let service = grpc.service.clone().unwrap_or_default();
            return pandaemon_cri::health::check((running.ip, port).into(), service, timeout).await;
        }
        Err("missing probe handler".to_owned())
    }
}

/// The results in the pod's reported status by container id, so that a container of an earlier
/// agent stays ready until a probe fails.
pub(crate) fn reported_results(status: &Value) -> BTreeMap<String, ProbeResults> {
    let status = PodStatus::deserialize(status).ok();
    let lists = status.iter().map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    });
    let results = lists.flatten().filter_map(|one| {
        let id = one.container_id.as_deref()?.split_once("://")?.1.to_owned();
        let results = ProbeResults {
            startup: (one.started == Some(true)).then_some(true),
            liveness: None,
            readiness: one.ready.then_some(true),
        };
        Some((id, results))
    });
    results.collect()
}
