//! Numbers about the store, for metrics and tests.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

type Level = Gauge<u64, AtomicU64>;

/// What the store counts. Clones share the numbers.
#[derive(Debug, Clone)]
pub struct Counters {
    /// Writes that were acknowledged.
    pub writes: Counter,
    /// Writes whose condition did not hold.
    pub conflicts: Counter,
    /// Writes that the disk refused.
    pub failures: Counter,
    /// Batches that were synced to disk.
    pub commits: Counter,
    /// Checkpoints that were completed.
    pub checkpoints: Counter,
    /// Durable writes in a batch.
    pub batch_size: Histogram,
    /// How long the disk takes to say that a batch is durable.
    pub sync_seconds: Histogram,
    /// The current revision.
    pub revision: Level,
    /// Number of keys.
    pub entries: Level,
    /// Bytes of keys and values in the current state.
    pub bytes: Level,
    /// Bytes of log since the last checkpoint.
    pub log_bytes: Level,
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
            revision: Level::default(),
            entries: Level::default(),
            bytes: Level::default(),
            log_bytes: Level::default(),
        }
    }
}

impl Counters {
    /// Makes the numbers part of a registry, under names that begin with `pandaemon_store_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("pandaemon_store");
        registry.register("writes", "Writes acknowledged", self.writes.clone());
        registry.register(
            "conflicts",
            "Writes whose condition failed",
            self.conflicts.clone(),
        );
        registry.register(
            "failures",
            "Writes that the disk refused",
            self.failures.clone(),
        );
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
        registry.register_with_unit("sync", "Latency of the disk", Unit::Seconds, sync);
        registry.register("revision", "Current revision", self.revision.clone());
        registry.register("entries", "Number of keys", self.entries.clone());
        registry.register_with_unit("state", "Keys and values", Unit::Bytes, self.bytes.clone());
        let log = self.log_bytes.clone();
        registry.register_with_unit("log", "Log since the checkpoint", Unit::Bytes, log);
    }

    pub(super) fn synced(&self, writes: usize, took: Duration) {
        self.commits.inc();
        self.batch_size
            .observe(f64::from(u32::try_from(writes).unwrap_or(u32::MAX)));
        self.sync_seconds.observe(took.as_secs_f64());
    }
}
