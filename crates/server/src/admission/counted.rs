//! The counters that plugins increase for a request.

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;

/// The counters that plugins have increased for a call, so that a pod that is created from the
/// template of another counts as that one did. A clone of a call counts for itself.
#[derive(Debug, Default)]
pub(crate) struct Counted(Mutex<Vec<Counter>>);

impl Counted {
    /// Forgets them: the call is admitted from the start.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    /// Increases a counter.
    pub(super) fn count(&self, counter: Counter) {
        counter.inc();
        self.0.lock().push(counter);
    }

    /// The counters so far.
    pub(crate) fn all(&self) -> Vec<Counter> {
        self.0.lock().clone()
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Self::default()
    }
}
