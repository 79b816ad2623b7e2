//! Interning: equal names, label sets, owners and resource lists are stored once and shared,
//! because the objects of a large cluster carry few distinct values.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    label_set::{LabelSet, Name, Pair},
    object::Owner,
    pod_resources::{PodResources, Resources},
    uid::Uid,
};

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

    /// The labels of an object named `own`. A label whose value is that name makes the set unique,
    /// so that only its other labels are interned and the value shares `own`.
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
    use crate::label_selector::Labels as _;

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
