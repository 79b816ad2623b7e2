//! The request gate: makes requests wait for the concurrency limit and the rate cap, refuses
//! changes of a process that does not lead, and repeats requests after 429.
//!
//! [`RequestGate::client`] puts the gate before a client. Watches and pages of lists do not wait:
//! they are few, and everything else depends on them. The requests of the leader election do not go
//! through the gate.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, Method, Request, Response, StatusCode, header::RETRY_AFTER};
use kube::{Client, client::Body};
use pandaemon_client::backoff::{Backoff, jittered};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tower::BoxError;

use super::{
    concurrency::{Bounds, ConcurrencyLimiter, Outcome},
    token_bucket::TokenBucket,
};
use crate::{leader_election::fence::Fence, metrics::ControllerMetrics};

/// A request without an answer is given up after so long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a request is sent that is answered with 429; client-go does as often.
const ATTEMPTS: u32 = 10;
/// The wait after a 429 without `Retry-After`.
const DEFAULT_RETRY: Backoff = Backoff {
    min: Duration::from_millis(100),
    max: Duration::from_secs(5),
};

/// A request had no answer in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
struct NoAnswer(Duration);

/// The priority of a request: of two waiting requests, the one with the smaller number is sent
/// first. It is an extension of the HTTP request; a request without one has the lowest priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestPriority(pub u8);

impl RequestPriority {
    const LOWEST: Self = Self(u8::MAX);
}

/// Makes requests wait for their turn; clones share the limits.
#[derive(Debug, Clone)]
pub struct RequestGate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<GateState>,
    started: Instant,
    fence: Fence,
    metrics: ControllerMetrics,
    /// A slot is free, or a request waits, or the gate is gone.
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct GateState {
    limiter: ConcurrencyLimiter,
    cap: Option<TokenBucket>,
    /// Waiting requests by priority and arrival.
    waiting: BTreeMap<(RequestPriority, u64), oneshot::Sender<Slot>>,
    arrivals: u64,
}

impl GateState {
    /// When the next request may begin, which is `now` or later; `None`: not before one ends.
    fn opens_at(&self, now: Duration) -> Option<Duration> {
        let paused = self.limiter.paused_until(now).unwrap_or(now);
        let capped = self.cap.as_ref().map_or(now, |cap| cap.ready_at(now));
        self.limiter.has_room().then(|| paused.max(capped))
    }

    fn begin(&mut self, now: Duration) {
        if let Some(cap) = &mut self.cap {
            cap.take(now);
        }
        self.limiter.begin(now);
    }

    /// Whether a request waits; removes those at the front that were given up.
    fn has_waiting(&mut self) -> bool {
        while let Some(first) = self.waiting.first_entry() {
            if !first.get().is_closed() {
                return true;
            }
            first.remove();
        }
        false
    }
}

/// The right to have one request under way.
#[derive(Debug)]
struct Slot {
    gate: Arc<Inner>,
    outcome: Outcome,
    began: Instant,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let now = self.gate.started.elapsed();
        let took = self.began.elapsed();
        let limit = {
            let mut state = self.gate.state.lock();
            state.limiter.end(now, took, self.outcome);
            state.limiter.limit()
        };
        self.gate.metrics.set_request_limit(limit);
        self.gate.changed.notify_one();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

impl RequestGate {
    /// A gate with nothing under way. Starts a task, so it must be called in a runtime.
    #[must_use]
    pub fn new(
        bounds: Bounds,
        cap: Option<TokenBucket>,
        fence: Fence,
        metrics: ControllerMetrics,
    ) -> Self {
        let state = GateState {
            limiter: ConcurrencyLimiter::new(bounds),
            cap,
            waiting: BTreeMap::new(),
            arrivals: 0,
        };
        let inner = Arc::new(Inner {
            state: Mutex::new(state),
            started: Instant::now(),
            fence,
            metrics,
            changed: Arc::default(),
        });
        let (gate, changed) = (Arc::downgrade(&inner), Arc::clone(&inner.changed));
        pandaemon_runtime::spawn("request gate", async move {
            while let Some(inner) = gate.upgrade() {
                let wait = inner.admit();
                drop(inner);
                tokio::select! {
                    () = changed.notified() => {}
                    () = sleep(wait) => {}
                }
            }
        });
        Self(inner)
    }

    /// A client whose requests go through the gate and then through `inner`.
    #[must_use]
    pub fn client(&self, inner: Client) -> Client {
        let namespace = inner.default_namespace().to_owned();
        let gate = Arc::clone(&self.0);
        let service = tower::service_fn(move |request| {
            let (gate, inner) = (Arc::clone(&gate), inner.clone());
            async move { gate.send(&inner, request).await }
        });
        Client::new(service, namespace)
    }

    /// The present concurrency limit.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.state.lock().limiter.limit()
    }
}

/// What the gate does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Watches and pages of lists do not wait.
    Stream,
    /// Reads of one object wait for their turn.
    Read,
    /// Changes wait for their turn, and are refused unless this process leads.
    Change,
}

fn class(request: &Request<Body>) -> Class {
    let query = request.uri().query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|pair| pair.starts_with(name));
    if *request.method() != Method::GET {
        Class::Change
    } else if has("watch=") || has("limit=") {
        Class::Stream
    } else {
        Class::Read
    }
}

impl Inner {
    async fn send(
        self: &Arc<Self>,
        inner: &Client,
        request: Request<Body>,
    ) -> Result<Response<Body>, BoxError> {
        let class = class(&request);
        if class == Class::Stream {
            return self.measured(inner, request).await;
        }
        let (parts, body) = request.into_parts();
        let priority = parts.extensions.get::<RequestPriority>().copied();
        let priority = priority.unwrap_or(RequestPriority::LOWEST);
        let body = body.collect_bytes().await?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let request = Request::from_parts(parts.clone(), Body::from(body.clone()));
            let mut slot = self.turn(priority).await;
            if class == Class::Change {
                self.fence.check()?;
            }
            slot.began = Instant::now();
            let timeout = self.timeout(class);
            let answer = async {
                let answer = self.measured(inner, request).await?;
                // A body that never ends counts as no answer.
                let (parts, body) = answer.into_parts();
                let body = body.collect_bytes().await?;
                Ok(Response::from_parts(parts, Body::from(body)))
            };
            let answer = tokio::time::timeout(timeout, answer).await;
            let answer = answer.unwrap_or_else(|_| Err(NoAnswer(timeout).into()));
            let throttled = match &answer {
                Ok(answer) if answer.status() == StatusCode::TOO_MANY_REQUESTS => {
                    let wait = retry_after(answer.headers());
                    let wait = wait.unwrap_or_else(|| DEFAULT_RETRY.delay(attempt));
                    slot.outcome = Outcome::Throttled(Some(jittered(wait)));
                    true
                }
                Ok(answer) if answer.status().is_server_error() => {
                    slot.outcome = Outcome::Failed;
                    false
                }
                Ok(_) => {
                    slot.outcome = Outcome::Answered;
                    false
                }
                Err(_) => {
                    slot.outcome = Outcome::Failed;
                    false
                }
            };
            drop(slot);
            if !throttled || attempt >= ATTEMPTS {
                return answer;
            }
        }
    }

    /// A change must end before the leadership may; the lease lasts longer than the fence.
    fn timeout(&self, class: Class) -> Duration {
        let left = match (class, self.fence.deadline()) {
            (Class::Change, Some(until)) => until.duration_since(tokio::time::Instant::now()),
            _ => REQUEST_TIMEOUT,
        };
        left.min(REQUEST_TIMEOUT)
    }

    async fn measured(
        &self,
        inner: &Client,
        request: Request<Body>,
    ) -> Result<Response<Body>, BoxError> {
        let sent = self.metrics.sending(&request);
        let answer = inner.send(request).await;
        sent.answered(answer.as_ref().ok().map(Response::status));
        Ok(answer?)
    }

    /// Waits for a slot, for the cap and for the end of a `Retry-After`.
    async fn turn(self: &Arc<Self>, priority: RequestPriority) -> Slot {
        let asked = Instant::now();
        loop {
            let turn = {
                let now = self.started.elapsed();
                let mut state = self.state.lock();
                if state.waiting.is_empty() && state.opens_at(now) == Some(now) {
                    state.begin(now);
                    drop(state);
                    return self.slot();
                }
                let (sender, turn) = oneshot::channel();
                state.arrivals += 1;
                let place = (priority, state.arrivals);
                state.waiting.insert(place, sender);
                turn
            };
            self.changed.notify_one();
            // The sender is dropped only with the gate.
            if let Ok(slot) = turn.await {
                self.metrics.request_waited(asked.elapsed());
                return slot;
            }
        }
    }

    fn slot(self: &Arc<Self>) -> Slot {
        Slot {
            gate: Arc::clone(self),
            outcome: Outcome::Abandoned,
            began: Instant::now(),
        }
    }

    /// Gives slots to waiting requests by priority and arrival. Returns how long to wait before the
    /// next one may begin; `None`: until something changes.
    fn admit(self: &Arc<Self>) -> Option<Duration> {
        loop {
            let sender = {
                let now = self.started.elapsed();
                let mut state = self.state.lock();
                let opens_at = state.opens_at(now)?;
                if !state.has_waiting() {
                    return None;
                }
                if opens_at > now {
                    return Some(opens_at.saturating_sub(now));
                }
                let (_, sender) = state.waiting.pop_first()?;
                state.begin(now);
                sender
            };
            // A request that has just been given up drops its slot, which frees it.
            drop(sender.send(self.slot()));
        }
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
#[path = "request_gate_tests.rs"]
mod tests;
