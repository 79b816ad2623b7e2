//! Ids of nodes and pods, and maps by id.

use std::num::NonZeroU32;

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

    /// The number of ids in use or free: the index of the next new id.
    pub(crate) const fn slots(&self) -> usize {
        self.slots.len()
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
