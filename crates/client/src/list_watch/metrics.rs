//! Counters of list-watches. Upstream: `reflector_*` of client-go.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Names the collection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    path: String,
}

/// What is counted of all list-watches of a client; clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct ListWatchMetrics {
    lists: Family<Labels, Counter>,
    watches: Family<Labels, Counter>,
    failures: Family<Labels, Counter>,
    stale: Family<Labels, Counter>,
    skipped: Family<Labels, Counter>,
}

impl ListWatchMetrics {
    /// Registers the counters.
    pub fn register(&self, registry: &mut Registry) {
        let help = "List requests, pages not counted";
        registry.register("reflector_lists", help, self.lists.clone());
        let help = "Watch requests";
        registry.register("reflector_watches", help, self.watches.clone());
        let help = "Lists and watches that failed";
        registry.register("reflector_failures", help, self.failures.clone());
        let help = "Watch events ignored because a later state of the object had been delivered";
        registry.register("reflector_stale_events", help, self.stale.clone());
        let help = "Objects skipped because they could not be decoded";
        registry.register("reflector_skipped_objects", help, self.skipped.clone());
    }

    /// The counters of one collection.
    pub(super) fn of(&self, path: &str) -> Counters {
        let labels = Labels {
            path: path.to_owned(),
        };
        let counter = |family: &Family<Labels, Counter>| family.get_or_create(&labels).clone();
        Counters {
            lists: counter(&self.lists),
            watches: counter(&self.watches),
            failures: counter(&self.failures),
            stale: counter(&self.stale),
            skipped: counter(&self.skipped),
        }
    }
}

/// The counters of one collection.
#[derive(Debug, Clone)]
pub(super) struct Counters {
    pub(super) lists: Counter,
    pub(super) watches: Counter,
    pub(super) failures: Counter,
    pub(super) stale: Counter,
    pub(super) skipped: Counter,
}
