//! The entries that an update starts from: those of the stored object or those in the request.

use serde_json::Value;

use super::entry::{self, Entry};

/// Where the entries of an update come from.
pub(super) enum InitialEntries {
    /// The stored object.
    Stored,
    /// The request, which changed or reset them.
    FromRequest(Vec<Entry>),
}

impl InitialEntries {
    /// A request with no, unchanged or malformed `managedFields` leaves the stored ones in place,
    /// and so does every write to a subresource. `[]` and `[{}]` reset them.
    pub(super) fn of(stored: Option<&Value>, sent: Option<&Value>, subresource: &str) -> Self {
        let Some(list) = sent.filter(|sent| Some(*sent) != stored && subresource.is_empty()) else {
            return Self::Stored;
        };
        let is_reset = match list.as_array().map(Vec::as_slice) {
            Some([]) => true,
            Some([Value::Object(only)]) => only.values().all(|v| v.is_null() || v == ""),
            Some(_) | None => false,
        };
        match entry::decode(Some(list)) {
            _ if is_reset => Self::FromRequest(Vec::new()),
            Some(entries) if !entries.is_empty() => Self::FromRequest(entries),
            Some(_) | None => Self::Stored,
        }
    }
}
