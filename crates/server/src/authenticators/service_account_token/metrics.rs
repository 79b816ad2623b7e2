//! What is counted of tokens, under upstream's names. Upstream: `pkg/serviceaccount/metrics.go`.

use jiff::Timestamp;
use pandaemon_runtime::metrics::Metrics;
use prometheus_client::metrics::counter::Counter;

/// The counters of tokens. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct TokenMetrics {
    /// Legacy tokens with a good signature.
    legacy: Counter,
    /// Tokens of pods that should have been replaced by newer ones.
    stale: Counter,
    /// Tokens of pods that were used before that time.
    valid: Counter,
}

impl TokenMetrics {
    /// Registers new counters.
    pub(crate) fn new(registry: &Metrics) -> Self {
        let new = Self::default();
        registry.with(|registry| {
            for (name, help, counter) in [
                ("legacy", "Legacy service account tokens used", &new.legacy),
                (
                    "stale",
                    "Stale projected service account tokens used",
                    &new.stale,
                ),
                (
                    "valid",
                    "Valid projected service account tokens used",
                    &new.valid,
                ),
            ] {
                let name = format!("serviceaccount_{name}_tokens");
                registry.register(name, help, counter.clone());
            }
        });
        new
    }

    /// Counts a legacy token whose signature is good.
    pub(super) fn count_legacy(&self) {
        self.legacy.inc();
    }

    /// Counts a token of a pod that is valid for longer than its client should use it: until this
    /// second.
    pub(super) fn count(&self, warn_after: Option<i64>, now: Timestamp) {
        let counter = match warn_after {
            Some(0) | None => return,
            Some(end) if now.as_second() > end => &self.stale,
            Some(_) => &self.valid,
        };
        counter.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_stale_after_the_time_of_its_claim() {
        let metrics = TokenMetrics::new(&Metrics::default());
        let now = Timestamp::from_second(1000).unwrap();
        for (warn_after, valid, stale) in [
            (None, 0, 0),
            (Some(0), 0, 0),
            (Some(1000), 1, 0),
            (Some(2000), 2, 0),
            (Some(999), 2, 1),
        ] {
            metrics.count(warn_after, now);
            let found = (metrics.valid.get(), metrics.stale.get());
            assert_eq!(found, (valid, stale), "{warn_after:?}");
        }
        assert_eq!(metrics.legacy.get(), 0);
    }
}
