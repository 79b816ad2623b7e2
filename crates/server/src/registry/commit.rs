//! Commits: one object is written as one transaction of the store.
//!
//! The transaction depends on what the write was decided by: the object as it was read, and the
//! namespace of a new object. The deletion of a Node also changes the record of its keys. What else
//! is decided by the state of this process alone is listed in `docs/design/api-server.md`, for the
//! day when several servers share a store.

use std::sync::Arc;

use pandaemon_machinery::{
    Status,
    status::{Details, Result},
};
use pandaemon_store::{
    Durability, Error as StoreError, Expect, Key, Op, Revision, Transaction, Write,
};

use super::{Call, Registry, Turn};
use crate::cache::object::{Encoded, Object};

/// A write of one object.
#[derive(Debug)]
pub(crate) struct ObjectWrite {
    /// The key of the object.
    pub key: Key,
    /// The object as it was read.
    pub expect: Expect,
    /// The new state; `None` deletes it.
    pub new: Option<Encoded>,
    /// Another object that must be as it was read.
    pub depends_on: Option<(Key, Revision)>,
    /// The turn of a write with values that no other object may have.
    pub turn: Option<Turn>,
    /// Whether nothing is stored.
    pub dry_run: bool,
}

/// Why a commit failed.
#[derive(Debug)]
pub(crate) enum CommitError {
    /// The object has changed since it was read, or exists already.
    Conflict,
    /// What the write depends on has changed since it was read: it may be decided again.
    Outdated,
    /// Any other error, as the status for the client.
    Failed(Box<Status>),
}

impl Registry {
    /// Commits a write and waits until the watch cache has applied it. Returns the new object;
    /// `None` after a deletion.
    pub(super) async fn commit(
        &self,
        call: &Call,
        write: ObjectWrite,
    ) -> Result<Option<Arc<Object>>, CommitError> {
        self.check_cache().map_err(CommitError::Failed)?;
        let ObjectWrite {
            key, expect, new, ..
        } = &write;
        let mut transaction = transaction(call, &write);
        if new.is_none() && !write.dry_run {
            let record = self.record_after_deletion(call, key);
            let record = record.map_err(CommitError::Failed)?;
            transaction.writes.extend(record);
        }
        transaction.check().map_err(|error| failed(&error))?;
        let revision = match (write.dry_run, expect) {
            (false, _) => self.transact(&write, transaction).await?,
            (true, Expect::At(revision)) => *revision,
            (true, Expect::Absent) => match self.cached(call, key) {
                Some(_) => return Err(CommitError::Conflict),
                None => 0,
            },
        };
        let Some(new) = new else { return Ok(None) };
        // The object of the cache, unless another writer has changed it since.
        let cached = self.cached(call, key).filter(|_| !write.dry_run);
        let cached = cached.filter(|object| object.revision == revision);
        let object = || Arc::new(Object::new(Arc::clone(key), new.clone(), revision));
        Ok(Some(cached.unwrap_or_else(object)))
    }

    /// As [`Registry::commit`], of a write that does not delete.
    pub(super) async fn commit_object(
        &self,
        call: &Call,
        write: ObjectWrite,
    ) -> Result<Arc<Object>, CommitError> {
        let committed = self.commit(call, write).await?;
        let lost = || CommitError::Failed(Status::internal("the write has no new state"));
        committed.ok_or_else(lost)
    }

    fn cached(&self, call: &Call, key: &str) -> Option<Arc<Object>> {
        self.cache.of(&call.kind)?.get(key)
    }

    async fn transact(
        &self,
        write: &ObjectWrite,
        transaction: Transaction,
    ) -> Result<Revision, CommitError> {
        let durability = transaction.durability;
        let committed = match &write.turn {
            Some(turn) => self.commit_in_turn(turn.clone(), transaction).await,
            None => self.store.commit(transaction).await,
        };
        // A successful volatile write does not show that the disk works.
        if durability == Durability::Durable || committed.is_err() {
            self.record_fault(&committed);
        }
        match committed {
            Ok(revision) => {
                self.cache.reached(revision).await;
                Ok(revision)
            }
            Err(StoreError::Conflict { at, current }) => {
                // The next try must not read what this one has read.
                let revision = match &current {
                    Some(entry) => entry.mod_revision,
                    None => self.store.latest().await.map_err(|error| failed(&error))?,
                };
                self.cache.reached(revision).await;
                match (at, write.expect, current) {
                    (0, Expect::At(_), _) | (0, Expect::Absent, Some(_)) => {
                        Err(CommitError::Conflict)
                    }
                    _ => Err(CommitError::Outdated),
                }
            }
            Err(StoreError::Unknown(why)) => self.settle(write, why).await,
            Err(error) => Err(failed(&error)),
        }
    }

    /// Finds out whether a write without an answer has happened: then the object is as the write
    /// leaves it. Otherwise its fate stays open.
    async fn settle(&self, write: &ObjectWrite, why: String) -> Result<Revision, CommitError> {
        let unknown = || failed(&StoreError::Unknown(why.clone()));
        let latest = self.store.latest().await.map_err(|_| unknown())?;
        let found = self.store.get(&write.key).await.map_err(|_| unknown())?;
        let revision = match (&write.new, found) {
            (Some(new), Some(entry))
                if entry.value == new.bytes && !write.expect.holds(Some(&entry)) =>
            {
                entry.mod_revision
            }
            (None, None) => latest,
            _ => return Err(unknown()),
        };
        self.cache.reached(revision).await;
        Ok(revision)
    }

    /// Records and logs whether the store accepts durable writes.
    fn record_fault(&self, committed: &Result<Revision, StoreError>) {
        let fault = match committed {
            Err(StoreError::Storage(why)) => Some(why.clone()),
            Ok(_) => None,
            // The write failed without use of the disk.
            Err(_) => return,
        };
        let mut known = self.store_fault.lock();
        if *known != fault {
            match &fault {
                Some(why) => tracing::error!(error = why, "the store refuses durable writes"),
                None => tracing::info!("the store accepts durable writes again"),
            }
            *known = fault;
        }
    }

    /// The error of the last durable write; `None` while the store accepts them.
    #[must_use]
    pub(crate) fn store_fault(&self) -> Option<String> {
        self.store_fault.lock().clone()
    }

    /// Tries a durable write if the last one was refused, to detect that the store works again.
    pub(crate) async fn probe_store(&self) {
        if self.store_fault.lock().is_none() {
            return;
        }
        let key: Key = "/pandaemon.dev/probes//store".into();
        let Ok(found) = self.store.get(&key).await else {
            return;
        };
        let expect = found.map_or(Expect::Absent, |entry| Expect::At(entry.mod_revision));
        // As large as an object, because a disk with a few free bytes is still full.
        let op = Op::Put(vec![b' '; PROBE_BYTES].into());
        let committed = self.store.commit(Transaction::of(key, expect, op)).await;
        self.record_fault(&committed);
    }
}

/// Size of the probe write, in bytes.
const PROBE_BYTES: usize = 64 << 10;

fn transaction(call: &Call, write: &ObjectWrite) -> Transaction {
    let is_volatile = call.kind.strategy.is_volatile(&call.namespace);
    let (op, note) = match &write.new {
        Some(new) => {
            let head: pandaemon_store::Note = Arc::new(new.head);
            (Op::Put(new.bytes.clone()), Some(head))
        }
        None => (Op::Delete, None),
    };
    let object = Write {
        key: Arc::clone(&write.key),
        expect: write.expect,
        op,
        note,
    };
    let transaction = Transaction {
        writes: vec![object],
        durability: if is_volatile {
            Durability::Volatile
        } else {
            Durability::Durable
        },
    };
    match &write.depends_on {
        Some((key, revision)) => transaction.with_check(Arc::clone(key), Expect::At(*revision)),
        None => transaction,
    }
}

fn failed(error: &StoreError) -> CommitError {
    CommitError::Failed(status(error))
}

/// The status of a write that the store did not do: 503 with `retryAfterSeconds`, 413 if it is too
/// large, 504 if it may have happened, 500 if the store has died.
#[must_use]
fn status(error: &StoreError) -> Box<Status> {
    let message = match error {
        StoreError::Storage(why) => {
            format!("the store refused the write: {why}; nothing of this request was stored")
        }
        StoreError::Closed => "the server is shutting down".to_owned(),
        StoreError::WriterPanicked => return super::failed_cache(&error.to_string()),
        StoreError::TooLarge(why) => {
            return Status::too_large(format!("Request entity too large: {why}"));
        }
        StoreError::Unknown(why) => {
            let text = format!(
                "Timeout: it is not known whether the write was stored ({why}); read the object before you repeat it"
            );
            return Status::failure(504, "Timeout", text);
        }
        other => other.to_string(),
    };
    Status::failure(503, "ServiceUnavailable", message).with_details(Details {
        retry_after_seconds: 1,
        ..Details::default()
    })
}

#[cfg(test)]
mod tests {
    use pandaemon_machinery::decode::Decoded;
    use pandaemon_runtime::metrics::Metrics;
    use pandaemon_store::{
        Store as _,
        double::{Double, Faults},
    };
    use serde_json::json;

    use super::*;
    use crate::{
        admission::{AdmissionConfiguration, Chain},
        cache::watch_cache::{WatchCache, run_reflector},
        registry::kinds,
    };

    #[tokio::test]
    async fn the_server_itself_decides_nothing_by_a_cache_that_has_failed() {
        let double = || Arc::new(Double::new(Faults::default(), 1));
        // The store lives on, but the cache hears of it no more.
        let (followed, store) = (double(), double());
        let cache = Arc::new(WatchCache::load(&*followed).await.unwrap());
        let admission = Chain::new(
            AdmissionConfiguration::default(),
            Vec::new(),
            &Metrics::default(),
        );
        let registry = Registry::new(Arc::clone(&store) as _, Arc::clone(&cache), admission);
        followed.close().await;
        run_reflector(cache, followed as _).await;
        let call = registry.internal_call(kinds::nodes().unwrap(), "", "");
        let value = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}});
        let warnings = Vec::new();
        let refused = registry.create(&call, Decoded { value, warnings }).await;
        let refused = refused.unwrap_err();
        assert_eq!((refused.code, &*refused.reason), (500, "InternalError"));
        assert_eq!(store.latest().await.unwrap(), 0);
    }
}
