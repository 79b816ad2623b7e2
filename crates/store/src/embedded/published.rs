//! The state that the writer publishes and readers share: the current snapshot, and a bounded
//! history of recent batches with the positions of its followers.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::{Batch, Error, Event, Feed, Result, Revision, Snapshot};

/// Bounds of the history.
#[derive(Debug, Clone, Copy)]
pub(super) struct HistoryBounds {
    /// Kept although all followers have read it, for new followers from an older revision.
    pub(super) kept: HistorySize,
    /// Maximum, reached only while a follower is behind.
    pub(super) max: HistorySize,
}

/// An amount of history: number of events and bytes of their values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HistorySize {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

impl HistorySize {
    fn exceeds(self, bound: Self) -> bool {
        self.events > bound.events || self.bytes > bound.bytes
    }
}

/// The published state. Written by the writer's thread alone.
#[derive(Debug)]
pub(super) struct Published {
    snapshot: RwLock<Snapshot>,
    history: Mutex<History>,
    /// Number of the next batch. Followers wait for it to change.
    signal: watch::Sender<u64>,
}

/// The recent batches.
#[derive(Debug)]
struct History {
    bounds: HistoryBounds,
    /// Batches with the bytes that each keeps in memory.
    batches: VecDeque<(Batch, usize)>,
    size: HistorySize,
    /// Number of the first batch in `batches`.
    first: u64,
    /// Revision of the last event that was dropped; the oldest revision that can be followed.
    oldest: Revision,
    closed: bool,
    /// For each follower, the number of the batch that it reads next.
    followers: Vec<Weak<AtomicU64>>,
}

impl Published {
    pub(super) fn new(snapshot: Snapshot, bounds: HistoryBounds) -> Self {
        let oldest = snapshot.revision;
        let (batches, size, followers) = (VecDeque::new(), HistorySize::default(), Vec::new());
        let history = History {
            bounds,
            batches,
            size,
            first: 0,
            oldest,
            closed: false,
            followers,
        };
        Self {
            snapshot: RwLock::new(snapshot),
            history: Mutex::new(history),
            signal: watch::Sender::new(0),
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.snapshot.read().clone()
    }

    /// Publishes a batch: first in the snapshot, then in the feeds.
    pub(super) fn publish(&self, snapshot: Snapshot, events: Vec<Event>) {
        // The old snapshot may own the last reference to many tree nodes: free them outside of the
        // lock.
        let old = std::mem::replace(&mut *self.snapshot.write(), snapshot);
        let next = self.history.lock().push(events.into());
        self.signal.send_replace(next);
        drop(old);
    }

    /// Ends every feed after it has read the remaining batches.
    pub(super) fn close(&self) {
        self.history.lock().closed = true;
        self.signal.send_modify(|_| ());
    }

    pub(super) fn follow(self: &Arc<Self>, from: Revision) -> Result<Follower> {
        let mut history = self.history.lock();
        if from < history.oldest {
            return Err(Error::Compacted {
                requested: from,
                oldest: history.oldest,
            });
        }
        let read = history
            .batches
            .partition_point(|(batch, _)| last_revision(batch) <= from);
        let next = history.first + read as u64;
        let position = Arc::new(AtomicU64::new(next));
        history.followers.push(Arc::downgrade(&position));
        let signal = self.signal.subscribe();
        Ok(Follower {
            published: Arc::clone(self),
            signal,
            position,
            next,
            from,
        })
    }
}

fn last_revision(batch: &[Event]) -> Revision {
    batch.last().map_or(0, |event| event.revision)
}

/// Approximate bytes that the history keeps in memory for an event.
fn retained_bytes(event: &Event) -> usize {
    let value = event.entry.as_ref().or(event.previous.as_ref());
    size_of::<Event>() + value.map_or(0, |entry| entry.value.len())
}

impl History {
    fn push(&mut self, batch: Batch) -> u64 {
        let bytes = batch.iter().map(retained_bytes).sum();
        self.size.events += batch.len();
        self.size.bytes += bytes;
        self.batches.push_back((batch, bytes));
        let next = self.first + self.batches.len() as u64;
        self.trim(next);
        next
    }

    /// Drops the oldest batches. Beyond `max` any batch is dropped. Beyond `kept` only batches that
    /// all followers have read.
    fn trim(&mut self, next: u64) {
        let mut slowest = next;
        self.followers.retain(|follower| match follower.upgrade() {
            Some(position) => {
                slowest = slowest.min(position.load(Ordering::Acquire));
                true
            }
            None => false,
        });
        while self.size.exceeds(self.bounds.max)
            || (self.first < slowest && self.size.exceeds(self.bounds.kept))
        {
            let Some((batch, bytes)) = self.batches.pop_front() else {
                return;
            };
            self.size.events -= batch.len();
            self.size.bytes -= bytes;
            self.first += 1;
            self.oldest = last_revision(&batch);
        }
    }

    fn take(&self, next: u64) -> Result<Option<Batch>> {
        let index = next.checked_sub(self.first).ok_or(Error::Lagged)?;
        let index = usize::try_from(index).map_err(|_| Error::Lagged)?;
        match self.batches.get(index) {
            Some((batch, _)) => Ok(Some(Batch::clone(batch))),
            None if self.closed => Err(Error::Closed),
            None => Ok(None),
        }
    }
}

/// A reader of the history: the implementation of [`Feed`].
#[derive(Debug)]
pub(super) struct Follower {
    published: Arc<Published>,
    signal: watch::Receiver<u64>,
    position: Arc<AtomicU64>,
    next: u64,
    /// Events up to and including this revision are skipped.
    from: Revision,
}

impl Follower {
    async fn wait(&mut self) -> Result<Batch> {
        loop {
            // Marked before the check, so that a batch that arrives in between wakes this task.
            self.signal.mark_unchanged();
            if let Some(batch) = self.take()? {
                return Ok(batch);
            }
            self.signal.changed().await.map_err(|_| Error::Closed)?;
        }
    }

    fn take(&mut self) -> Result<Option<Batch>> {
        loop {
            let Some(batch) = self.published.history.lock().take(self.next)? else {
                return Ok(None);
            };
            self.next += 1;
            self.position.store(self.next, Ordering::Release);
            let seen = batch.partition_point(|event| event.revision <= self.from);
            match batch.get(seen..) {
                None | Some([]) => (),
                Some(_) if seen == 0 => return Ok(Some(batch)),
                Some(rest) => return Ok(Some(rest.into())),
            }
        }
    }
}

impl Feed for Follower {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch>> {
        Box::pin(self.wait())
    }
}
