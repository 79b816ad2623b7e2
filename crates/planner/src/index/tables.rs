//! Tables of nodes and pods. Each has a small integer id, so that an event looks up a name or a uid once
//! and everything else about the object is found by index.

use std::{collections::BTreeMap, num::NonZeroU32};

use pandaemon_placement::CompactUsage;
use pandaemon_types::{Name, NodeView, Uid};

use crate::node_state::PodState;

/// The id of a node. The id of a deleted node stays valid while pods or node states refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(NonZeroU32);

/// The id of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodId(NonZeroU32);

/// An index into an [`IdMap`].
pub(crate) trait Id: Copy {
    fn from_index(index: usize) -> Self;
    fn index(self) -> usize;
}

macro_rules! id {
    ($name:ident) => {
        impl Id for $name {
            fn from_index(index: usize) -> Self {
                let id = u32::try_from(index).ok().and_then(|n| n.checked_add(1));
                Self(id.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX))
            }

            fn index(self) -> usize {
                usize::try_from(self.0.get() - 1).unwrap_or(usize::MAX)
            }
        }
    };
}
id!(NodeId);
id!(PodId);

/// A map from ids to boxed values: a vector with a slot per id.
#[derive(Debug)]
pub(crate) struct IdMap<T> {
    slots: Vec<Option<Box<T>>>,
    len: usize,
}

impl<T> Default for IdMap<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            len: 0,
        }
    }
}

impl<T> IdMap<T> {
    pub(crate) fn get(&self, id: impl Id) -> Option<&T> {
        self.slots.get(id.index())?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, id: impl Id) -> Option<&mut T> {
        self.slots.get_mut(id.index())?.as_deref_mut()
    }

    /// Inserts or replaces the value of an id.
    pub(crate) fn put(&mut self, id: impl Id, value: T) {
        let index = id.index();
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        if let Some(found) = self.slots.get_mut(index) {
            self.len += usize::from(found.is_none());
            *found = Some(Box::new(value));
        }
    }

    pub(crate) fn take(&mut self, id: impl Id) -> Option<T> {
        let taken = self.slots.get_mut(id.index())?.take()?;
        self.len -= 1;
        Some(*taken)
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(Option::as_deref_mut)
    }

    pub(crate) fn iter<N: Id>(&self) -> impl Iterator<Item = (N, &T)> {
        let entries = self.slots.iter().enumerate();
        entries.filter_map(|(index, value)| Some((N::from_index(index), value.as_deref()?)))
    }
}

/// A node, or the name of a deleted node that is still referred to.
#[derive(Debug)]
struct NodeEntry {
    name: Name,
    node: Option<Box<NodeView>>,
    usage: CompactUsage,
}

/// All nodes by name and id, and the deleted ones that are still referred to.
#[derive(Debug, Default)]
pub(crate) struct NodeTable {
    ids: BTreeMap<Name, NodeId>,
    entries: Vec<Option<NodeEntry>>,
    free: Vec<NodeId>,
    existing: usize,
}

/// Entries of deleted nodes are swept once they outnumber the existing nodes by this many.
const SWEEP_SLACK: usize = 1024;

impl NodeTable {
    /// The id of a node name. Allocates one if the name is new.
    pub(crate) fn id(&mut self, name: &str) -> NodeId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            NodeId::from_index(self.entries.len() - 1)
        });
        let name = Name::from(name);
        self.ids.insert(Name::clone(&name), id);
        if let Some(entry) = self.entries.get_mut(id.index()) {
            let (node, usage) = (None, CompactUsage::default());
            *entry = Some(NodeEntry { name, node, usage });
        }
        id
    }

    pub(crate) fn find(&self, name: &str) -> Option<NodeId> {
        self.ids.get(name).copied()
    }

    fn entry(&self, id: NodeId) -> Option<&NodeEntry> {
        self.entries.get(id.index())?.as_ref()
    }

    fn entry_mut(&mut self, id: NodeId) -> Option<&mut NodeEntry> {
        self.entries.get_mut(id.index())?.as_mut()
    }

    pub(crate) fn name(&self, id: NodeId) -> Name {
        self.entry(id)
            .map_or_else(|| Name::from(""), |entry| Name::clone(&entry.name))
    }

    pub(crate) fn name_of(&self, id: NodeId) -> Option<&str> {
        self.entry(id).map(|entry| &*entry.name)
    }

    pub(crate) fn node(&self, id: NodeId) -> Option<&NodeView> {
        self.entry(id)?.node.as_deref()
    }

    pub(crate) fn put(&mut self, id: NodeId, node: NodeView) {
        if let Some(entry) = self.entry_mut(id) {
            let is_new = entry.node.replace(Box::new(node)).is_none();
            self.existing += usize::from(is_new);
        }
    }

    pub(crate) fn take(&mut self, id: NodeId) -> Option<Box<NodeView>> {
        let taken = self.entry_mut(id)?.node.take()?;
        self.existing -= 1;
        Some(taken)
    }

    pub(crate) const fn len(&self) -> usize {
        self.existing
    }

    /// What the pods of a node take, as far as they are counted.
    pub(crate) fn usage(&self, id: NodeId) -> Option<&CompactUsage> {
        Some(&self.entry(id)?.usage)
    }

    pub(crate) fn usage_mut(&mut self, id: NodeId) -> Option<&mut CompactUsage> {
        Some(&mut self.entry_mut(id)?.usage)
    }

    /// The nodes that exist, in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &NodeView)> {
        self.ids
            .values()
            .filter_map(|id| Some((*id, self.node(*id)?)))
    }

    /// Whether enough deleted nodes are kept for a sweep to pay.
    pub(crate) fn needs_sweep(&self) -> bool {
        2 * self.existing + SWEEP_SLACK < self.ids.len()
    }

    /// Forgets deleted nodes, except those with counted pods and those that `matters` returns true for.
    pub(crate) fn sweep(&mut self, matters: impl Fn(NodeId) -> bool) {
        let Self {
            ids, entries, free, ..
        } = self;
        ids.retain(|_, id| {
            let Some(place) = entries.get_mut(id.index()) else {
                return false;
            };
            let used = place
                .as_ref()
                .is_some_and(|entry| entry.node.is_some() || !entry.usage.is_empty());
            if used || matters(*id) {
                return true;
            }
            *place = None;
            free.push(*id);
            false
        });
    }
}

/// All pods by uid and id.
#[derive(Debug, Default)]
pub(crate) struct PodTable {
    uuids: BTreeMap<[u8; 16], PodId>,
    texts: BTreeMap<Name, PodId>,
    pods: IdMap<PodState>,
    free: Vec<PodId>,
}

impl PodTable {
    pub(crate) fn find(&self, uid: &Uid) -> Option<PodId> {
        match uid {
            Uid::Uuid(bytes) => self.uuids.get(bytes),
            Uid::Other(text) => self.texts.get(text),
        }
        .copied()
    }

    pub(crate) fn get(&self, id: PodId) -> Option<&PodState> {
        self.pods.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: PodId) -> Option<&mut PodState> {
        self.pods.get_mut(id)
    }

    pub(crate) const fn len(&self) -> usize {
        self.pods.len()
    }

    /// Inserts a pod whose uid is not in the table.
    pub(crate) fn add(&mut self, pod: PodState) -> PodId {
        let id = self.free.pop();
        let id = id.unwrap_or_else(|| PodId::from_index(self.pods.slots.len()));
        match &pod.uid {
            Uid::Uuid(bytes) => self.uuids.insert(*bytes, id),
            Uid::Other(text) => self.texts.insert(Name::clone(text), id),
        };
        self.pods.put(id, pod);
        id
    }

    pub(crate) fn remove(&mut self, id: PodId) {
        let Some(pod) = self.pods.take(id) else {
            return;
        };
        match &pod.uid {
            Uid::Uuid(bytes) => self.uuids.remove(bytes),
            Uid::Other(text) => self.texts.remove(text),
        };
        self.free.push(id);
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut PodState> {
        self.pods.values_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PodId, &PodState)> {
        self.pods.iter()
    }
}
