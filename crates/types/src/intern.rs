//! Interning: equal names, label sets, owners and resource lists are stored once and shared, because
//! the objects of a large cluster carry few distinct values.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde::{Deserialize, Deserializer};

use crate::{Labels, Owner, PodResources, Resources};

/// A shared, immutable name.
pub type Name = Arc<str>;

/// The key and the value of one label.
type Pair = (Name, Name);

/// The labels of an object, ordered by key. Interned sets share their labels, and equal sets share
/// one allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelSet(Arc<[Arc<Pair>]>);

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

/// The uid of an object. UUIDs, which the API server generates, are stored as 16 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Uid {
    /// A UUID in lower case with dashes.
    Uuid([u8; 16]),
    /// Any other text, kept as it is.
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

/// Accepts only the form that [`Uid`] prints: 36 characters, lower case, dashes.
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
    pairs: BTreeSet<Arc<Pair>>,
    labels: BTreeSet<LabelSet>,
    pod_resources: BTreeSet<Arc<PodResources>>,
    node_resources: BTreeSet<Arc<Resources>>,
    owners: BTreeMap<Uid, Arc<Owner>>,
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

    /// The shared copy of a set of labels that many objects carry.
    pub fn labels(&mut self, labels: &LabelSet) -> LabelSet {
        if let Some(found) = self.labels.get(labels) {
            return found.clone();
        }
        let shared = labels.0.iter().map(|pair| self.pair(pair)).collect();
        let shared = LabelSet(shared);
        self.labels.insert(shared.clone());
        shared
    }

    /// The labels of an object named `own`. A label whose value is that name makes the set unique, so
    /// that only its other labels are interned and the value shares `own`.
    pub fn labels_of(&mut self, labels: &LabelSet, own: &Name) -> LabelSet {
        if labels.0.iter().all(|pair| pair.1 != *own) {
            return self.labels(labels);
        }
        let pair = |pair: &Arc<Pair>| {
            if pair.1 == *own {
                Arc::new((self.name(&pair.0), Name::clone(own)))
            } else {
                self.pair(pair)
            }
        };
        LabelSet(labels.0.iter().map(pair).collect())
    }

    fn pair(&mut self, pair: &Arc<Pair>) -> Arc<Pair> {
        if let Some(found) = self.pairs.get(pair) {
            return Arc::clone(found);
        }
        let pair = Arc::new((self.name(&pair.0), self.name(&pair.1)));
        self.pairs.insert(Arc::clone(&pair));
        pair
    }

    /// The shared copy of an owner.
    pub fn owner(&mut self, owner: &Owner) -> Arc<Owner> {
        let known = self.owners.get(&owner.uid);
        if let Some(known) = known.filter(|known| ***known == *owner) {
            return Arc::clone(known);
        }
        let shared = Arc::new(owner.clone());
        self.owners.insert(owner.uid.clone(), Arc::clone(&shared));
        shared
    }

    /// The shared copy of a pod's resources.
    pub fn pod_resources(&mut self, resources: &Arc<PodResources>) -> Arc<PodResources> {
        shared(&mut self.pod_resources, resources)
    }

    /// The shared copy of a node's allocatable resources.
    pub fn node_resources(&mut self, resources: &Arc<Resources>) -> Arc<Resources> {
        shared(&mut self.node_resources, resources)
    }

    /// How many distinct values are held.
    #[must_use]
    pub fn len(&self) -> usize {
        let labels = self.pairs.len() + self.labels.len();
        self.names.len()
            + labels
            + self.pod_resources.len()
            + self.node_resources.len()
            + self.owners.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops values that only the interner still holds.
    pub fn sweep(&mut self) {
        self.labels
            .retain(|labels| Arc::strong_count(&labels.0) > 1);
        self.pairs.retain(|pair| Arc::strong_count(pair) > 1);
        self.owners.retain(|_, owner| Arc::strong_count(owner) > 1);
        self.pod_resources
            .retain(|resources| Arc::strong_count(resources) > 1);
        self.node_resources
            .retain(|resources| Arc::strong_count(resources) > 1);
        self.names.retain(|name| Arc::strong_count(name) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_print_the_text_they_were_read_from() {
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
    fn equal_values_share_one_allocation() {
        let mut interner = Interner::default();
        let labels = LabelSet::from(&BTreeMap::from([("a".to_owned(), "b".to_owned())]));
        let (one, two) = (interner.labels(&labels), interner.labels(&labels.clone()));
        assert!(Arc::ptr_eq(&one.0, &two.0));
        assert_eq!((one.label("a"), one.label("b")), (Some("b"), None));
        assert_eq!(interner.len(), 4);
        let own = Name::from("b");
        let mine = interner.labels_of(&labels, &own);
        assert!(mine == one && !mine.ptr_eq(&one));
        assert!(Arc::ptr_eq(mine.name("a").unwrap(), &own));
        drop((one, two, mine));
        interner.sweep();
        assert!(interner.is_empty());
    }
}
