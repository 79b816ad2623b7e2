//! Helpers of the tests: constructors of transactions, a follower that keeps what it gets, and
//! entries, events and states as text.

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use pandaemon_store::{
    Durability, Embedded, Entry, Error, Event, Expect, Follower, Op, Options, Range, Revision,
    Store, Transaction,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

pub(crate) fn open(directory: &Path) -> Embedded {
    Embedded::open(directory, Options::default()).unwrap()
}

pub(crate) fn put(key: &str, expect: Expect, value: &str) -> Transaction {
    let op = Op::Put(Bytes::copy_from_slice(value.as_bytes()));
    Transaction::of(key.into(), expect, op)
}

pub(crate) fn volatile(transaction: Transaction) -> Transaction {
    Transaction {
        durability: Durability::Volatile,
        ..transaction
    }
}

pub(crate) fn volatile_put(key: &str, expect: Expect, value: &str) -> Transaction {
    volatile(put(key, expect, value))
}

pub(crate) fn delete(key: &str, revision: Revision) -> Transaction {
    Transaction::of(key.into(), Expect::At(revision), Op::Delete)
}

/// One transaction of the writes of several.
pub(crate) fn together(all: impl IntoIterator<Item = Transaction>) -> Transaction {
    let writes = all.into_iter().flat_map(|transaction| transaction.writes);
    Transaction {
        writes: writes.collect(),
        durability: Durability::Durable,
    }
}

fn entry(entry: &Entry) -> String {
    let value = String::from_utf8_lossy(&entry.value);
    format!(
        "{}={value}@{}/{}",
        entry.key, entry.create_revision, entry.mod_revision
    )
}

pub(crate) fn show(event: &Event) -> String {
    let gone = || format!("{} is gone", event.key);
    let now = event.entry.as_ref().map_or_else(gone, entry);
    format!("{}: {now}", event.revision)
}

/// All entries of a store, as text.
pub(crate) async fn all(store: &dyn Store) -> Vec<String> {
    let page = store.range(Range::default()).await.unwrap();
    page.entries.iter().map(entry).collect()
}

pub(crate) fn entries(store: &Embedded) -> Vec<Entry> {
    let page = futures::executor::block_on(store.range(Range::default()));
    page.unwrap().entries
}

pub(crate) fn state(store: &Embedded) -> Vec<String> {
    entries(store).iter().map(entry).collect()
}

pub(crate) fn latest(store: &Embedded) -> Revision {
    futures::executor::block_on(store.latest()).unwrap()
}

/// A follower that keeps the batches and the reason of the end.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    batches: Mutex<Vec<Vec<Event>>>,
    end: Mutex<Option<Error>>,
    news: Notify,
}

impl Follower for Kept {
    fn apply(&self, batch: &[Event]) {
        self.batches.lock().push(batch.to_vec());
        self.news.notify_one();
    }

    fn end(&self, why: Error) {
        *self.end.lock() = Some(why);
        self.news.notify_one();
    }
}

impl Kept {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) async fn of(store: &dyn Store, from: Revision) -> Arc<Self> {
        let kept = Self::new();
        store.follow(from, Arc::clone(&kept) as _).await.unwrap();
        kept
    }

    /// The batches so far, as text.
    pub(crate) fn batches(&self) -> Vec<Vec<String>> {
        let batches = self.batches.lock();
        batches
            .iter()
            .map(|batch| batch.iter().map(show).collect())
            .collect()
    }

    /// The events so far, as text.
    pub(crate) fn events(&self) -> Vec<String> {
        self.batches().concat()
    }

    /// The events, once there are so many.
    pub(crate) async fn until(&self, count: usize) -> Vec<String> {
        while self.events().len() < count {
            self.news.notified().await;
        }
        self.events()
    }

    /// Why no more come, once it is so.
    pub(crate) async fn ended(&self) -> Error {
        loop {
            if let Some(why) = self.end.lock().take() {
                return why;
            }
            self.news.notified().await;
        }
    }
}

/// Copies the data directory as it is: what a kill at this moment would leave.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.file_name() != "lock" {
            // A checkpoint may remove a file meanwhile; then the checkpoint replaces it.
            drop(fs::copy(file.path(), to.join(file.file_name())));
        }
    }
}
