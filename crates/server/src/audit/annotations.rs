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

    /// Whether there is an event that they are for.
    pub(crate) const fn are_collected(&self) -> bool {
        self.0.is_some()
    }

    /// Adds an annotation. The first value of a key stays, as upstream.
    pub(crate) fn add(&self, key: &str, value: &str) {
        if let Some(all) = &self.0 {
            let mut all = all.lock();
            all.entry(key.to_owned())
                .or_insert_with(|| value.to_owned());
        }
    }

    /// Adds several annotations.
    pub(crate) fn add_all(&self, annotations: &BTreeMap<String, String>) {
        for (key, value) in annotations {
            self.add(key, value);
        }
    }

    /// All annotations so far.
    pub(crate) fn all(&self) -> BTreeMap<String, String> {
        self.0
            .as_ref()
            .map(|all| all.lock().clone())
            .unwrap_or_default()
    }
}
