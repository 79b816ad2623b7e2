//! Metrics of flow control, under upstream's names.

use std::time::Duration;

use pandaemon_flow_control::{Refusal, Usage};
use pandaemon_runtime::metrics::Metrics;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FlowLabels {
    priority_level: String,
    flow_schema: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExecuteLabel {
    execute: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabel {
    priority_level: String,
}

fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 2.5, 9))
}

/// The metrics of flow control. Clones share the values.
#[derive(Debug, Clone)]
pub(crate) struct FlowControlMetrics {
    dispatched: Family<FlowLabels, Counter>,
    rejected: Family<(FlowLabels, ReasonLabel), Counter>,
    executing: Family<FlowLabels, Gauge>,
    waiting: Family<FlowLabels, Gauge>,
    waits: Family<(FlowLabels, ExecuteLabel), Histogram, fn() -> Histogram>,
    seats: Family<LevelLabel, Gauge>,
    nominal: Family<LevelLabel, Gauge>,
    lower: Family<LevelLabel, Gauge>,
    upper: Family<LevelLabel, Gauge>,
}

impl FlowControlMetrics {
    /// Creates the metrics and registers them.
    pub(crate) fn new(registry: &Metrics) -> Self {
        let new = Self {
            dispatched: Family::default(),
            rejected: Family::default(),
            executing: Family::default(),
            waiting: Family::default(),
            waits: Family::new_with_constructor(histogram),
            seats: Family::default(),
            nominal: Family::default(),
            lower: Family::default(),
            upper: Family::default(),
        };
        registry.with(|r| {
            let name = |end: &str| format!("apiserver_flowcontrol_{end}");
            r.register(
                name("dispatched_requests"),
                "Requests that began",
                new.dispatched.clone(),
            );
            r.register(
                name("rejected_requests"),
                "Requests that were refused",
                new.rejected.clone(),
            );
            r.register(
                name("current_executing_requests"),
                "Requests that hold seats",
                new.executing.clone(),
            );
            r.register(
                name("current_inqueue_requests"),
                "Requests that wait",
                new.waiting.clone(),
            );
            r.register(
                name("request_wait_duration_seconds"),
                "How long requests waited",
                new.waits.clone(),
            );
            r.register(
                name("current_executing_seats"),
                "Seats in use",
                new.seats.clone(),
            );
            r.register(
                name("nominal_limit_seats"),
                "Seats of the level's share",
                new.nominal.clone(),
            );
            r.register(
                name("lower_limit_seats"),
                "Seats that the level does not lend",
                new.lower.clone(),
            );
            r.register(
                name("upper_limit_seats"),
                "Seats with those that the level may borrow",
                new.upper.clone(),
            );
        });
        new
    }

    /// The metrics of a schema.
    pub(super) fn of(&self, level: &str, schema: &str) -> SchemaMetrics {
        let labels = FlowLabels {
            priority_level: level.to_owned(),
            flow_schema: schema.to_owned(),
        };
        SchemaMetrics {
            dispatched: self.dispatched.get_or_create_owned(&labels),
            executing: self.executing.get_or_create_owned(&labels),
            waiting: self.waiting.get_or_create_owned(&labels),
            labels,
            all: self.clone(),
        }
    }

    /// Sets the gauges of a level.
    pub(super) fn sample(&self, level: &str, usage: &Usage) {
        let labels = LevelLabel {
            priority_level: level.to_owned(),
        };
        let set = |family: &Family<LevelLabel, Gauge>, value: u64| {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            family.get_or_create(&labels).set(value);
        };
        set(&self.seats, usage.seats);
        set(&self.nominal, usage.limits.nominal);
        set(&self.lower, usage.limits.lower);
        set(&self.upper, usage.limits.upper);
    }
}

/// The metrics of a schema. Clones share the values.
#[derive(Debug, Clone)]
pub(super) struct SchemaMetrics {
    pub(super) dispatched: Counter,
    pub(super) executing: Gauge,
    pub(super) waiting: Gauge,
    labels: FlowLabels,
    all: FlowControlMetrics,
}

impl SchemaMetrics {
    /// The counter of requests that were refused for a reason.
    pub(super) fn rejected(&self, why: Refusal) -> Counter {
        let labels = (
            self.labels.clone(),
            ReasonLabel {
                reason: why.as_str(),
            },
        );
        self.all.rejected.get_or_create_owned(&labels)
    }

    /// Records how long a request has waited.
    pub(super) fn waited(&self, begins: bool, waited: Duration) {
        let execute = if begins { "true" } else { "false" };
        let labels = (self.labels.clone(), ExecuteLabel { execute });
        let histogram = self.all.waits.get_or_create(&labels);
        histogram.observe(waited.as_secs_f64());
    }
}
