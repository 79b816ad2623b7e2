//! Numbers for nodes and pods, so that everything that is kept about them is found by a number and
//! names are compared once per event.

use std::{collections::BTreeMap, num::NonZeroU32};

use pandaemon_placement::CompactUsage;
use pandaemon_types::{Name, NodeView, Uid};

use crate::cell::PodState;

/// The number of a node, or of the name of one that is gone and still matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(NonZeroU32);

/// The number of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodId(NonZeroU32);

/// A number that things are filed under.
pub(crate) trait Number: Copy {
    fn from_place(place: usize) -> Self;
    fn place(self) -> usize;
}

macro_rules! number {
    ($name:ident) => {
        impl Number for $name {
            fn from_place(place: usize) -> Self {
                let number = u32::try_from(place).ok().and_then(|n| n.checked_add(1));
                Self(number.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX))
            }

            fn place(self) -> usize {
                usize::try_from(self.0.get() - 1).unwrap_or(usize::MAX)
            }
        }
    };
}
number!(NodeId);
number!(PodId);

/// Things by number.
#[derive(Debug)]
pub(crate) struct Numbered<T> {
    places: Vec<Option<Box<T>>>,
    len: usize,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Numbered<T> {
    pub(crate) fn get(&self, number: impl Number) -> Option<&T> {
        self.places.get(number.place())?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, number: impl Number) -> Option<&mut T> {
        self.places.get_mut(number.place())?.as_deref_mut()
    }

    /// Files a thing.
    pub(crate) fn put(&mut self, number: impl Number, thing: T) {
        let place = number.place();
        if self.places.len() <= place {
            self.places.resize_with(place + 1, || None);
        }
        if let Some(found) = self.places.get_mut(place) {
            self.len += usize::from(found.is_none());
            *found = Some(Box::new(thing));
        }
    }

    pub(crate) fn take(&mut self, number: impl Number) -> Option<T> {
        let taken = self.places.get_mut(number.place())?.take()?;
        self.len -= 1;
        Some(*taken)
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(Option::as_deref_mut)
    }

    pub(crate) fn iter<N: Number>(&self) -> impl Iterator<Item = (N, &T)> {
        let numbered = self.places.iter().enumerate();
        numbered.filter_map(|(place, thing)| Some((N::from_place(place), thing.as_deref()?)))
    }
}

/// What is known under a node's name.
#[derive(Debug)]
struct Spot {
    name: Name,
    node: Option<Box<NodeView>>,
    load: CompactUsage,
}

/// All nodes, and the names of those that are gone and still have pods.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    numbers: BTreeMap<Name, NodeId>,
    spots: Vec<Option<Spot>>,
    free: Vec<NodeId>,
    living: usize,
}

/// Names of nodes that are gone are looked through when they are this many more than the others.
const VACANT: usize = 1024;

impl Roster {
    /// The number of a name; a new one if it has none.
    pub(crate) fn number(&mut self, name: &str) -> NodeId {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.spots.push(None);
            NodeId::from_place(self.spots.len() - 1)
        });
        let name = Name::from(name);
        self.numbers.insert(Name::clone(&name), number);
        if let Some(spot) = self.spots.get_mut(number.place()) {
            let (node, load) = (None, CompactUsage::default());
            *spot = Some(Spot { name, node, load });
        }
        number
    }

    pub(crate) fn find(&self, name: &str) -> Option<NodeId> {
        self.numbers.get(name).copied()
    }

    fn spot(&self, number: NodeId) -> Option<&Spot> {
        self.spots.get(number.place())?.as_ref()
    }

    fn spot_mut(&mut self, number: NodeId) -> Option<&mut Spot> {
        self.spots.get_mut(number.place())?.as_mut()
    }

    pub(crate) fn name(&self, number: NodeId) -> Name {
        self.spot(number)
            .map_or_else(|| Name::from(""), |spot| Name::clone(&spot.name))
    }

    pub(crate) fn name_of(&self, number: NodeId) -> Option<&str> {
        self.spot(number).map(|spot| &*spot.name)
    }

    pub(crate) fn node(&self, number: NodeId) -> Option<&NodeView> {
        self.spot(number)?.node.as_deref()
    }

    pub(crate) fn put(&mut self, number: NodeId, node: NodeView) {
        if let Some(spot) = self.spot_mut(number) {
            let is_new = spot.node.replace(Box::new(node)).is_none();
            self.living += usize::from(is_new);
        }
    }

    pub(crate) fn take(&mut self, number: NodeId) -> Option<Box<NodeView>> {
        let taken = self.spot_mut(number)?.node.take()?;
        self.living -= 1;
        Some(taken)
    }

    pub(crate) const fn len(&self) -> usize {
        self.living
    }

    /// What the pods of a node take.
    pub(crate) fn load(&self, number: NodeId) -> Option<&CompactUsage> {
        Some(&self.spot(number)?.load)
    }

    pub(crate) fn load_mut(&mut self, number: NodeId) -> Option<&mut CompactUsage> {
        Some(&mut self.spot_mut(number)?.load)
    }

    /// The nodes that exist, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &NodeView)> {
        self.numbers
            .values()
            .filter_map(|number| Some((*number, self.node(*number)?)))
    }

    /// Whether many names of nodes that are gone are kept.
    pub(crate) fn is_littered(&self) -> bool {
        2 * self.living + VACANT < self.numbers.len()
    }

    /// Forgets the names of nodes that are gone, but those that still matter.
    pub(crate) fn sweep(&mut self, matters: impl Fn(NodeId) -> bool) {
        let Self {
            numbers,
            spots,
            free,
            ..
        } = self;
        numbers.retain(|_, number| {
            let Some(place) = spots.get_mut(number.place()) else {
                return false;
            };
            let used = place
                .as_ref()
                .is_some_and(|spot| spot.node.is_some() || !spot.load.is_empty());
            if used || matters(*number) {
                return true;
            }
            *place = None;
            free.push(*number);
            false
        });
    }
}

/// All pods, by number and by identity.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    uuids: BTreeMap<[u8; 16], PodId>,
    texts: BTreeMap<Name, PodId>,
    pods: Numbered<PodState>,
    free: Vec<PodId>,
}

impl Pods {
    pub(crate) fn find(&self, uid: &Uid) -> Option<PodId> {
        match uid {
            Uid::Uuid(bytes) => self.uuids.get(bytes),
            Uid::Other(text) => self.texts.get(text),
        }
        .copied()
    }

    pub(crate) fn get(&self, number: PodId) -> Option<&PodState> {
        self.pods.get(number)
    }

    pub(crate) fn get_mut(&mut self, number: PodId) -> Option<&mut PodState> {
        self.pods.get_mut(number)
    }

    pub(crate) const fn len(&self) -> usize {
        self.pods.len()
    }

    /// Files a pod that is not known.
    pub(crate) fn add(&mut self, pod: PodState) -> PodId {
        let number = self.free.pop();
        let number = number.unwrap_or_else(|| PodId::from_place(self.pods.places.len()));
        match &pod.uid {
            Uid::Uuid(bytes) => self.uuids.insert(*bytes, number),
            Uid::Other(text) => self.texts.insert(Name::clone(text), number),
        };
        self.pods.put(number, pod);
        number
    }

    pub(crate) fn remove(&mut self, number: PodId) {
        let Some(pod) = self.pods.take(number) else {
            return;
        };
        match &pod.uid {
            Uid::Uuid(bytes) => self.uuids.remove(bytes),
            Uid::Other(text) => self.texts.remove(text),
        };
        self.free.push(number);
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut PodState> {
        self.pods.values_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PodId, &PodState)> {
        self.pods.iter()
    }
}
