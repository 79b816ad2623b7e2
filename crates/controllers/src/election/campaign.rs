//! Wins the lease, keeps it, and works only meanwhile.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, Request, header};
use jiff::Timestamp;
use kube::Client;
use pandaemon_runtime::Shutdown;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{Elector, JITTER, Pace, Record, Step, fence::Fence};
use crate::telemetry::Telemetry;
use pandaemon_client::{
    backoff::jittered,
    errors,
    events::{EventRecorder, EventType, ObjectReference},
};

/// The lease, and who wants it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The lease's namespace.
    pub namespace: String,
    /// The lease's name.
    pub name: String,
    /// This process: unique over all time.
    pub identity: String,
    /// How long things may take.
    pub pace: Pace,
}

/// What a health check wants to know.
#[derive(Debug, Clone, Default)]
pub struct Standing(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// When the API server answered last.
    heard: Option<Instant>,
    leader: String,
}

impl Standing {
    /// Whether the API server answered within that time.
    #[must_use]
    pub fn is_heard(&self, within: Duration) -> bool {
        let known = self.0.lock();
        known.heard.is_some_and(|heard| heard.elapsed() < within)
    }

    /// Who leads, as far as known.
    #[must_use]
    pub fn leader(&self) -> String {
        self.0.lock().leader.clone()
    }

    /// The API server has answered.
    pub fn hear(&self) {
        self.0.lock().heard = Some(Instant::now());
    }
}

/// Wins leadership again and again, and runs `work` meanwhile, until a stop is asked for.
pub struct Campaign {
    lease: Lease,
    elector: Elector,
    candidate: Candidate,
    started: Instant,
    fence: Fence,
    telemetry: Telemetry,
    recorder: EventRecorder,
    standing: Standing,
}

/// How a term ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// A stop was asked for.
    Stopped,
    /// Somebody else may lead now.
    Lost,
    /// The work ended by itself, which it should not.
    Idle,
}

impl Campaign {
    /// A candidate that has not tried yet. `client` is not held back by any limit.
    #[must_use]
    pub fn new(
        client: Client,
        candidate: Candidate,
        fence: Fence,
        telemetry: Telemetry,
        standing: Standing,
        stop: &Shutdown,
    ) -> Self {
        Self {
            recorder: EventRecorder::start(client.clone(), "pandaemon-controller", stop.clone()),
            lease: Lease::new(client, &candidate),
            elector: Elector::new(candidate.identity.clone(), candidate.pace.lease),
            candidate,
            started: Instant::now(),
            fence,
            telemetry,
            standing,
        }
    }

    /// Runs until a stop is asked for. `work` must have ended all that it does when its future resolves.
    pub async fn run<W, R>(mut self, stop: Shutdown, work: W)
    where
        W: Fn(Shutdown) -> R,
        R: Future<Output = ()> + Send + 'static,
    {
        self.telemetry.leads(&self.candidate.name, false);
        while stop.guard(self.win()).await.is_some() {
            self.tell("became leader");
            self.telemetry.leads(&self.candidate.name, true);
            let term = Shutdown::default();
            let working = pandaemon_runtime::spawn("leading", work(term.clone()));
            let mut working = std::pin::pin!(working);
            let end = tokio::select! {
                () = stop.triggered() => End::Stopped,
                () = self.keep() => End::Lost,
                _ = &mut working => End::Idle,
            };
            // Nothing more is sent; then what is under way ends; then others may lead.
            self.fence.close();
            term.trigger();
            match end {
                End::Stopped => tokio::select! {
                    _ = working => {}
                    // Kept until then, so that nobody else begins.
                    () = self.keep_only() => {}
                },
                End::Lost => drop(working.await),
                End::Idle => tokio::time::sleep(self.candidate.pace.retry).await,
            }
            self.telemetry.leads(&self.candidate.name, false);
            self.tell("stopped leading");
            if end != End::Lost {
                self.release().await;
            }
        }
    }

    /// Tries until the lease is ours.
    async fn win(&mut self) {
        loop {
            let began = tokio::time::Instant::now();
            let attempt = tokio::time::timeout(self.candidate.pace.renew, self.attempt()).await;
            match attempt {
                Ok(Ok(true)) => {
                    self.fence.extend(began + self.candidate.pace.renew);
                    return;
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the lease could not be acquired"),
                Err(_) => tracing::warn!("the lease could not be acquired: no answer"),
            }
            let retry = self.candidate.pace.retry;
            // Up to JITTER times as long again, as client-go: candidates do not try in step.
            let quarter = jittered(retry).saturating_sub(retry);
            tokio::time::sleep(retry + quarter.mul_f64(4.0 * JITTER)).await;
        }
    }

    /// Renews the lease; returns when it may be somebody else's.
    async fn keep(&mut self) {
        let pace = self.candidate.pace;
        let mut sure_until = self
            .fence
            .deadline()
            .unwrap_or_else(tokio::time::Instant::now);
        loop {
            let pause = tokio::time::Instant::now() + pace.retry;
            tokio::time::sleep_until(pause.min(sure_until)).await;
            let began = tokio::time::Instant::now();
            if began >= sure_until {
                tracing::error!("leadership lost: the lease could not be renewed in time");
                return;
            }
            match tokio::time::timeout_at(sure_until, self.attempt()).await {
                Ok(Ok(true)) => {
                    sure_until = began + pace.renew;
                    self.fence.extend(sure_until);
                }
                Ok(Ok(false)) if !self.elector.is_leader() => {
                    tracing::error!(leader = self.elector.leader(), "leadership lost");
                    return;
                }
                // A conflict with an own renewal whose reply was lost: reading the lease will tell.
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the lease could not be renewed"),
                Err(_) => {}
            }
        }
    }

    /// Renews the lease without opening the fence again.
    async fn keep_only(&mut self) {
        loop {
            tokio::time::sleep(self.candidate.pace.retry).await;
            if !matches!(self.attempt().await, Ok(true)) {
                return;
            }
        }
    }

    /// One attempt to take or renew the lease.
    async fn attempt(&mut self) -> kube::Result<bool> {
        let seen = self.lease.read(&self.elector).await?;
        let step = self
            .elector
            .decide(seen.as_ref(), self.started.elapsed(), Timestamp::now());
        let written = match step {
            Step::Wait => None,
            Step::Create(record) => self.lease.create(record).await?,
            Step::Update(record) => self.lease.update(record).await?,
        };
        self.standing.hear();
        let won = written.is_some();
        if let Some(record) = written {
            self.elector.saw(record, self.started.elapsed());
        }
        let leader = self.elector.leader().unwrap_or_default();
        let mut known = self.standing.0.lock();
        if known.leader != leader {
            tracing::info!(leader, lease = self.candidate.name, "leader");
            leader.clone_into(&mut known.leader);
        }
        Ok(won)
    }

    async fn release(&mut self) {
        let Some(record) = self.elector.release(Timestamp::now()) else {
            return;
        };
        let patience = self.candidate.pace.renew;
        match tokio::time::timeout(patience, self.lease.update(record)).await {
            Ok(Ok(Some(record))) => self.elector.saw(record, self.started.elapsed()),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be released"),
            Err(_) => tracing::warn!("the lease could not be released: no answer"),
        }
    }

    fn tell(&self, what: &str) {
        let about = ObjectReference {
            api_version: "coordination.k8s.io/v1".to_owned(),
            kind: "Lease".to_owned(),
            namespace: self.candidate.namespace.clone(),
            name: self.candidate.name.clone(),
            uid: self.lease.uid.clone(),
            resource_version: String::new(),
        };
        let message = format!("{} {what}", self.candidate.identity);
        tracing::info!(lease = self.candidate.name, "{message}");
        self.recorder
            .event(&about, EventType::Normal, "LeaderElection", message);
    }
}

// === the object ===

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    metadata: serde_json::Map<String, serde_json::Value>,
    spec: Record,
}

impl Object {
    fn meta(&self, field: &str) -> &str {
        let value = self.metadata.get(field);
        value.and_then(|value| value.as_str()).unwrap_or_default()
    }
}

struct Lease {
    client: Client,
    collection: String,
    name: String,
    uid: String,
    /// As the server has it, as far as we know; none: it must be read.
    known: Option<Object>,
}

impl Lease {
    fn new(client: Client, candidate: &Candidate) -> Self {
        let namespace = &candidate.namespace;
        Self {
            client,
            collection: format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"),
            name: candidate.name.clone(),
            uid: String::new(),
            known: None,
        }
    }

    /// The lease: as we wrote it last (then a write tells whether that is still so), or as the server has it.
    async fn read(&mut self, elector: &Elector) -> kube::Result<Option<Record>> {
        let ours = |object: &Object| Some(object.spec.holder()) == elector.leader();
        if let Some(object) = self.known.as_ref().filter(|object| ours(object))
            && object.spec.holder() == elector.identity
        {
            return Ok(Some(object.spec.clone()));
        }
        let path = format!("{}/{}", self.collection, self.name);
        match self.send::<Object>(Method::GET, &path, None).await {
            Ok(object) => Ok(Some(self.learn(object))),
            Err(error) if errors::is_not_found(&error) => {
                self.known = None;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the lease; nothing if somebody else was faster.
    async fn create(&mut self, record: Record) -> kube::Result<Option<Record>> {
        let body = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": self.name}, "spec": record,
        });
        let collection = self.collection.clone();
        let answer = self.send(Method::POST, &collection, Some(body)).await;
        self.settle(answer)
    }

    /// Writes the lease; nothing if somebody else has changed it meanwhile.
    async fn update(&mut self, record: Record) -> kube::Result<Option<Record>> {
        let Some(object) = self.known.clone() else {
            return Ok(None);
        };
        let body = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": object.metadata, "spec": record,
        });
        let path = format!("{}/{}", self.collection, self.name);
        let answer = self.send(Method::PUT, &path, Some(body)).await;
        self.settle(answer)
    }

    fn settle(&mut self, answer: kube::Result<Object>) -> kube::Result<Option<Record>> {
        match answer {
            Ok(object) => Ok(Some(self.learn(object))),
            Err(error) => {
                // Whatever we believed about the lease may be wrong.
                self.known = None;
                if errors::is_conflict(&error) {
                    Ok(None)
                } else {
                    Err(error)
                }
            }
        }
    }

    fn learn(&mut self, object: Object) -> Record {
        object.meta("uid").clone_into(&mut self.uid);
        let record = object.spec.clone();
        self.known = Some(object);
        record
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> kube::Result<T> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.into_bytes())
            .map_err(kube::Error::HttpError)?;
        self.client.request(request).await
    }
}
