//! What the store must hold, as a plain map.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{Durability, Expect, Op, Revision, Transaction, Write};

/// The value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) value: Bytes,
    pub(super) created: Revision,
    pub(super) modified: Revision,
    pub(super) volatile: bool,
}

/// The entries of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Map(pub(super) BTreeMap<String, Item>);

impl Map {
    /// Whether the transaction needs the disk.
    pub(super) fn needs_disk(&self, transaction: &Transaction) -> bool {
        let mut writes = transaction.writes.iter();
        writes.any(|write| match (&write.op, self.0.get(&*write.key)) {
            (Op::Check, _) => false,
            (_, Some(item)) if !item.volatile => true,
            (Op::Delete, Some(_)) => false,
            _ => transaction.durability == Durability::Durable,
        })
    }

    /// The write whose guard does not hold.
    pub(super) fn conflict(&self, transaction: &Transaction) -> Option<usize> {
        transaction.writes.iter().position(|write| {
            let known = self.0.get(&*write.key);
            !match write.expect {
                Expect::Absent => known.is_none() && !matches!(write.op, Op::Delete),
                Expect::At(revision) => known.is_some_and(|known| known.modified == revision),
            }
        })
    }

    /// Applies a transaction whose guards hold, at the revision after this one. Returns its
    /// revision.
    pub(super) fn apply(&mut self, transaction: &Transaction, before: Revision) -> Revision {
        let is_change = |write: &Write| !matches!(write.op, Op::Check);
        let changes = transaction.writes.iter().any(is_change);
        let revision = before + u64::from(changes);
        for write in &transaction.writes {
            let key = write.key.to_string();
            match &write.op {
                Op::Check => {}
                Op::Delete => {
                    self.0.remove(&key);
                }
                Op::Put(value) => {
                    let old = self.0.get(&key);
                    let is_volatile = transaction.durability == Durability::Volatile;
                    let item = Item {
                        value: value.clone(),
                        created: old.map_or(revision, |old| old.created),
                        modified: revision,
                        volatile: is_volatile && old.is_none_or(|old| old.volatile),
                    };
                    self.0.insert(key, item);
                }
            }
        }
        revision
    }

    /// Whether a restart drops something.
    pub(super) fn has_volatile(&self) -> bool {
        self.0.values().any(|item| item.volatile)
    }

    /// What a crash leaves.
    pub(super) fn durable(&self) -> Self {
        let mut left = self.clone();
        left.0.retain(|_, item| !item.volatile);
        left
    }
}
