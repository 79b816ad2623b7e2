//! Tables of nodes and pods. Each has a small integer id, so that an event looks up a name or a uid
//! once and everything else about the object is found by index.

use std::collections::BTreeMap;

use pandaemon_placement::CompactUsage;
use pandaemon_types::{Name, NodeView, Uid};

use crate::{
    ids::{Id as _, IdMap, NodeId, PodId},
    pod_state::PodState,
};

/// A node, or the name of a deleted node that is still referred to.
#[derive(Debug)]
struct NodeEntry {
    name: Name,
    node: Option<Box<NodeView>>,
    /// How many pods are bound or pinned to it.
    pods: u32,
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
            *entry = Some(NodeEntry {
                name,
                node: None,
                pods: 0,
                usage: CompactUsage::default(),
            });
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

    /// A pod is bound or pinned to the node.
    pub(crate) fn add_pod(&mut self, id: NodeId) {
        if let Some(entry) = self.entry_mut(id) {
            entry.pods += 1;
        }
    }

    /// A pod that was added is gone, or on another node.
    pub(crate) fn remove_pod(&mut self, id: NodeId) {
        if let Some(entry) = self.entry_mut(id) {
            entry.pods = entry.pods.saturating_sub(1);
        }
    }

    /// Whether the node does not exist and no pod is on it.
    pub(crate) fn is_unused(&self, id: NodeId) -> bool {
        self.entry(id)
            .is_some_and(|entry| entry.node.is_none() && entry.pods == 0)
    }

    /// Forgets an unused node; its id is used again.
    pub(crate) fn forget(&mut self, id: NodeId) {
        let entry = self.entries.get_mut(id.index());
        if let Some(entry) = entry.and_then(Option::take) {
            self.ids.remove(&entry.name);
            self.free.push(id);
        }
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
        let id = id.unwrap_or_else(|| PodId::from_index(self.pods.slots()));
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
