//! One who follows: a bounded queue between the cache and one connection.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;

use super::{
    event::{ChangeKind, Event},
    hub::{Filter, Scope},
};

/// How many undelivered events a watcher may hold. The events themselves are shared with the history,
/// so a full queue costs 16 bytes an event.
const QUEUE: usize = 32_768;

/// What comes next for a watcher.
#[derive(Debug)]
pub enum Next {
    /// A change that the filter lets through.
    Change(ChangeKind, Arc<Event>),
    /// The server ends the watch.
    Closed,
    /// The reader was too slow: it must list again.
    Lagged,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(ChangeKind, Arc<Event>)>,
    lagged: bool,
    closed: bool,
}

/// One watch.
#[derive(Debug)]
pub struct Watcher {
    /// Where it hangs in the index.
    pub scope: Scope,
    /// What it wants of what the index brings.
    pub filter: Filter,
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
            queue: Mutex::default(),
            waker: AtomicWaker::new(),
        }
    }

    /// Hands over a change if the filter wants it. `false` when the watcher is done for.
    pub fn offer(&self, event: &Arc<Event>) -> bool {
        let Some(change) = self.filter.change(event) else {
            return true;
        };
        let alive = {
            let mut queue = self.queue.lock();
            if queue.waiting.len() >= QUEUE {
                queue.lagged = true;
                queue.waiting = VecDeque::new();
            }
            let alive = !queue.lagged && !queue.closed;
            if alive {
                queue.waiting.push_back((change, Arc::clone(event)));
            }
            alive
        };
        self.waker.wake();
        alive
    }

    /// Ends the watch after what is queued.
    pub fn close(&self) {
        self.queue.lock().closed = true;
        self.waker.wake();
    }

    /// The next change, or the end.
    pub fn poll_next(&self, context: &Context<'_>) -> Poll<Next> {
        self.waker.register(context.waker());
        let mut queue = self.queue.lock();
        if let Some((change, event)) = queue.waiting.pop_front() {
            if queue.waiting.is_empty() && queue.waiting.capacity() > 64 {
                queue.waiting = VecDeque::new();
            }
            return Poll::Ready(Next::Change(change, event));
        }
        match (queue.lagged, queue.closed) {
            (true, _) => Poll::Ready(Next::Lagged),
            (_, true) => Poll::Ready(Next::Closed),
            _ => Poll::Pending,
        }
    }
}
