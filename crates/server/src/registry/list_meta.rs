//! The metadata of lists.

use pandaemon_store::Revision;
use serde_json::{Value, json};

/// The metadata of a list (`ListMeta`).
#[derive(Debug, Clone, Default)]
pub(crate) struct ListMeta {
    /// The revision of the list.
    pub resource_version: String,
    /// The continue token of the next page.
    pub next: Option<String>,
    /// The number of objects after this page, if known.
    pub remaining: Option<u64>,
}

impl ListMeta {
    /// The metadata of a complete list at this revision.
    #[must_use]
    pub(crate) fn at(revision: Revision) -> Self {
        Self {
            resource_version: revision.to_string(),
            ..Self::default()
        }
    }

    /// The encoded metadata.
    pub(crate) fn value(&self) -> Value {
        let mut meta = json!({"resourceVersion": self.resource_version});
        if let Some(token) = &self.next {
            meta["continue"] = token.as_str().into();
        }
        if let Some(count) = self.remaining {
            meta["remainingItemCount"] = count.into();
        }
        meta
    }
}
