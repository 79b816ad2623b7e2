//! Priority and fairness of requests. Upstream: `k8s.io/apiserver/pkg/util/flowcontrol` and
//! `pkg/server/filters/priority-and-fairness.go`.
//!
//! A request takes seats before it is authorized, and gives them back when its response is sent: a
//! watch when its initial objects are. How many there are is the server's configuration; who gets
//! them is said by FlowSchemas and PriorityLevelConfigurations, which are read from the watch cache
//! as roles are.

mod cost;
mod metrics;

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue};
use pandaemon_flow_control::{
    Arrival, Begun, Dispatcher, FlowSchema, Level, Policy, Refusal, Request, RequestId, Waits,
};
use pandaemon_machinery::{Status, default_flow_control as defaults, scheme, status::Result};
use pandaemon_runtime::metrics::Metrics;
use pandaemon_store::Revision;
use parking_lot::{Mutex, RwLock};
use prometheus_client::metrics::gauge::Gauge;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::oneshot;

pub(crate) use self::cost::{Cost, is_exempt};
use self::metrics::{FlowControlMetrics, SchemaMetrics};
use crate::{
    auth::Attributes,
    cache::watch_cache::{KindCache, WatchCache},
};

/// How long a request may wait for its turn: a quarter of the time that requests may take, as
/// upstream (`getRequestWaitContext`).
const MAX_WAIT: Duration = Duration::from_secs(15);

/// Response headers with the UIDs of the schema and of the level of a request.
const SCHEMA_HEADER: &str = "x-kubernetes-pf-flowschema-uid";
const LEVEL_HEADER: &str = "x-kubernetes-pf-prioritylevel-uid";

/// How many seats a server has: about the requests that are worked on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seats(pub u64);

/// Upstream's defaults of `--max-requests-inflight` and `--max-mutating-requests-inflight`.
impl Default for Seats {
    fn default() -> Self {
        Self(600)
    }
}

/// Decides when requests begin.
pub(crate) struct FlowControl {
    /// FlowSchemas, and PriorityLevelConfigurations; none in a server that does not serve them.
    sources: Option<[Arc<KindCache>; 2]>,
    configured: RwLock<Arc<Configured>>,
    seats: Mutex<State>,
    metrics: FlowControlMetrics,
    started: Instant,
}

impl fmt::Debug for FlowControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FlowControl")
    }
}

/// What the stored objects say.
struct Configured {
    /// The revisions of the last changes of both kinds.
    seen: [Revision; 2],
    policy: Policy,
    /// What belongs to each schema of the policy.
    rows: Vec<Row>,
}

struct Row {
    schema_uid: HeaderValue,
    level_uid: HeaderValue,
    /// The most seats that a request may take.
    max_seats: u64,
    metrics: SchemaMetrics,
}

/// The seats, and those who wait for some.
struct State {
    dispatcher: Dispatcher,
    waiting: HashMap<RequestId, oneshot::Sender<Begun>>,
}

/// When a request begins.
enum Turn {
    Now(Begun),
    Later(Waits, oneshot::Receiver<Begun>),
}

/// What is known of a request that has been classified.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    uids: Option<(HeaderValue, HeaderValue)>,
    /// The seats of the request.
    pub seat: Option<Seat>,
}

impl Admitted {
    /// Adds the headers that say how the request was classified.
    pub(crate) fn add_headers(&self, headers: &mut HeaderMap) {
        if let Some((schema, level)) = &self.uids {
            headers.insert(SCHEMA_HEADER, schema.clone());
            headers.insert(LEVEL_HEADER, level.clone());
        }
    }
}

/// The seats of a request. They are given back when it is dropped.
pub(crate) struct Seat {
    of: Arc<FlowControl>,
    begun: Begun,
    executing: Gauge,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seat")
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.executing.dec();
        let now = self.of.now();
        self.of.seats.lock().finish(&self.begun, now);
    }
}

impl FlowControl {
    /// Flow control of a server with so many seats.
    pub(crate) fn new(cache: &WatchCache, seats: Seats, metrics: &Metrics) -> Arc<Self> {
        let of = |resource: &str| {
            let kind = scheme::built_in().find_resource(defaults::GROUP, "v1", resource)?;
            cache.of(kind)
        };
        let sources = of("flowschemas").zip(of("prioritylevelconfigurations"));
        Arc::new(Self {
            sources: sources.map(<[Arc<KindCache>; 2]>::from),
            configured: RwLock::new(Arc::new(Configured {
                seen: [Revision::MAX; 2],
                policy: Policy::default(),
                rows: Vec::new(),
            })),
            seats: Mutex::new(State {
                dispatcher: Dispatcher::new(seats.0),
                waiting: HashMap::new(),
            }),
            metrics: FlowControlMetrics::new(metrics),
            started: Instant::now(),
        })
    }

    /// The revisions of the last changes of both kinds.
    pub(crate) fn last_changed(&self) -> [Revision; 2] {
        let of = |at: usize| {
            self.sources
                .as_ref()
                .map_or(0, |kinds| kinds[at].last_changed())
        };
        [of(0), of(1)]
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// What the objects say that are visible in the watch cache.
    fn configured(&self) -> Arc<Configured> {
        let configured = Arc::clone(&self.configured.read());
        if configured.seen == self.last_changed() {
            return configured;
        }
        let mut current = self.configured.write();
        if current.seen != self.last_changed() {
            *current = Arc::new(self.configure());
        }
        Arc::clone(&current)
    }

    /// Reads the objects, and divides the seats as they say.
    fn configure(&self) -> Configured {
        let sources = self.sources.as_ref();
        let (schemas_seen, schemas) = objects(sources.map(|kinds| &*kinds[0]));
        let (levels_seen, levels) = objects(sources.map(|kinds| &*kinds[1]));
        // The mandatory ones count from the beginning, and also while they are deleted.
        let schemas = with_mandatory(schemas, &defaults::flow_schemas(), FlowSchema::name);
        let levels = with_mandatory(levels, &defaults::priority_levels(), Level::name);
        let policy = Policy::new(schemas, levels);
        let mut seats = self.seats.lock();
        let begun = seats.dispatcher.configure(policy.levels(), self.now());
        seats.begin(begun, self.now());
        let uid = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
        let rows = policy.schemas().map(|(schema, level)| Row {
            schema_uid: uid(schema.uid()),
            level_uid: uid(level.uid()),
            max_seats: seats.dispatcher.max_seats(level.name()),
            metrics: self.metrics.of(level.name(), schema.name()),
        });
        Configured {
            seen: [schemas_seen, levels_seen],
            rows: rows.collect(),
            policy,
        }
    }

    /// Waits for the turn of a request.
    ///
    /// # Errors
    /// 429 if too many wait, or it has waited too long.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        attributes: &Attributes<'_>,
        cost: Cost<'_>,
        admitted: &mut Admitted,
    ) -> Result<()> {
        let configured = self.configured();
        let request = classified(attributes);
        let Some(flow) = configured.policy.flow_of(&request) else {
            return Ok(());
        };
        let row = &configured.rows[flow.place];
        admitted.uids = Some((row.schema_uid.clone(), row.level_uid.clone()));
        let (level, wanted) = (flow.level.name(), cost.seats(row.max_seats));
        let turn = self
            .seats
            .lock()
            .arrive(level, flow.hash, wanted, self.now());
        let begun = match turn {
            Ok(Turn::Now(begun)) => Ok(begun),
            Ok(Turn::Later(waits, comes)) => self.wait(waits, comes, &row.metrics).await,
            Err(refusal) => Err(refusal),
        };
        let begun = begun.map_err(|refusal| {
            row.metrics.rejected(refusal).inc();
            // Upstream: `tooManyRequests`, which sends the text alone.
            Status::too_many_requests("Too many requests, please try again later.")
        })?;
        row.metrics.dispatched.inc();
        row.metrics.executing.inc();
        admitted.seat = Some(Seat {
            of: Arc::clone(self),
            begun,
            executing: row.metrics.executing.clone(),
        });
        Ok(())
    }

    async fn wait(
        self: &Arc<Self>,
        waits: Waits,
        comes: oneshot::Receiver<Begun>,
        metrics: &SchemaMetrics,
    ) -> Result<Begun, Refusal> {
        let since = Instant::now();
        metrics.waiting.inc();
        let mut place = Place {
            of: self,
            waits: Some(waits),
            comes,
            metrics,
        };
        let turn = tokio::time::timeout(MAX_WAIT, &mut place.comes).await;
        let begun = match turn {
            Ok(Ok(begun)) => {
                place.waits = None;
                Ok(begun)
            }
            Ok(Err(_)) | Err(_) => Err(Refusal::TimeOut),
        };
        metrics.waited(begun.is_ok(), since.elapsed());
        begun
    }

    /// Updates the gauges that are sampled when metrics are read.
    pub(crate) fn sample(&self) {
        let configured = self.configured();
        let seats = self.seats.lock();
        for level in configured.policy.levels() {
            if let Some(usage) = seats.dispatcher.usage(level.name()) {
                self.metrics.sample(level.name(), &usage);
            }
        }
    }
}

impl State {
    /// A request of a flow arrives and needs so many seats.
    fn arrive(
        &mut self,
        level: &str,
        flow: u64,
        seats: u64,
        now: Duration,
    ) -> Result<Turn, Refusal> {
        match self.dispatcher.arrive(level, flow, seats, now) {
            Arrival::Begins(begun) => Ok(Turn::Now(begun)),
            Arrival::Refused(refusal) => Err(refusal),
            Arrival::Waits(waits) => {
                let (turn, comes) = oneshot::channel();
                self.waiting.insert(waits.id, turn);
                let begun = self.dispatcher.begin_waiting(now);
                self.begin(begun, now);
                Ok(Turn::Later(waits, comes))
            }
        }
    }

    /// A request has ended.
    fn finish(&mut self, begun: &Begun, now: Duration) {
        let next = self.dispatcher.finish(begun, now);
        self.begin(next, now);
    }

    /// Tells requests that it is their turn. The seats of those that are gone meanwhile go to the
    /// next.
    fn begin(&mut self, begun: Vec<(RequestId, Begun)>, now: Duration) {
        let mut begun = begun;
        while let Some((id, one)) = begun.pop() {
            let turn = self.waiting.remove(&id);
            let unused = match turn {
                Some(turn) => turn.send(one).err(),
                None => Some(one),
            };
            if let Some(one) = unused {
                begun.extend(self.dispatcher.finish(&one, now));
            }
        }
    }
}

/// The place of a request that waits. Dropped, it waits no longer.
struct Place<'a> {
    of: &'a FlowControl,
    waits: Option<Waits>,
    comes: oneshot::Receiver<Begun>,
    metrics: &'a SchemaMetrics,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.metrics.waiting.dec();
        let Some(waits) = self.waits.take() else {
            return;
        };
        let now = self.of.now();
        let mut seats = self.of.seats.lock();
        seats.waiting.remove(&waits.id);
        let (_, begun) = seats.dispatcher.give_up(waits, now);
        seats.begin(begun, now);
        // Its turn may have come in the last moment.
        if let Ok(begun) = self.comes.try_recv() {
            seats.finish(&begun, now);
        }
    }
}

/// What schemas see of a request.
fn classified<'a>(attributes: &'a Attributes<'_>) -> Request<'a> {
    let who = attributes.user.identity();
    Request {
        user: who.name,
        groups: who.groups,
        verb: attributes.verb,
        is_resource_request: attributes.is_resource_request,
        api_group: attributes.api_group,
        resource: attributes.resource,
        subresource: attributes.subresource,
        namespace: attributes.namespace,
        path: attributes.path,
    }
}

/// The objects of a kind, and the revision of the last change.
fn objects<T: DeserializeOwned>(of: Option<&KindCache>) -> (Revision, Vec<T>) {
    let Some((revision, objects)) = of.map(KindCache::snapshot) else {
        return (0, Vec::new());
    };
    let read = objects.values().filter_map(|object| {
        let value = object.value().map_err(|error| error.to_string());
        let read = value.and_then(|value| T::deserialize(value).map_err(|error| error.to_string()));
        read.inspect_err(|error| {
            tracing::error!(name = object.name(), %error, "an object of flow control is ignored");
        })
        .ok()
    });
    (revision, read.collect())
}

fn with_mandatory<T: DeserializeOwned>(
    mut objects: Vec<T>,
    known: &[Value],
    name: fn(&T) -> &str,
) -> Vec<T> {
    let known = known.iter().filter_map(|value| T::deserialize(value).ok());
    for one in known.filter(|one| defaults::is_mandatory(name(one))) {
        if !objects.iter().any(|object| name(object) == name(&one)) {
            objects.push(one);
        }
    }
    objects
}

#[cfg(test)]
mod tests;
