//! The annotations of an event: what the parts of the server say about a request.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

/// The annotations of a request's event. Clones share them; without an event they are dropped.
#[derive(Debug, Clone, Default)]
pub(crate) struct Annotations(Option<Arc<Mutex<BTreeMap<String, String>>>>);

impl Annotations {
    /// Empty annotations of an event.
    pub(super) fn collected() -> Self {
        Self(Some(Arc::default()))
    }

    /// Adds an annotation. The first value of a key stays, as upstream.
    pub(crate) fn add(&self, key: &str, value: &str) {
        if let Some(all) = &self.0 {
            let mut all = all.lock();
            all.entry(key.to_owned())
                .or_insert_with(|| value.to_owned());
        }
    }

    /// All annotations so far.
    pub(super) fn all(&self) -> BTreeMap<String, String> {
        self.0
            .as_ref()
            .map(|all| all.lock().clone())
            .unwrap_or_default()
    }
}
