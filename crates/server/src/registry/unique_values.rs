//! Values that only one object may have, such as the address of a Service. They are allocated by a
//! look at all objects, so writes that allocate come one after the other.
//!
//! A write has its turn from the allocation until it is known what became of it: also if its
//! request has ended meanwhile, because the client left or the time was over. The values of a write
//! whose fate stays open are not given to others.

use std::sync::Arc;

use bytes::Bytes;
use pandaemon_store::{Error as StoreError, Expect, Key, Op, Revision, Transaction, Write};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Mutex as TurnMutex, OwnedMutexGuard};

use super::Registry;
use crate::cache::watch_cache::KindCache;

/// The most writes with an open fate whose values are known. A store that fails answers few writes
/// so; the oldest is forgotten.
const MAX_IN_DOUBT: usize = 1_024;

/// The turn of one write. The next one comes when all clones are dropped.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    _held: Arc<OwnedMutexGuard<()>>,
}

/// A write whose fate is open.
#[derive(Debug)]
struct InDoubt {
    key: Key,
    expect: Expect,
    /// The object that it stores.
    bytes: Bytes,
}

/// What is to be known of a write should its fate be open; `None` for a deletion.
fn in_doubt_if_unknown(write: &Write) -> Option<InDoubt> {
    let Op::Put(bytes) = &write.op else {
        return None;
    };
    Some(InDoubt {
        key: Arc::clone(&write.key),
        expect: write.expect,
        bytes: bytes.clone(),
    })
}

/// The turns of the writes of one server.
#[derive(Debug, Default)]
pub(super) struct UniqueValues {
    turn: Arc<TurnMutex<()>>,
    in_doubt: Arc<Mutex<Vec<InDoubt>>>,
}

impl UniqueValues {
    /// Waits for the turns before this one.
    pub(super) async fn turn(&self) -> Turn {
        let held = Arc::clone(&self.turn).lock_owned().await;
        Turn {
            _held: Arc::new(held),
        }
    }
}

impl Registry {
    /// Objects that may be stored although the cache of their kind does not show them.
    pub(crate) fn in_doubt(&self, cache: &KindCache) -> Vec<(Key, Value)> {
        let mut writes = self.unique_values.in_doubt.lock();
        // Once the cache shows what a write does not expect, it has happened or never will.
        writes.retain(|write| {
            let found = cache.get(&write.key).map(|object| object.revision);
            match write.expect {
                Expect::Absent => found.is_none(),
                Expect::At(revision) => found == Some(revision),
            }
        });
        let values = writes.iter().filter_map(|write| {
            let value = serde_json::from_slice(&write.bytes).ok()?;
            Some((Arc::clone(&write.key), value))
        });
        values.collect()
    }

    /// Commits a write that has its turn, to its end, also if the caller does not wait for it.
    pub(super) async fn commit_in_turn(
        &self,
        turn: Turn,
        transaction: Transaction,
    ) -> Result<Revision, StoreError> {
        let (store, cache) = (Arc::clone(&self.store), Arc::clone(&self.cache));
        let in_doubt = Arc::clone(&self.unique_values.in_doubt);
        let write = transaction.writes.first().and_then(in_doubt_if_unknown);
        let committed = pandaemon_runtime::spawn("commit", async move {
            let committed = store.commit(transaction).await;
            match (&committed, write) {
                (Ok(revision), _) => {
                    cache.reached(*revision).await;
                }
                (Err(StoreError::Unknown(_)), Some(write)) => {
                    let mut writes = in_doubt.lock();
                    if writes.len() == MAX_IN_DOUBT {
                        writes.remove(0);
                    }
                    writes.push(write);
                }
                (Err(_), _) => {}
            }
            drop(turn);
            committed
        });
        match committed.await {
            Ok(Some(committed)) => committed,
            Ok(None) | Err(_) => {
                let why = "the commit of the write panicked".to_owned();
                Err(StoreError::Unknown(why))
            }
        }
    }
}
