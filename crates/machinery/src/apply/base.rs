//! Which entries of `managedFields` an update starts from: those that are stored, or those that came with it.

use serde_json::Value;

use super::managers::{self, Entry};

/// Where the entries of an update start from.
pub(super) enum Base {
    /// From those of the stored object.
    Stored,
    /// From those that the client sent.
    Sent(Vec<Entry>),
}

impl Base {
    /// A client that sends no or malformed `managedFields` does not know about them: it keeps what is
    /// stored, and so does every write to a subresource.
    pub(super) fn of(stored: Option<&Value>, sent: Option<&Value>, subresource: &str) -> Self {
        let Some(list) = sent.filter(|sent| Some(*sent) != stored && subresource.is_empty()) else {
            return Self::Stored;
        };
        let is_reset = match list.as_array().map(Vec::as_slice) {
            Some([]) => true,
            Some([Value::Object(only)]) => only.is_empty(),
            Some(_) | None => false,
        };
        match managers::decode(Some(list)) {
            _ if is_reset => Self::Sent(Vec::new()),
            Some(entries) if !entries.is_empty() => Self::Sent(entries),
            Some(_) | None => Self::Stored,
        }
    }
}
