//! The state that the writer publishes: the current snapshot, older ones that are being read in
//! pages, a bounded history of recent batches, and the followers.

use std::{
    collections::VecDeque,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use imbl::OrdMap;
use parking_lot::{Mutex, RwLock};

use crate::{Entry, Error, Event, Follower, Key, Page, Range, Result, Revision};

/// How many older states are kept for readers of pages. A state shares what has not changed since.
const PAGED_STATES: usize = 4;
/// How long an older state is kept after it was read last.
const PAGED_LIFETIME: Duration = Duration::from_secs(60);

/// All entries at one revision. A clone costs constant time and shares the values.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) revision: Revision,
    pub(super) entries: OrdMap<Key, Entry>,
}

impl Snapshot {
    fn page(&self, range: &Range) -> Page {
        let first = match &range.after {
            Some(after) => Bound::Excluded(&**after),
            None => Bound::Included(range.prefix.as_str()),
        };
        let limit = match range.limit {
            0 => usize::MAX,
            limit => limit,
        };
        let found = self.entries.range::<_, str>((first, Bound::Unbounded));
        let mut found = found
            .map(|(_, entry)| entry)
            .take_while(|entry| entry.key.starts_with(&range.prefix));
        Page {
            revision: self.revision,
            entries: found.by_ref().take(limit).cloned().collect(),
            has_more: found.next().is_some(),
        }
    }
}

/// Bounds of the history, which is kept for followers that start from an older revision.
#[derive(Debug, Clone, Copy)]
pub(super) struct HistoryBounds {
    pub(super) events: usize,
    /// Bytes of values.
    pub(super) bytes: usize,
}

/// The published state. Written by the writer's thread alone.
pub(super) struct Published {
    snapshot: RwLock<Snapshot>,
    /// States that are being read in pages, with the time of the last read, the latest last.
    paged: Mutex<VecDeque<(Instant, Snapshot)>>,
    history: Mutex<History>,
}

/// The recent batches and who gets the next ones.
struct History {
    bounds: HistoryBounds,
    /// Batches with the bytes that each keeps in memory.
    batches: VecDeque<(Vec<Event>, usize)>,
    events: usize,
    bytes: usize,
    /// Revision of the last event that was dropped; the oldest revision that can be followed.
    oldest: Revision,
    /// Why no more batches come, once that is so.
    closed: Option<fn() -> Error>,
    followers: Vec<Arc<dyn Follower>>,
}

impl Published {
    pub(super) fn new(snapshot: Snapshot, bounds: HistoryBounds) -> Self {
        let history = History {
            bounds,
            batches: VecDeque::new(),
            events: 0,
            bytes: 0,
            oldest: snapshot.revision,
            closed: None,
            followers: Vec::new(),
        };
        Self {
            snapshot: RwLock::new(snapshot),
            paged: Mutex::default(),
            history: Mutex::new(history),
        }
    }

    /// The latest revision.
    pub(super) fn revision(&self) -> Revision {
        self.snapshot.read().revision
    }

    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        self.snapshot.read().entries.get(key).cloned()
    }

    pub(super) fn range(&self, range: &Range) -> Result<Page> {
        let latest = self.snapshot.read().clone();
        let snapshot = match range.revision {
            Some(revision) if revision != latest.revision => {
                let mut paged = self.paged.lock();
                let kept = paged.iter().position(|(_, kept)| kept.revision == revision);
                let kept = kept.and_then(|at| paged.remove(at));
                let (_, snapshot) = kept.ok_or(Error::Compacted {
                    requested: revision,
                    oldest: latest.revision,
                })?;
                snapshot
            }
            Some(_) | None => latest,
        };
        let page = snapshot.page(range);
        // Also after the last page: the same reader may read another range of the state.
        if page.has_more || range.revision.is_some() {
            let mut paged = self.paged.lock();
            paged.retain(|(_, kept)| kept.revision != snapshot.revision);
            if paged.len() == PAGED_STATES {
                paged.pop_front();
            }
            paged.push_back((Instant::now(), snapshot));
        }
        Ok(page)
    }

    /// Drops states that were not read for long: they keep what was deleted since in memory.
    fn expire_pages(&self) {
        let mut paged = self.paged.lock();
        while paged
            .front()
            .is_some_and(|(read, _)| read.elapsed() > PAGED_LIFETIME)
        {
            paged.pop_front();
        }
    }

    /// Publishes a batch: first in the snapshot, then to the followers.
    pub(super) fn publish(&self, snapshot: Snapshot, events: Vec<Event>) {
        // The old snapshot may own the last reference to many tree nodes: free them outside of the
        // lock.
        let old = std::mem::replace(&mut *self.snapshot.write(), snapshot);
        self.history.lock().push(events);
        self.expire_pages();
        drop(old);
    }

    /// Why no more batches come. For callers who know that the writer has ended.
    pub(super) fn why_closed(&self) -> Error {
        let closed = self.history.lock().closed;
        closed.map_or(Error::Closed, |why| why())
    }

    /// Ends every follower for this reason, and those that come later. Only the first close counts.
    pub(super) fn close(&self, why: fn() -> Error) {
        let mut history = self.history.lock();
        history.closed.get_or_insert(why);
        for follower in history.followers.drain(..) {
            // A panic must not keep the others from hearing of it.
            let ended = catch_unwind(AssertUnwindSafe(|| follower.end(why())));
            if ended.is_err() {
                tracing::error!("a follower of the store panicked when it ended");
            }
        }
    }

    pub(super) fn follow(&self, from: Revision, follower: Arc<dyn Follower>) -> Result<()> {
        let mut history = self.history.lock();
        if let Some(why) = history.closed {
            return Err(why());
        }
        if from < history.oldest {
            return Err(Error::Compacted {
                requested: from,
                oldest: history.oldest,
            });
        }
        let missed = history.batches.iter().flat_map(|(batch, _)| batch);
        let missed = missed.filter(|event| event.revision > from).cloned();
        let missed: Vec<Event> = missed.collect();
        if missed.is_empty() || takes(&follower, &missed) {
            history.followers.push(follower);
        }
        Ok(())
    }
}

/// Hands a batch to a follower. Returns whether it gets more.
fn takes(follower: &Arc<dyn Follower>, batch: &[Event]) -> bool {
    // The writer must not end with a follower: others wait for it.
    let applied = catch_unwind(AssertUnwindSafe(|| follower.apply(batch)));
    if applied.is_err() {
        tracing::error!("a follower of the store panicked and gets no more changes");
        follower.end(Error::Panicked);
    }
    applied.is_ok()
}

/// Approximate bytes that the history keeps in memory for an event.
fn retained_bytes(event: &Event) -> usize {
    let value = event.entry.as_ref();
    size_of::<Event>() + value.map_or(0, |entry| entry.value.len())
}

impl History {
    fn push(&mut self, mut batch: Vec<Event>) {
        self.followers.retain(|follower| takes(follower, &batch));
        for event in &mut batch {
            // A note is for those who follow now.
            event.note = None;
        }
        let bytes = batch.iter().map(retained_bytes).sum();
        self.events += batch.len();
        self.bytes += bytes;
        self.batches.push_back((batch, bytes));
        while self.events > self.bounds.events || self.bytes > self.bounds.bytes {
            let Some((batch, bytes)) = self.batches.pop_front() else {
                return;
            };
            self.events -= batch.len();
            self.bytes -= bytes;
            self.oldest = batch.last().map_or(self.oldest, |event| event.revision);
        }
    }
}

impl std::fmt::Debug for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Published")
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}
