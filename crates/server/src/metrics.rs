//! Metrics of the server, under upstream's names where upstream has them.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::atomic::AtomicU64,
    time::Duration,
};

use pandaemon_machinery::KindRef;
use pandaemon_runtime::metrics::Metrics;
use prometheus_client::{
    encoding::{EncodeLabelSet, LabelSetEncoder},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
};

use crate::cache::watch_cache::WatchCache;

/// The labels of a request. The kind lends its names, so that no request allocates them.
#[derive(Debug, Clone)]
pub(crate) struct RequestLabels {
    /// The verb, `other` for a method that is not allowed.
    pub verb: &'static str,
    /// The kind; `None` for non-resource paths and unknown resources.
    kind: Option<KindRef>,
    /// The place of the subresource among those of the kind.
    subresource: Option<usize>,
}

impl RequestLabels {
    /// The labels of a request to a kind, or to a subresource of it.
    #[must_use]
    pub(crate) fn new(
        verb: &'static str,
        kind: Option<KindRef>,
        subresource: Option<&str>,
    ) -> Self {
        let place = kind.as_ref().zip(subresource).and_then(|(kind, name)| {
            let mut known = kind.subresources.iter();
            known.position(|known| known.name == name)
        });
        Self {
            verb,
            kind,
            subresource: place,
        }
    }

    /// The plural name of the resource.
    #[must_use]
    pub(crate) fn resource(&self) -> &str {
        self.kind.as_ref().map_or("", |kind| &kind.plural)
    }

    /// The name of the subresource.
    #[must_use]
    pub(crate) fn subresource(&self) -> &str {
        let (kind, place) = (self.kind.as_ref(), self.subresource);
        let known = kind
            .zip(place)
            .and_then(|(kind, place)| kind.subresources.get(place));
        known.map_or("", |known| &known.name)
    }

    /// Names and values, as upstream names them.
    fn pairs(&self) -> [(&'static str, &str); 5] {
        let kind = self.kind.as_ref();
        [
            ("verb", self.verb),
            ("group", kind.map_or("", |kind| &kind.group)),
            ("version", kind.map_or("", |kind| &kind.version)),
            ("resource", self.resource()),
            ("subresource", self.subresource()),
        ]
    }
}

/// Kinds of the same names are equal: one that is served again counts on.
impl PartialEq for RequestLabels {
    fn eq(&self, other: &Self) -> bool {
        self.pairs() == other.pairs()
    }
}

impl Eq for RequestLabels {}

impl Hash for RequestLabels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pairs().hash(state);
    }
}

impl EncodeLabelSet for RequestLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.pairs().encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    resource: String,
}

/// The metrics of the server. Clones share the values.
#[derive(Debug, Clone)]
pub(crate) struct ServerMetrics {
    registry: Metrics,
    requests: Family<(RequestLabels, CodeLabel), Counter>,
    durations: Family<RequestLabels, Histogram, fn() -> Histogram>,
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
                "Requests by verb, resource, subresource and code",
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
    pub(crate) fn observe(&self, labels: RequestLabels, code: u16, took: Duration) {
        let labels = (labels, CodeLabel { code });
        self.durations
            .get_or_create(&labels.0)
            .observe(took.as_secs_f64());
        self.requests.get_or_create(&labels).inc();
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

#[cfg(test)]
mod tests {
    use pandaemon_machinery::scheme;

    use super::*;

    fn daemon_sets() -> KindRef {
        let kind = scheme::built_in().find_resource("apps", "v1", "daemonsets");
        KindRef::clone(kind.unwrap())
    }

    #[test]
    fn requests_have_the_labels_of_upstream() {
        let metrics = ServerMetrics::new(Metrics::default());
        let took = Duration::from_millis(1);
        let status = RequestLabels::new("patch", Some(daemon_sets()), Some("status"));
        metrics.observe(status.clone(), 200, took);
        metrics.observe(status.clone(), 200, took);
        metrics.observe(status, 409, took);
        let unknown = RequestLabels::new("list", Some(daemon_sets()), Some("nothing"));
        metrics.observe(unknown, 404, took);
        metrics.observe(RequestLabels::new("GET", None, Some("status")), 200, took);
        let text = metrics.render().unwrap();
        let names = "group=\"apps\",version=\"v1\",resource=\"daemonsets\"";
        let none = "group=\"\",version=\"\",resource=\"\",subresource=\"\"";
        for line in [
            format!("_total{{verb=\"patch\",{names},subresource=\"status\",code=\"200\"}} 2"),
            format!("_total{{verb=\"patch\",{names},subresource=\"status\",code=\"409\"}} 1"),
            format!("_total{{verb=\"list\",{names},subresource=\"\",code=\"404\"}} 1"),
            format!("_total{{verb=\"GET\",{none},code=\"200\"}} 1"),
            format!("_seconds_count{{verb=\"patch\",{names},subresource=\"status\"}} 3"),
        ] {
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}
