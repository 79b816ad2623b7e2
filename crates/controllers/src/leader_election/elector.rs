//! Acquires the lease, renews it, and runs the work only while it is held (client-go's
//! `LeaderElector`).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kube::Client;
use pandaemon_client::{
    backoff::jittered,
    events::{EventRecorder, EventType, ObjectReference},
};
use pandaemon_runtime::Shutdown;
use parking_lot::Mutex;

use super::{
    config::{JITTER, LeaderElectionConfig},
    fence::Fence,
    lease_lock::LeaseLock,
    state::{ElectionState, LeaseAction},
};
use crate::metrics::ControllerMetrics;

/// What is known of the leader and of the API server, for health checks; clones share it.
#[derive(Debug, Clone, Default)]
pub struct LeaderStatus(Arc<Mutex<Status>>);

#[derive(Debug, Default)]
struct Status {
    /// When the API server answered last.
    answered: Option<Instant>,
    leader: String,
}

impl LeaderStatus {
    /// Whether the API server has answered within that time.
    #[must_use]
    pub fn answered_within(&self, within: Duration) -> bool {
        let known = self.0.lock();
        known
            .answered
            .is_some_and(|answered| answered.elapsed() < within)
    }

    /// The identity of the leader when the lease was last seen; empty if there is none.
    #[must_use]
    pub fn leader(&self) -> String {
        self.0.lock().leader.clone()
    }

    /// Notes that the API server has answered now.
    pub fn note_answer(&self) {
        self.0.lock().answered = Some(Instant::now());
    }
}

/// Acquires leadership again and again, and runs `work` while it leads, until a stop is asked for.
pub struct LeaderElector {
    lock: LeaseLock,
    state: ElectionState,
    config: LeaderElectionConfig,
    started: Instant,
    fence: Fence,
    metrics: ControllerMetrics,
    recorder: EventRecorder,
    leader_status: LeaderStatus,
}

/// Why a term of leadership ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TermEnd {
    /// A stop was asked for.
    Stopped,
    /// The lease was not renewed in time: another process may lead.
    Lost,
    /// The work ended by itself, which it should not.
    WorkEnded,
}

impl LeaderElector {
    /// A candidate that has not tried yet. Requests of `client` must not wait behind any rate
    /// limit.
    #[must_use]
    pub fn new(
        client: Client,
        config: LeaderElectionConfig,
        fence: Fence,
        metrics: ControllerMetrics,
        leader_status: LeaderStatus,
        stop: &Shutdown,
    ) -> Self {
        Self {
            recorder: EventRecorder::start(client.clone(), "pandaemon-controller", stop.clone()),
            lock: LeaseLock::new(client, &config),
            state: ElectionState::new(config.identity.clone(), config.timing.lease_duration),
            config,
            started: Instant::now(),
            fence,
            metrics,
            leader_status,
        }
    }

    /// Runs until a stop is asked for. When the future of `work` resolves, none of its requests may
    /// be under way.
    pub async fn run<W, R>(mut self, stop: Shutdown, work: W)
    where
        W: Fn(Shutdown) -> R,
        R: Future<Output = ()> + Send + 'static,
    {
        self.metrics.set_leader(&self.config.name, false);
        while stop.guard(self.acquire()).await.is_some() {
            self.record_event("became leader");
            self.metrics.set_leader(&self.config.name, true);
            let term = Shutdown::default();
            let working = pandaemon_runtime::spawn("leading", work(term.clone()));
            let mut working = std::pin::pin!(working);
            let end = tokio::select! {
                () = stop.triggered() => TermEnd::Stopped,
                () = self.renew() => TermEnd::Lost,
                _ = &mut working => TermEnd::WorkEnded,
            };
            // No further request is sent; those under way end; then another process may lead.
            self.fence.close();
            term.trigger();
            match end {
                TermEnd::Stopped => tokio::select! {
                    _ = working => {}
                    // The lease is renewed until then, so that no other process leads meanwhile.
                    () = self.keep_lease() => {}
                },
                TermEnd::Lost => drop(working.await),
                TermEnd::WorkEnded => tokio::time::sleep(self.config.timing.retry_period).await,
            }
            self.metrics.set_leader(&self.config.name, false);
            self.record_event("stopped leading");
            if end != TermEnd::Lost {
                self.release().await;
            }
        }
    }

    /// Tries until this process holds the lease.
    async fn acquire(&mut self) {
        loop {
            let began = tokio::time::Instant::now();
            let attempt = tokio::time::timeout(
                self.config.timing.renew_deadline,
                self.try_acquire_or_renew(),
            )
            .await;
            match attempt {
                Ok(Ok(true)) => {
                    self.fence.extend(began + self.config.timing.renew_deadline);
                    return;
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the lease could not be acquired"),
                Err(_) => tracing::warn!("the lease could not be acquired: no answer"),
            }
            let retry = self.config.timing.retry_period;
            // client-go waits up to JITTER times as long again, so that candidates do not try at
            // once.
            let quarter = jittered(retry).saturating_sub(retry);
            tokio::time::sleep(retry + quarter.mul_f64(4.0 * JITTER)).await;
        }
    }

    /// Renews the lease; returns when another process may hold it.
    async fn renew(&mut self) {
        let timing = self.config.timing;
        let mut leader_until = self
            .fence
            .deadline()
            .unwrap_or_else(tokio::time::Instant::now);
        loop {
            let pause = tokio::time::Instant::now() + timing.retry_period;
            tokio::time::sleep_until(pause.min(leader_until)).await;
            let began = tokio::time::Instant::now();
            if began >= leader_until {
                tracing::error!("leadership lost: the lease could not be renewed in time");
                return;
            }
            match tokio::time::timeout_at(leader_until, self.try_acquire_or_renew()).await {
                Ok(Ok(true)) => {
                    leader_until = began + timing.renew_deadline;
                    self.fence.extend(leader_until);
                }
                Ok(Ok(false)) if !self.state.is_leader() => {
                    tracing::error!(leader = self.state.leader(), "leadership lost");
                    return;
                }
                // A conflict with an own renewal whose reply was lost: the next attempt reads the
                // lease.
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the lease could not be renewed"),
                Err(_) => {}
            }
        }
    }

    /// Renews the lease without opening the fence again.
    async fn keep_lease(&mut self) {
        loop {
            tokio::time::sleep(self.config.timing.retry_period).await;
            let timeout = self.config.timing.renew_deadline;
            let attempt = tokio::time::timeout(timeout, self.try_acquire_or_renew()).await;
            if !matches!(attempt, Ok(Ok(true))) {
                return;
            }
        }
    }

    /// One attempt to acquire or renew the lease; true if this process holds it.
    async fn try_acquire_or_renew(&mut self) -> kube::Result<bool> {
        let seen = self.lock.read(&self.state).await?;
        let action =
            self.state
                .next_action(seen.as_ref(), self.started.elapsed(), Timestamp::now());
        let written = match action {
            LeaseAction::Wait => None,
            LeaseAction::Create(record) => self.lock.create(record).await?,
            LeaseAction::Update(record) => self.lock.update(record).await?,
        };
        self.leader_status.note_answer();
        let is_leader = written.is_some();
        if let Some(record) = written {
            self.state.observed_record(record, self.started.elapsed());
        }
        let leader = self.state.leader().unwrap_or_default();
        let mut known = self.leader_status.0.lock();
        if known.leader != leader {
            tracing::info!(leader, lease = self.config.name, "leader");
            leader.clone_into(&mut known.leader);
        }
        Ok(is_leader)
    }

    async fn release(&mut self) {
        let Some(record) = self.state.release(Timestamp::now()) else {
            return;
        };
        let timeout = self.config.timing.renew_deadline;
        match tokio::time::timeout(timeout, self.lock.update(record)).await {
            Ok(Ok(Some(record))) => self.state.observed_record(record, self.started.elapsed()),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be released"),
            Err(_) => tracing::warn!("the lease could not be released: no answer"),
        }
    }

    fn record_event(&self, what: &str) {
        let about = ObjectReference {
            api_version: "coordination.k8s.io/v1".to_owned(),
            kind: "Lease".to_owned(),
            namespace: self.config.namespace.clone(),
            name: self.config.name.clone(),
            uid: self.lock.uid.clone(),
            ..ObjectReference::default()
        };
        let message = format!("{} {what}", self.config.identity);
        tracing::info!(lease = self.config.name, "{message}");
        self.recorder
            .event(&about, EventType::Normal, "LeaderElection", message);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use http::{Request, Response};
    use kube::client::Body;
    use tower::BoxError;

    use super::*;
    use crate::leader_election::config::Timing;

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_no_server_that_does_not_answer() {
        let is_silent = Arc::new(AtomicBool::new(false));
        let silent = Arc::clone(&is_silent);
        let service = tower::service_fn(move |request: Request<Body>| {
            let silent = Arc::clone(&silent);
            async move {
                if silent.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                // A lease is stored as it is sent; there is none at first.
                let body = request.into_body().collect_bytes().await?;
                let code = if body.is_empty() { 404 } else { 200 };
                let response = Response::builder().status(code);
                Ok::<_, BoxError>(response.body(Body::from(body.to_vec()))?)
            }
        });
        let config = LeaderElectionConfig {
            namespace: "kube-system".to_owned(),
            name: "test".to_owned(),
            identity: "one".to_owned(),
            timing: Timing::default(),
        };
        let most = config.timing.retry_period + 2 * config.timing.renew_deadline;
        let stop = Shutdown::default();
        let elector = LeaderElector::new(
            Client::new(service, "default"),
            config,
            Fence::shut(),
            ControllerMetrics::default(),
            LeaderStatus::default(),
            &stop,
        );
        let (ask, began) = (stop.clone(), tokio::time::Instant::now());
        // The last requests of the work get no answer either.
        let work = move |_| {
            let (ask, is_silent) = (ask.clone(), Arc::clone(&is_silent));
            async move {
                is_silent.store(true, Ordering::SeqCst);
                ask.trigger();
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::time::timeout(10 * most, elector.run(stop, work)).await;
        assert!(ended.is_ok(), "it does not end");
        assert!(began.elapsed() <= most, "{:?}", began.elapsed());
    }
}
