//! Probes: one task for each probe of each running container, which tells the pod's worker when
//! its verdict changes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, Probe};
use pandaemon_podsync::ProbeResults;
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

use super::{
    PodRef,
    hooks::{self, Target},
};
use crate::{
    api::events,
    context::{Context, now},
};

/// Which probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whether it has started.
    Startup,
    /// Whether it lives.
    Liveness,
    /// Whether it is ready.
    Readiness,
}

impl Kind {
    const fn word(self) -> &'static str {
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

/// A probe's verdict about a container.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    /// The container.
    pub container: String,
    /// Which probe.
    pub kind: Kind,
    /// Whether it succeeds.
    pub good: bool,
}

impl Verdict {
    /// Notes the verdict.
    pub(crate) fn apply(&self, results: &mut ProbeResults) {
        match self.kind {
            Kind::Startup => results.startup = Some(self.good),
            Kind::Liveness => results.liveness = Some(self.good),
            Kind::Readiness => results.readiness = Some(self.good),
        }
    }
}

/// The probes of one running container. Dropping ends them.
pub(crate) struct Running {
    tasks: Vec<(Kind, JoinHandle<Option<()>>)>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(|(_, task)| task.abort());
    }
}

impl Running {
    /// No probes yet.
    #[must_use]
    pub(crate) const fn none() -> Self {
        Self { tasks: Vec::new() }
    }

    /// Starts the probes that are due: the startup probe first, the others once it has succeeded.
    pub(crate) fn advance(
        &mut self,
        subject: &Subject,
        results: ProbeResults,
        queue: &mpsc::Sender<Verdict>,
    ) {
        let started =
            Kind::Startup.of(&subject.container).is_none() || results.startup == Some(true);
        let due: &[Kind] = if started {
            &[Kind::Liveness, Kind::Readiness]
        } else {
            &[Kind::Startup]
        };
        for &kind in due {
            let known = self.tasks.iter().any(|(one, _)| *one == kind);
            if let (false, Some(probe)) = (known, kind.of(&subject.container)) {
                let prober = Prober {
                    subject: subject.clone(),
                    probe: probe.clone(),
                    kind,
                    queue: queue.clone(),
                };
                let task = pandaemon_runtime::spawn("probe", prober.run());
                self.tasks.push((kind, task));
            }
        }
    }
}

/// What is probed.
#[derive(Clone)]
pub(crate) struct Subject {
    /// The agent.
    pub context: Arc<Context>,
    /// The pod.
    pub pod: Arc<PodRef>,
    /// The container as wanted.
    pub container: Container,
    /// The container that runs.
    pub target: Target,
    /// When it was started.
    pub started_at: i64,
}

struct Prober {
    subject: Subject,
    probe: Probe,
    kind: Kind,
    queue: mpsc::Sender<Verdict>,
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    let seconds = value
        .and_then(|value| u64::try_from(value).ok())
        .filter(|&value| value > 0);
    Duration::from_secs(seconds.unwrap_or(default))
}

impl Prober {
    async fn run(self) {
        let delay = i64::from(self.probe.initial_delay_seconds.unwrap_or(0)) * 1000;
        let begin = self.subject.started_at + delay - now();
        sleep(Duration::from_millis(u64::try_from(begin).unwrap_or(0))).await;
        let period = seconds(self.probe.period_seconds, 10);
        let (mut streak, mut said) = (0_i32, None);
        loop {
            let began = tokio::time::Instant::now();
            let good = self.probe_once().await;
            streak = if good {
                streak.max(0) + 1
            } else {
                streak.min(0) - 1
            };
            let successes = self.probe.success_threshold.unwrap_or(1).max(1);
            let failures = self.probe.failure_threshold.unwrap_or(3).max(1);
            let verdict = match good {
                true if successes <= streak => Some(true),
                false if failures <= -streak => Some(false),
                _ => None,
            };
            if let Some(good) = verdict
                && said != Some(good)
            {
                said = Some(good);
                let container = self.subject.target.id.clone();
                let verdict = Verdict {
                    container,
                    kind: self.kind,
                    good,
                };
                if self.queue.send(verdict).await.is_err() {
                    return;
                }
                if self.kind == Kind::Startup || (self.kind == Kind::Liveness && !good) {
                    return; // a started container stays so, and a dead one is replaced
                }
            }
            sleep(period.saturating_sub(began.elapsed())).await;
        }
    }

    async fn probe_once(&self) -> bool {
        let words = match self.ask().await {
            Ok(()) => return true,
            Err(words) => words,
        };
        let subject = &self.subject;
        let init = subject
            .pod
            .container(&subject.container.name)
            .is_some_and(|(_, init)| init);
        let about = events::subject(&subject.pod.object, Some((&subject.container.name, init)));
        let message = format!("{} probe failed: {words}", self.kind.word());
        subject.context.events.warning(&about, "Unhealthy", message);
        false
    }

    async fn ask(&self) -> Result<(), String> {
        let Subject {
            context,
            container,
            target,
            ..
        } = &self.subject;
        let limit = seconds(self.probe.timeout_seconds, 1);
        if let Some(exec) = &self.probe.exec {
            let run = hooks::exec(context, target, exec, limit);
            return match tokio::time::timeout(limit, run).await {
                Ok(Ok((0, _))) => Ok(()),
                Ok(Ok((_, output))) => Err(output),
                Ok(Err(error)) => Err(error),
                Err(_elapsed) => Err(format!("command timed out after {limit:?}")),
            };
        }
        if let Some(get) = &self.probe.http_get {
            return hooks::http(target, container, get, limit).await.map(|_| ());
        }
        if let Some(socket) = &self.probe.tcp_socket {
            return hooks::tcp(target, container, socket, limit).await;
        }
        if let Some(grpc) = &self.probe.grpc {
            let port = u16::try_from(grpc.port).map_err(|_| "invalid port")?;
            let service = grpc.service.clone().unwrap_or_default();
            return pandaemon_cri::health::check((target.ip, port).into(), service, limit).await;
        }
        Err("missing probe handler".to_owned())
    }
}

/// Readiness as last reported, so that an adopted container stays ready until a probe says else.
pub(crate) fn known_results(pod: &PodRef) -> BTreeMap<String, ProbeResults> {
    let status = pod.object.status.as_ref();
    let lists = status.map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    });
    let known = lists.into_iter().flatten().filter_map(|one| {
        let id = one.container_id.as_deref()?.split_once("://")?.1.to_owned();
        let results = ProbeResults {
            startup: (one.started == Some(true)).then_some(true),
            liveness: None,
            readiness: one.ready.then_some(true),
        };
        Some((id, results))
    });
    known.collect()
}
