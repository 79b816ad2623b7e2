//! Shared names and label sets.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::label_selector::Labels;

/// A shared, immutable name.
pub type Name = Arc<str>;

/// The key and the value of one label.
pub(crate) type Pair = (Name, Name);

/// The labels of an object, ordered by key. Interned sets share their labels, and equal sets share
/// one allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelSet(pub(crate) Arc<[Arc<Pair>]>);

impl LabelSet {
    /// All labels, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|pair| (&*pair.0, &*pair.1))
    }

    /// The value of a label, as a shared name.
    #[must_use]
    pub fn name(&self, key: &str) -> Option<&Name> {
        let found = self.0.binary_search_by(|pair| (*pair.0).cmp(key)).ok()?;
        self.0.get(found).map(|pair| &pair.1)
    }

    /// Whether there is no label.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether both share one allocation. Equal sets that were not interned need not.
    #[must_use]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Default for LabelSet {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Labels for LabelSet {
    fn label(&self, key: &str) -> Option<&str> {
        self.name(key).map(|value| &**value)
    }
}

impl From<&BTreeMap<String, String>> for LabelSet {
    fn from(labels: &BTreeMap<String, String>) -> Self {
        let pair =
            |(key, value): (&String, &String)| Arc::new((Name::from(&**key), Name::from(&**value)));
        Self(labels.iter().map(pair).collect())
    }
}
