//! Metrics of the DaemonSet controller, under upstream's names where upstream has them.

use std::{
    sync::atomic::{AtomicI64, AtomicU64},
    time::{Duration, Instant},
};

use http::{Method, Request, StatusCode};
use kube::client::Body;
use pandaemon_client::list_watch::ListWatchMetrics;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};

/// client-go's buckets of request durations, in seconds.
const REQUESTS: [f64; 14] = [
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0,
];
/// Buckets of the time of one plan, in seconds.
const PLANS: [f64; 10] = [
    0.00001, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Label(String);

impl EncodeLabelValue for Label {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.as_str().encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    code: Label,
    method: Label,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verb {
    verb: Label,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    name: Label,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    action: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone)]
struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// The metrics of the DaemonSet controller; clones share them.
#[derive(Debug, Clone)]
pub struct ControllerMetrics {
    requests: Family<Answer, Counter>,
    durations: Family<Verb, Histogram, Buckets>,
    request_wait: Histogram,
    limit: Gauge<i64, AtomicI64>,
    leader: Family<Name, Gauge>,
    actions: Family<Outcome, Counter>,
    deleted: Family<Reason, Counter>,
    plans: Histogram,
    under_way: Gauge<i64, AtomicI64>,
    sets: Gauge<i64, AtomicI64>,
    nodes: Gauge<i64, AtomicI64>,
    pods: Gauge<i64, AtomicI64>,
    events: Counter<u64, AtomicU64>,
    /// What the list-watches count.
    pub list_watches: ListWatchMetrics,
}

impl Default for ControllerMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(Buckets(&REQUESTS)),
            request_wait: Histogram::new(REQUESTS),
            limit: Gauge::default(),
            leader: Family::default(),
            actions: Family::default(),
            deleted: Family::default(),
            plans: Histogram::new(PLANS),
            under_way: Gauge::default(),
            sets: Gauge::default(),
            nodes: Gauge::default(),
            pods: Gauge::default(),
            events: Counter::default(),
            list_watches: ListWatchMetrics::default(),
        }
    }
}

impl ControllerMetrics {
    /// Registers all metrics.
    pub fn register(&self, registry: &mut Registry) {
        self.list_watches.register(registry);
        registry.register(
            "rest_client_requests",
            "Number of HTTP requests, partitioned by status code and method",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "rest_client_request_duration",
            "Request latency in seconds, broken down by verb",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register_with_unit(
            "rest_client_rate_limiter_duration",
            "How long requests were held back in this process, in seconds",
            Unit::Seconds,
            self.request_wait.clone(),
        );
        registry.register(
            "leader_election_master_status",
            "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master",
            self.leader.clone(),
        );
        self.register_planner(registry.sub_registry_with_prefix("pandaemon_daemonset"));
    }

    fn register_planner(&self, registry: &mut Registry) {
        registry.register("actions", "Actions carried out", self.actions.clone());
        registry.register(
            "pods_deleted",
            "Pods whose deletion was asked for, by reason",
            self.deleted.clone(),
        );
        registry.register("events", "Changes taken in", self.events.clone());
        registry.register_with_unit(
            "plan_duration",
            "How long planning took",
            Unit::Seconds,
            self.plans.clone(),
        );
        let gauges = [
            (
                "requests_limit",
                "Changes that may be under way at once, as found out",
                &self.limit,
            ),
            (
                "actions_under_way",
                "Actions whose outcome is not known yet",
                &self.under_way,
            ),
            ("sets", "DaemonSets known", &self.sets),
            ("nodes", "Nodes known", &self.nodes),
            ("pods", "Pods known", &self.pods),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
    }

    /// Starts to measure a request.
    pub(crate) fn sending(&self, request: &Request<Body>) -> Sent<'_> {
        let watch = request
            .uri()
            .query()
            .is_some_and(|query| query.contains("watch="));
        Sent {
            metrics: self,
            method: request.method().clone(),
            verb: if watch { "WATCH" } else { "" },
            since: Instant::now(),
        }
    }

    /// Counts how long a request waited in this process.
    pub(crate) fn request_waited(&self, wait: Duration) {
        self.request_wait.observe(wait.as_secs_f64());
    }

    /// Sets the concurrency limit.
    pub(crate) fn set_request_limit(&self, limit: usize) {
        self.limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    /// Notes whether this process leads.
    pub(crate) fn set_leader(&self, lease: &str, leads: bool) {
        let labels = Name {
            name: Label(lease.to_owned()),
        };
        self.leader.get_or_create(&labels).set(i64::from(leads));
    }

    /// Counts a plan and its time.
    pub(crate) fn planned(&self, took: Duration) {
        self.plans.observe(took.as_secs_f64());
    }

    /// Counts events that the planner has observed.
    pub(crate) fn observed(&self, events: usize) {
        self.events.inc_by(u64::try_from(events).unwrap_or(0));
    }

    /// Sets the numbers of DaemonSets, nodes and pods that the planner knows.
    pub(crate) fn knows(&self, [sets, nodes, pods]: [usize; 3]) {
        for (gauge, number) in [(&self.sets, sets), (&self.nodes, nodes), (&self.pods, pods)] {
            gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        }
    }

    /// Counts an action as under way until the returned value is dropped.
    pub(crate) fn under_way(&self) -> UnderWay {
        self.under_way.inc();
        UnderWay(self.under_way.clone())
    }

    /// Counts an action that has ended, by its result.
    pub(crate) fn acted(&self, action: &'static str, ok: bool) {
        let result = if ok { "success" } else { "error" };
        self.actions
            .get_or_create(&Outcome { action, result })
            .inc();
    }

    /// Counts a deletion of a pod, by its reason.
    pub(crate) fn deleting(&self, reason: &'static str) {
        self.deleted.get_or_create(&Reason { reason }).inc();
    }
}

/// A request under way, and when it was sent.
#[derive(Debug)]
pub(crate) struct Sent<'a> {
    metrics: &'a ControllerMetrics,
    method: Method,
    verb: &'static str,
    since: Instant,
}

impl Sent<'_> {
    /// Counts the answer; `None`: there was none.
    pub(crate) fn answered(self, status: Option<StatusCode>) {
        let code = status.map_or_else(|| "<error>".to_owned(), |code| code.as_str().to_owned());
        let method = Label(self.method.as_str().to_owned());
        let verb = match self.verb {
            "" => method.clone(),
            verb => Label(verb.to_owned()),
        };
        let code = Label(code);
        let labels = Answer { code, method };
        self.metrics.requests.get_or_create(&labels).inc();
        let durations = self.metrics.durations.get_or_create(&Verb { verb });
        durations.observe(self.since.elapsed().as_secs_f64());
    }
}

/// An action under way; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay(Gauge<i64, AtomicI64>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}
