//! A store for tests: in memory, as slow as a remote one, and with its faults.
//!
//! It answers late, lets writes conflict that need not, loses replies and requests, hands changes
//! on only after it has answered, and breaks off. What it does follows from a seed and the order of
//! the calls.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use imbl::OrdMap;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    Entry, Error, Event, Follower, Key, Op, Page, Range, Result, Revision, Store, Transaction,
    random::{SPLIT_MIX_STEP, split_mix},
};

/// How many older states can be read in pages.
const KEPT_STATES: usize = 64;

/// What goes wrong, and how often: in parts of a thousand calls.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// The longest time that a call or the delivery of a batch takes.
    pub latency: Duration,
    /// Transactions that are refused as a conflict although every guard holds.
    pub conflicts: u32,
    /// Transactions that happen and get no answer.
    pub lost_replies: u32,
    /// Transactions that do not happen and get no answer.
    pub lost_requests: u32,
    /// Batches of changes at which a follower is cut off.
    pub broken: u32,
    /// Followers that were cut off and cannot follow from where they were.
    pub forgotten: u32,
}

#[derive(Debug, Default)]
struct State {
    entries: OrdMap<Key, Entry>,
    revision: Revision,
    /// All changes, and the states that they led to.
    events: Vec<Event>,
    /// The oldest revision that can be followed.
    oldest: Revision,
    kept: VecDeque<(Revision, OrdMap<Key, Entry>)>,
    closed: bool,
}

/// The store; clones share the state.
#[derive(Debug, Clone)]
pub struct Double {
    state: Arc<Mutex<State>>,
    faults: Arc<Mutex<Faults>>,
    random: Arc<AtomicU64>,
    /// The number of events, and whether the store has closed.
    signal: Arc<watch::Sender<(usize, bool)>>,
}

impl Double {
    /// An empty store with these faults.
    #[must_use]
    pub fn new(faults: Faults, seed: u64) -> Self {
        Self {
            state: Arc::default(),
            faults: Arc::new(Mutex::new(faults)),
            random: Arc::new(AtomicU64::new(seed)),
            signal: Arc::new(watch::Sender::new((0, false))),
        }
    }

    /// Has other faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        *self.faults.lock() = faults;
    }

    /// The entries with this prefix, as they are stored.
    #[must_use]
    pub fn entries(&self, prefix: &str) -> Vec<Entry> {
        let state = self.state.lock();
        let found = state.entries.values();
        let found = found.filter(|entry| entry.key.starts_with(prefix));
        found.cloned().collect()
    }

    /// All changes since the beginning, also those that can no longer be followed.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.state.lock().events.clone()
    }

    /// Lets followers begin no earlier than now.
    pub fn forget_history(&self) {
        let mut state = self.state.lock();
        state.oldest = state.revision;
    }

    /// The next random number (splitmix64).
    fn next(&self) -> u64 {
        split_mix(self.random.fetch_add(SPLIT_MIX_STEP, Ordering::Relaxed))
    }

    fn happens(&self, rate: impl Fn(&Faults) -> u32) -> bool {
        let rate = u64::from(rate(&self.faults.lock()));
        self.next() % 1000 < rate
    }

    async fn wait(&self) {
        let longest = self.faults.lock().latency;
        if !longest.is_zero() {
            let part = u32::try_from(self.next() % 1000).unwrap_or(0);
            tokio::time::sleep(longest * part / 1000).await;
        }
    }

    async fn transact(&self, transaction: Transaction) -> Result<Revision> {
        transaction.check()?;
        self.wait().await;
        let lost = || Error::Unknown("the connection was lost".into());
        if self.happens(|faults| faults.lost_requests) {
            return Err(lost());
        }
        let is_change = |op: &Op| !matches!(op, Op::Check);
        let guarded = transaction
            .writes
            .iter()
            .position(|write| is_change(&write.op));
        if let Some(at) = guarded.filter(|_| self.happens(|faults| faults.conflicts)) {
            let state = self.state.lock();
            let current = state.entries.get(&transaction.writes[at].key).cloned();
            return Err(Error::Conflict { at, current });
        }
        let (revision, events) = self.state.lock().apply(&transaction)?;
        self.signal.send_modify(|(known, _)| *known = events);
        self.wait().await;
        if self.happens(|faults| faults.lost_replies) {
            return Err(lost());
        }
        Ok(revision)
    }

    /// Hands changes on, beginning with the event of this number.
    async fn deliver(self, follower: Arc<dyn Follower>, mut next: usize) {
        let mut signal = self.signal.subscribe();
        loop {
            let has_more = |(events, closed): &(usize, bool)| *closed || next < *events;
            if signal.wait_for(has_more).await.is_err() {
                return follower.end(Error::Closed);
            }
            self.wait().await;
            if self.happens(|faults| faults.broken) {
                if self.happens(|faults| faults.forgotten) {
                    self.forget_history();
                }
                return follower.end(Error::Broken("the connection was lost".into()));
            }
            let (batch, closed) = {
                let state = self.state.lock();
                (state.events[next..].to_vec(), state.closed)
            };
            next += batch.len();
            if batch.is_empty() && closed {
                return follower.end(Error::Closed);
            }
            if !batch.is_empty() {
                follower.apply(&batch);
            }
        }
    }
}

impl State {
    /// Applies a transaction; returns its revision and the number of events after it.
    fn apply(&mut self, transaction: &Transaction) -> Result<(Revision, usize)> {
        if self.closed {
            return Err(Error::Closed);
        }
        for (at, write) in transaction.writes.iter().enumerate() {
            let current = self.entries.get(&write.key);
            if !write.holds(current) {
                let current = current.cloned();
                return Err(Error::Conflict { at, current });
            }
        }
        let revision = self.revision + 1;
        for write in &transaction.writes {
            let old = self.entries.get(&write.key);
            let entry = match &write.op {
                Op::Check => continue,
                Op::Delete => None,
                Op::Put(value) => Some(Entry {
                    key: write.key.clone(),
                    value: value.clone(),
                    create_revision: old.map_or(revision, |old| old.create_revision),
                    mod_revision: revision,
                }),
            };
            match &entry {
                Some(entry) => drop(self.entries.insert(write.key.clone(), entry.clone())),
                None => drop(self.entries.remove(&write.key)),
            }
            self.revision = revision;
            self.events.push(Event {
                revision,
                key: write.key.clone(),
                entry,
                note: None,
            });
        }
        if self.kept.len() == KEPT_STATES {
            self.kept.pop_front();
        }
        self.kept.push_back((self.revision, self.entries.clone()));
        Ok((self.revision, self.events.len()))
    }

    fn page(&self, range: &Range) -> Result<Page> {
        let revision = range.revision.unwrap_or(self.revision);
        let mut kept = self.kept.iter();
        let entries = match kept.find(|(at, _)| *at == revision) {
            _ if revision == self.revision => &self.entries,
            Some((_, entries)) => entries,
            None => {
                return Err(Error::Compacted {
                    requested: revision,
                    oldest: self.kept.front().map_or(self.revision, |(at, _)| *at),
                });
            }
        };
        let is_later = |entry: &&Entry| range.after.as_ref().is_none_or(|key| *key < entry.key);
        let found = entries.values();
        let found = found.filter(|entry| entry.key.starts_with(&range.prefix));
        let mut found: Vec<Entry> = found.filter(is_later).cloned().collect();
        let has_more = range.limit > 0 && range.limit < found.len();
        if has_more {
            found.truncate(range.limit);
        }
        Ok(Page {
            revision,
            entries: found,
            has_more,
        })
    }
}

impl Store for Double {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>>> {
        Box::pin(async {
            self.wait().await;
            Ok(self.state.lock().entries.get(key).cloned())
        })
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page>> {
        Box::pin(async move {
            self.wait().await;
            self.state.lock().page(&range)
        })
    }

    fn latest(&self) -> BoxFuture<'_, Result<Revision>> {
        Box::pin(async {
            self.wait().await;
            Ok(self.state.lock().revision)
        })
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision>> {
        Box::pin(self.transact(transaction))
    }

    fn follow(&self, from: Revision, follower: Arc<dyn Follower>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.wait().await;
            let next = {
                let state = self.state.lock();
                if from < state.oldest {
                    return Err(Error::Compacted {
                        requested: from,
                        oldest: state.oldest,
                    });
                }
                state.events.partition_point(|event| event.revision <= from)
            };
            let store = self.clone();
            #[expect(
                clippy::disallowed_methods,
                reason = "only tests run this, and the store does not know the runtime's tasks"
            )]
            tokio::spawn(store.deliver(follower, next));
            Ok(())
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.state.lock().closed = true;
            self.signal.send_modify(|(_, closed)| *closed = true);
        })
    }
}
