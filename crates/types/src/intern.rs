//! Names and label sets that are stored once, however many objects carry them: a large cluster has
//! few distinct values.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde::{Deserialize, Deserializer};

use crate::{Claims, Labels, Resources};

/// A shared, immutable name.
pub type Name = Arc<str>;

/// The labels of an object, ordered by key and shared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelSet(Arc<[(Name, Name)]>);

impl LabelSet {
    /// All labels, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Whether there is no label.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
        let found = self.0.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        self.0.get(found).map(|(_, value)| &**value)
    }
}

impl From<&BTreeMap<String, String>> for LabelSet {
    fn from(labels: &BTreeMap<String, String>) -> Self {
        let pair = |(key, value): (&String, &String)| (Name::from(&**key), Name::from(&**value));
        Self(labels.iter().map(pair).collect())
    }
}

/// The identity of an object: 16 bytes for a UUID, which nearly all are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Uid {
    /// A UUID in its usual form.
    Uuid([u8; 16]),
    /// Any other text.
    Other(Name),
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        parse_uuid(text).map_or_else(|| Self::Other(text.into()), Self::Uuid)
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(text) => f.write_str(text),
            Self::Uuid(bytes) => {
                for (position, byte) in bytes.iter().enumerate() {
                    let dash = if matches!(position, 4 | 6 | 8 | 10) {
                        "-"
                    } else {
                        ""
                    };
                    write!(f, "{dash}{byte:02x}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Default for Uid {
    fn default() -> Self {
        Self::Uuid([0; 16])
    }
}

impl<'de> Deserialize<'de> for Uid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(&*std::borrow::Cow::<'de, str>::deserialize(
            deserializer,
        )?))
    }
}

/// Only the form that [`Uid`] prints again: 36 characters, lower case.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let bytes = text.as_bytes();
    if bytes.len() != 36 {
        return None;
    }
    let mut out = [0_u8; 16];
    let mut nibbles = 0_usize;
    for (position, byte) in bytes.iter().enumerate() {
        let value = match (position, byte) {
            (8 | 13 | 18 | 23, b'-') => continue,
            (8 | 13 | 18 | 23, _) => return None,
            (_, b'0'..=b'9') => byte - b'0',
            (_, b'a'..=b'f') => byte - b'a' + 10,
            _ => return None,
        };
        let slot = out.get_mut(nibbles / 2)?;
        *slot = (*slot << 4) | value;
        nibbles += 1;
    }
    Some(out)
}

fn shared<T: Ord>(known: &mut BTreeSet<Arc<T>>, value: &Arc<T>) -> Arc<T> {
    if let Some(found) = known.get(value) {
        return Arc::clone(found);
    }
    known.insert(Arc::clone(value));
    Arc::clone(value)
}

/// Hands out one shared copy of equal values.
#[derive(Debug, Default)]
pub struct Interner {
    names: BTreeSet<Name>,
    labels: BTreeSet<LabelSet>,
    claims: BTreeSet<Arc<Claims>>,
    resources: BTreeSet<Arc<Resources>>,
}

impl Interner {
    /// The shared copy of a name.
    pub fn name(&mut self, text: &str) -> Name {
        if let Some(name) = self.names.get(text) {
            return Arc::clone(name);
        }
        let name = Name::from(text);
        self.names.insert(Arc::clone(&name));
        name
    }

    /// The shared copy of a set of labels.
    pub fn labels(&mut self, labels: &LabelSet) -> LabelSet {
        if let Some(found) = self.labels.get(labels) {
            return found.clone();
        }
        let pairs = labels
            .iter()
            .map(|(key, value)| (self.name(key), self.name(value)));
        let pairs: Vec<_> = pairs.collect();
        let shared = LabelSet(pairs.into());
        self.labels.insert(shared.clone());
        shared
    }

    /// The shared copy of a pod's claims.
    pub fn claims(&mut self, claims: &Arc<Claims>) -> Arc<Claims> {
        shared(&mut self.claims, claims)
    }

    /// The shared copy of a node's resources.
    pub fn resources(&mut self, resources: &Arc<Resources>) -> Arc<Resources> {
        shared(&mut self.resources, resources)
    }

    /// How many distinct values are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len() + self.labels.len() + self.claims.len() + self.resources.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets what nobody else holds any more.
    pub fn sweep(&mut self) {
        self.labels
            .retain(|labels| Arc::strong_count(&labels.0) > 1);
        self.claims.retain(|claims| Arc::strong_count(claims) > 1);
        self.resources
            .retain(|resources| Arc::strong_count(resources) > 1);
        self.names.retain(|name| Arc::strong_count(name) > 1);
    }
}

impl Borrow<[(Name, Name)]> for LabelSet {
    fn borrow(&self) -> &[(Name, Name)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_keep_their_text() {
        for text in [
            "5b1c2a34-0000-4abc-8def-0123456789ab",
            "set-1",
            "5B1C2A34-0000-4abc-8def-0123456789ab",
        ] {
            assert_eq!(Uid::from(text).to_string(), text);
        }
        assert!(matches!(
            Uid::from("5b1c2a34-0000-4abc-8def-0123456789ab"),
            Uid::Uuid(_)
        ));
    }

    #[test]
    fn equal_values_are_held_once() {
        let mut interner = Interner::default();
        let labels = LabelSet::from(&BTreeMap::from([("a".to_owned(), "b".to_owned())]));
        let (one, two) = (interner.labels(&labels), interner.labels(&labels.clone()));
        assert!(Arc::ptr_eq(&one.0, &two.0));
        assert_eq!((one.label("a"), one.label("b")), (Some("b"), None));
        assert_eq!(interner.len(), 3);
        drop((one, two));
        interner.sweep();
        assert!(interner.is_empty());
    }
}
