//! The place where values change their form between readers and the store, such as by encryption.
//! Upstream: `k8s.io/apiserver/pkg/storage/value`.

use std::{fmt::Debug, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::{
    Entry, Error, Event, Follower, Note, Op, Page, Range, Result, Revision, StateSnapshot, Store,
    Transaction,
};

/// Changes values on their way into a store and back.
pub trait Transformer: Send + Sync + Debug {
    /// Whether values of this key are stored in another form. Others are stored as they are.
    fn transforms(&self, _key: &str) -> bool {
        true
    }

    /// Whether a stored value has another form than its readers want.
    fn is_transformed(&self, _key: &str, _stored: &[u8]) -> bool {
        true
    }

    /// Whether a stored value has another form than the one that it would be written in now.
    /// Upstream: "stale".
    fn is_outdated(&self, _key: &str, _stored: &[u8]) -> bool {
        false
    }

    /// The form of a value in the store.
    ///
    /// # Errors
    /// When the value cannot be stored in this form; the write fails.
    fn transform_to_storage(&self, key: &str, value: &Bytes) -> Result<Bytes>;

    /// The value that is stored in this form.
    ///
    /// # Errors
    /// When it cannot be read. Readers then get it as it is stored.
    fn transform_from_storage(&self, key: &str, value: &Bytes) -> Result<Bytes>;
}

/// A store whose values are kept in another form by another store.
#[derive(Debug)]
pub struct Transformed {
    inner: Arc<dyn Store>,
    transformer: Arc<dyn Transformer>,
    /// Every undecided write has a receiver.
    undecided: RwLock<Undecided>,
}

type Undecided = (watch::Sender<()>, watch::Receiver<()>);

/// The value of a write before it was transformed, so that an event of this process needs not be
/// transformed back. Dropped when the write is decided.
struct Plain {
    value: Bytes,
    note: Option<Note>,
    _undecided: watch::Receiver<()>,
}

impl Transformed {
    /// Keeps values in `inner` in the form of `transformer`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, transformer: Arc<dyn Transformer>) -> Self {
        Self {
            inner,
            transformer,
            undecided: RwLock::new(watch::channel(())),
        }
    }

    /// Waits until every write that has begun is decided, and thus may not bring a form that is
    /// outdated since.
    pub(crate) async fn decided(&self) {
        let (sender, receiver) =
            std::mem::replace(&mut *self.undecided.write(), watch::channel(()));
        drop(receiver);
        sender.closed().await;
    }

    fn to_storage(&self, mut transaction: Transaction) -> Result<Transaction> {
        for write in &mut transaction.writes {
            if let Op::Put(value) = &write.op
                && self.transformer.transforms(&write.key)
            {
                // Before the form is chosen.
                let undecided = self.undecided.read().1.clone();
                let stored = self.transformer.transform_to_storage(&write.key, value)?;
                let plain = Plain {
                    value: value.clone(),
                    note: write.note.take(),
                    _undecided: undecided,
                };
                write.note = Some(Arc::new(plain));
                write.op = Op::Put(stored);
            }
        }
        Ok(transaction)
    }
}

/// The entry as its writer wrote it.
fn from_storage(transformer: &dyn Transformer, entry: Entry) -> Entry {
    match transformer.transform_from_storage(&entry.key, &entry.value) {
        Ok(value) => Entry { value, ..entry },
        Err(error) => {
            tracing::error!(key = &*entry.key, %error, "cannot read a stored value");
            entry
        }
    }
}

fn error_from_storage(transformer: &dyn Transformer, error: Error) -> Error {
    match error {
        Error::Conflict { at, current } => Error::Conflict {
            at,
            current: current.map(|entry| from_storage(transformer, entry)),
        },
        other => other,
    }
}

impl Store for Transformed {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>>> {
        Box::pin(async {
            let found = self.inner.get(key).await?;
            Ok(found.map(|entry| from_storage(&*self.transformer, entry)))
        })
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page>> {
        Box::pin(async {
            let mut page = self.inner.range(range).await?;
            let entries = page.entries.into_iter();
            let entries = entries.map(|entry| from_storage(&*self.transformer, entry));
            page.entries = entries.collect();
            Ok(page)
        })
    }

    fn latest(&self) -> BoxFuture<'_, Result<Revision>> {
        self.inner.latest()
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision>> {
        let mut writes = transaction.writes.iter();
        if !writes.any(|write| self.transformer.transforms(&write.key)) {
            return self.inner.commit(transaction);
        }
        Box::pin(async {
            let committed = self.inner.commit(self.to_storage(transaction)?).await;
            committed.map_err(|error| error_from_storage(&*self.transformer, error))
        })
    }

    fn follow(&self, from: Revision, follower: Arc<dyn Follower>) -> BoxFuture<'_, Result<()>> {
        let transforming = TransformingFollower {
            follower,
            transformer: Arc::clone(&self.transformer),
        };
        self.inner.follow(from, Arc::new(transforming))
    }

    fn compact(&self) -> BoxFuture<'_, Result<()>> {
        self.inner.compact()
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Option<StateSnapshot>>> {
        self.inner.snapshot()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

/// Hands changes on as their writers wrote them.
struct TransformingFollower {
    follower: Arc<dyn Follower>,
    transformer: Arc<dyn Transformer>,
}

impl TransformingFollower {
    /// Whether an event differs from the stored one for the follower.
    fn differs(&self, event: &Event) -> bool {
        let entry = event.entry.as_ref();
        entry.is_some_and(|entry| self.transformer.is_transformed(&entry.key, &entry.value))
    }

    fn event(&self, event: &Event) -> Event {
        let plain = event.note.as_ref();
        let plain = plain.and_then(|note| note.downcast_ref::<Plain>());
        let entry = match (event.entry.clone(), plain) {
            (Some(entry), Some(plain)) => Some(Entry {
                value: plain.value.clone(),
                ..entry
            }),
            (Some(entry), None) => Some(from_storage(&*self.transformer, entry)),
            (None, _) => None,
        };
        Event {
            revision: event.revision,
            key: event.key.clone(),
            entry,
            note: match plain {
                Some(plain) => plain.note.clone(),
                None => event.note.clone(),
            },
        }
    }
}

impl Follower for TransformingFollower {
    fn apply(&self, batch: &[Event]) {
        if !batch.iter().any(|event| self.differs(event)) {
            return self.follower.apply(batch);
        }
        let events: Vec<Event> = batch.iter().map(|event| self.event(event)).collect();
        self.follower.apply(&events);
    }

    fn end(&self, why: Error) {
        self.follower.end(why);
    }
}
