//! Metrics of the server, under upstream's names where upstream has them.

use std::{fmt, sync::atomic::AtomicU64, time::Duration};

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

use crate::watch_cache::WatchCache;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    resource: String,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: &'static str,
    resource: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    resource: String,
}

/// The metrics of the server. Clones share the values.
#[derive(Debug, Clone)]
pub(crate) struct ServerMetrics {
    registry: Metrics,
    requests: Family<RequestLabels, Counter>,
    durations: Family<VerbLabels, Histogram, fn() -> Histogram>,
    watchers: Family<KindLabels, Gauge>,
    objects: Family<KindLabels, Gauge>,
    revision: Gauge<i64>,
    memory: Gauge<u64, AtomicU64>,
}

fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}

impl ServerMetrics {
    /// Creates the metrics and registers them.
    #[must_use]
    pub(crate) fn new(registry: Metrics) -> Self {
        let new = Self {
            registry,
            requests: Family::default(),
            durations: Family::new_with_constructor(histogram),
            watchers: Family::default(),
            objects: Family::default(),
            revision: Gauge::default(),
            memory: Gauge::default(),
        };
        new.registry.with(|r| {
            r.register(
                "apiserver_request",
                "Requests by verb, resource and code",
                new.requests.clone(),
            );
            r.register(
                "apiserver_request_duration_seconds",
                "Time until the head of the response",
                new.durations.clone(),
            );
            r.register(
                "apiserver_registered_watchers",
                "Open watches",
                new.watchers.clone(),
            );
            r.register(
                "apiserver_storage_objects",
                "Stored objects",
                new.objects.clone(),
            );
            r.register(
                "pandaemon_server_revision",
                "Applied revision of the watch cache",
                new.revision.clone(),
            );
            r.register(
                "process_resident_memory_bytes",
                "Resident memory",
                new.memory.clone(),
            );
        });
        new
    }

    /// Counts a request and records its duration.
    pub(crate) fn observe(&self, verb: &'static str, resource: &str, code: u16, took: Duration) {
        let resource = resource.to_owned();
        let labels = VerbLabels {
            verb,
            resource: resource.clone(),
        };
        self.durations
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
        self.requests
            .get_or_create(&RequestLabels {
                verb,
                resource,
                code,
            })
            .inc();
    }

    /// Updates the gauges that are sampled when metrics are read.
    pub(crate) fn sample(&self, cache: &WatchCache) {
        for (resource, kind) in cache.all() {
            let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
            let labels = KindLabels { resource };
            self.watchers
                .get_or_create(&labels)
                .set(count(kind.watchers()));
            self.objects.get_or_create(&labels).set(count(kind.count()));
        }
        self.revision
            .set(i64::try_from(cache.revision()).unwrap_or(i64::MAX));
        if let Some(bytes) = resident_bytes() {
            self.memory.set(bytes);
        }
    }

    /// All metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// When a collector fails to encode.
    pub(crate) fn render(&self) -> Result<String, fmt::Error> {
        self.registry.render()
    }
}

/// Resident memory of this process in bytes, from `/proc/self/status`.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}
