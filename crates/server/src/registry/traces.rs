//! What the admission of a pod leaves beside the object.

use std::collections::BTreeMap;

use prometheus_client::metrics::counter::Counter;

use super::Call;

/// The annotations of the event in the audit log, and what was counted. A pod that is created from
/// the template of another leaves the same.
#[derive(Debug)]
pub(super) struct Traces {
    annotations: BTreeMap<String, String>,
    counted: Vec<Counter>,
}

impl Traces {
    /// Those of a call.
    pub(super) fn of(call: &Call) -> Self {
        Self {
            annotations: call.annotations.all(),
            counted: call.counted.all(),
        }
    }

    /// Leaves them for another call.
    pub(super) fn leave(&self, call: &Call) {
        call.annotations.add_all(&self.annotations);
        for counter in &self.counted {
            counter.inc();
        }
    }
}
