//! Cells that rows of many kinds have.

use serde_json::{Value, json};

use super::age;
use crate::json_fields::ReadFields;

/// The time of the request, for ages.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub(super) now_seconds: i64,
}

/// The cell with the name of the object.
pub(super) fn name(object: &Value) -> Value {
    object["metadata"]["name"].clone()
}

impl Clock {
    /// A request at this time in seconds since 1970.
    pub(super) const fn at(now_seconds: i64) -> Self {
        Self { now_seconds }
    }

    /// How long ago an RFC 3339 time was, such as `5m10s`; `<unknown>` if it is no time.
    pub(super) fn since(self, time: &str) -> String {
        age::since(time, self.now_seconds)
    }

    /// The cell with the age of the object.
    pub(super) fn age(self, object: &Value) -> Value {
        self.since(object["metadata"].text("creationTimestamp"))
            .into()
    }
}

/// Kinds without a printer of their own. The second cell is a date, which the client shows as an
/// age.
pub(crate) fn other(object: &Value, _clock: Clock) -> Vec<Value> {
    vec![
        name(object),
        json!(object["metadata"].text("creationTimestamp")),
    ]
}
