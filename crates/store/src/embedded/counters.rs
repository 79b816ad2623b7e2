//! Counters, gauges and histograms of the store, for metrics and tests.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

type GaugeU64 = Gauge<u64, AtomicU64>;

/// The metrics of a store. Clones share the values.
#[derive(Debug, Clone)]
pub struct Counters {
    /// Writes acknowledged since the store was opened.
    pub writes: Counter,
    /// Writes whose precondition did not hold.
    pub conflicts: Counter,
    /// Writes that failed because the disk failed or the store closed.
    pub failures: Counter,
    /// Batches synced to disk.
    pub commits: Counter,
    /// Checkpoints completed since the store was opened.
    pub checkpoints: Counter,
    /// Durable writes per synced batch.
    pub batch_size: Histogram,
    /// Duration of fdatasync per batch, in seconds.
    pub sync_seconds: Histogram,
    /// The revision of the newest write.
    pub revision: GaugeU64,
    /// Number of keys.
    pub entries: GaugeU64,
    /// Bytes of keys and values in the current state.
    pub bytes: GaugeU64,
    /// Bytes of log since the last checkpoint.
    pub log_bytes: GaugeU64,
}

impl Default for Counters {
    fn default() -> Self {
        let sizes = (0..13).map(|power| f64::from(1 << power));
        let seconds = (0..15).map(|power| 50e-6 * f64::from(1 << power));
        Self {
            writes: Counter::default(),
            conflicts: Counter::default(),
            failures: Counter::default(),
            commits: Counter::default(),
            checkpoints: Counter::default(),
            batch_size: Histogram::new(sizes),
            sync_seconds: Histogram::new(seconds),
            revision: GaugeU64::default(),
            entries: GaugeU64::default(),
            bytes: GaugeU64::default(),
            log_bytes: GaugeU64::default(),
        }
    }
}

impl Counters {
    /// Registers the metrics under names that begin with `pandaemon_store_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("pandaemon_store");
        registry.register("writes", "Writes acknowledged", self.writes.clone());
        registry.register(
            "conflicts",
            "Writes whose precondition failed",
            self.conflicts.clone(),
        );
        registry.register("failures", "Writes that failed", self.failures.clone());
        registry.register("commits", "Batches synced to disk", self.commits.clone());
        registry.register(
            "checkpoints",
            "Checkpoints completed",
            self.checkpoints.clone(),
        );
        registry.register(
            "batch_size",
            "Durable writes in a batch",
            self.batch_size.clone(),
        );
        let sync = self.sync_seconds.clone();
        registry.register_with_unit("sync", "Duration of fdatasync", Unit::Seconds, sync);
        registry.register("revision", "Current revision", self.revision.clone());
        registry.register("entries", "Number of keys", self.entries.clone());
        registry.register_with_unit(
            "state",
            "Size of keys and values",
            Unit::Bytes,
            self.bytes.clone(),
        );
        let log = self.log_bytes.clone();
        registry.register_with_unit("log", "Log since the last checkpoint", Unit::Bytes, log);
    }

    pub(super) fn synced(&self, writes: usize, took: Duration) {
        self.commits.inc();
        self.batch_size
            .observe(f64::from(u32::try_from(writes).unwrap_or(u32::MAX)));
        self.sync_seconds.observe(took.as_secs_f64());
    }
}
