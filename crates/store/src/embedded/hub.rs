//! What readers see: the current snapshot, and a bounded ring of recent batches with its followers.

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

/// Bounds of the ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Kept for followers that ask for an older revision.
    pub(super) kept: Size,
    /// Kept at most, for followers that are behind.
    pub(super) most: Size,
}

/// An amount of history.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

impl Size {
    fn exceeds(self, bound: Self) -> bool {
        self.events > bound.events || self.bytes > bound.bytes
    }
}

/// The point where the writer and all readers meet.
#[derive(Debug)]
pub(super) struct Hub {
    snapshot: RwLock<Snapshot>,
    ring: Mutex<Ring>,
    /// Number of the batch that comes next; tells followers to look.
    signal: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    bounds: Bounds,
    batches: VecDeque<(Batch, usize)>,
    size: Size,
    /// Number of the first batch.
    first: u64,
    /// Revision of the last event that is gone.
    oldest: Revision,
    closed: bool,
    followers: Vec<Weak<AtomicU64>>,
}

impl Hub {
    pub(super) fn new(snapshot: Snapshot, bounds: Bounds) -> Self {
        let oldest = snapshot.revision;
        let (batches, size, followers) = (VecDeque::new(), Size::default(), Vec::new());
        let ring = Ring {
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
            ring: Mutex::new(ring),
            signal: watch::Sender::new(0),
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.snapshot.read().clone()
    }

    /// Makes a batch visible: first in the snapshot, then in the feeds.
    pub(super) fn publish(&self, snapshot: Snapshot, events: Vec<Event>) {
        // The old snapshot may own the last reference to many nodes: free them outside of the lock.
        let old = std::mem::replace(&mut *self.snapshot.write(), snapshot);
        let next = self.ring.lock().push(events.into());
        self.signal.send_replace(next);
        drop(old);
    }

    /// Ends all feeds once they have read what there is.
    pub(super) fn close(&self) {
        self.ring.lock().closed = true;
        self.signal.send_modify(|_| ());
    }

    pub(super) fn follow(self: &Arc<Self>, from: Revision) -> Result<Follower> {
        let mut ring = self.ring.lock();
        if from < ring.oldest {
            return Err(Error::Compacted {
                asked: from,
                oldest: ring.oldest,
            });
        }
        let read = ring
            .batches
            .partition_point(|(batch, _)| last(batch) <= from);
        let next = ring.first + read as u64;
        let position = Arc::new(AtomicU64::new(next));
        ring.followers.push(Arc::downgrade(&position));
        let signal = self.signal.subscribe();
        Ok(Follower {
            hub: Arc::clone(self),
            signal,
            position,
            next,
            from,
        })
    }
}

fn last(batch: &[Event]) -> Revision {
    batch.last().map_or(0, |event| event.revision)
}

/// What an event keeps in memory that nothing else has to.
fn weight(event: &Event) -> usize {
    let value = event.entry.as_ref().or(event.previous.as_ref());
    size_of::<Event>() + value.map_or(0, |entry| entry.value.len())
}

impl Ring {
    fn push(&mut self, batch: Batch) -> u64 {
        let bytes = batch.iter().map(weight).sum();
        self.size.events += batch.len();
        self.size.bytes += bytes;
        self.batches.push_back((batch, bytes));
        let next = self.first + self.batches.len() as u64;
        self.trim(next);
        next
    }

    /// Drops the oldest batches: those that nobody waits for beyond the smaller bound, all beyond the
    /// bigger one.
    fn trim(&mut self, next: u64) {
        let mut slowest = next;
        self.followers.retain(|follower| match follower.upgrade() {
            Some(position) => {
                slowest = slowest.min(position.load(Ordering::Acquire));
                true
            }
            None => false,
        });
        while self.size.exceeds(self.bounds.most)
            || (self.first < slowest && self.size.exceeds(self.bounds.kept))
        {
            let Some((batch, bytes)) = self.batches.pop_front() else {
                return;
            };
            self.size.events -= batch.len();
            self.size.bytes -= bytes;
            self.first += 1;
            self.oldest = last(&batch);
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

/// One reader of the ring.
#[derive(Debug)]
pub(super) struct Follower {
    hub: Arc<Hub>,
    signal: watch::Receiver<u64>,
    position: Arc<AtomicU64>,
    next: u64,
    /// Nothing up to this revision is wanted.
    from: Revision,
}

impl Follower {
    async fn wait(&mut self) -> Result<Batch> {
        loop {
            // Seen before looking, so that a batch that comes in between wakes this task.
            self.signal.mark_unchanged();
            if let Some(batch) = self.take()? {
                return Ok(batch);
            }
            self.signal.changed().await.map_err(|_| Error::Closed)?;
        }
    }

    fn take(&mut self) -> Result<Option<Batch>> {
        loop {
            let Some(batch) = self.hub.ring.lock().take(self.next)? else {
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
