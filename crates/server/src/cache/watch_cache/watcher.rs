//! A watcher: the bounded queue between the watch cache and one watch request.

use std::{
    collections::VecDeque,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use pandaemon_store::Revision;
use parking_lot::Mutex;

use super::{
    event::{ChangeKind, Event},
    filter::{Filter, Scope},
};

/// Capacity of a watcher's queue, in events: 16 bytes each, beside the shared event.
const QUEUE_EVENTS: usize = 32_768;
/// Capacity of a watcher's queue, in bytes that its events retain: some 20,000 changes of pods. One
/// watcher cannot use up what all may retain together.
const QUEUE_BYTES: usize = 128 << 20;

/// The next item of a watch.
#[derive(Debug)]
pub enum Next {
    /// An event that the filter selects.
    Change(ChangeKind, Arc<Event>),
    /// The server has ended the watch.
    Closed,
    /// The queue was full: the client must list again.
    Lagged,
    /// The cache has missed changes: the client must list again.
    Missed,
}

/// Why a watch gets no more events.
#[derive(Debug, Clone, Copy)]
enum End {
    Closed,
    Lagged,
    Missed,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(ChangeKind, Arc<Event>)>,
    /// Bytes that the waiting events retain.
    bytes: usize,
    end: Option<End>,
}

impl Queue {
    /// Drops the events: the client must list again.
    fn lag(&mut self) {
        self.end = Some(End::Lagged);
        self.bytes = 0;
        self.waiting = VecDeque::new();
    }
}

/// An open watch: its selection and the queue of its events.
#[derive(Debug)]
pub struct Watcher {
    /// Its place in the watcher index.
    pub scope: Scope,
    /// The selection of the watch.
    pub filter: Filter,
    /// The watch starts after this revision.
    since: AtomicU64,
    queue: Mutex<Queue>,
    waker: AtomicWaker,
}

impl Watcher {
    /// A watcher with an empty queue.
    #[must_use]
    pub fn new(scope: Scope, filter: Filter) -> Self {
        Self {
            scope,
            filter,
            since: AtomicU64::new(0),
            queue: Mutex::default(),
            waker: AtomicWaker::new(),
        }
    }

    /// Sets the revision after which the watch starts.
    pub fn start_after(&self, revision: Revision) {
        self.since.store(revision, Ordering::Relaxed);
    }

    /// Queues an event if the watch has started before it and the filter selects it. Returns
    /// `false` when the watcher has ended or its queue is full, and must be removed from the index.
    pub fn offer(&self, event: &Arc<Event>) -> bool {
        if event.change.revision <= self.since.load(Ordering::Relaxed) {
            return true;
        }
        let Some(change) = self.filter.change_kind(&event.change) else {
            return true;
        };
        let alive = {
            let mut queue = self.queue.lock();
            let bytes = queue.bytes + event.bytes;
            if queue.waiting.len() >= QUEUE_EVENTS || bytes > QUEUE_BYTES {
                queue.lag();
            }
            let alive = queue.end.is_none();
            if alive {
                queue.bytes = bytes;
                queue.waiting.push_back((change, Arc::clone(event)));
            }
            alive
        };
        self.waker.wake();
        alive
    }

    /// Drops the queue and ends the watch: the client must list again.
    pub(super) fn lag(&self) {
        self.queue.lock().lag();
        self.waker.wake();
    }

    /// Bytes that the queued events retain.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queue.lock().bytes
    }

    /// Whether the queue was dropped.
    #[must_use]
    pub fn has_lagged(&self) -> bool {
        matches!(self.queue.lock().end, Some(End::Lagged))
    }

    /// Ends the watch after the queued events.
    pub fn close(&self) {
        self.end(End::Closed);
    }

    /// Ends the watch after the queued events: there are later ones that are not known.
    pub(super) fn miss(&self) {
        self.end(End::Missed);
    }

    fn end(&self, why: End) {
        self.queue.lock().end.get_or_insert(why);
        self.waker.wake();
    }

    /// The next event, or the reason for the end.
    pub fn poll_next(&self, context: &Context<'_>) -> Poll<Next> {
        self.waker.register(context.waker());
        let mut queue = self.queue.lock();
        if let Some((change, event)) = queue.waiting.pop_front() {
            queue.bytes -= event.bytes;
            if queue.waiting.is_empty() && queue.waiting.capacity() > 64 {
                queue.waiting = VecDeque::new();
            }
            return Poll::Ready(Next::Change(change, event));
        }
        match queue.end {
            Some(End::Closed) => Poll::Ready(Next::Closed),
            Some(End::Lagged) => Poll::Ready(Next::Lagged),
            Some(End::Missed) => Poll::Ready(Next::Missed),
            None => Poll::Pending,
        }
    }
}
