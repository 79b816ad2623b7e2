//! What the clients share: the clock, the server that runs now, and the record.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use pandaemon_histories::{Answer, History, Operation, WatchLog};
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

/// A server process that can be asked.
#[derive(Clone)]
pub(super) struct Server {
    /// The number of the process.
    pub generation: u32,
    /// A client that repeats nothing by itself.
    pub client: kube::Client,
}

pub(super) struct Recorder {
    began: Instant,
    server: watch::Sender<Option<Server>>,
    stopped: AtomicBool,
    /// The revision of the last write of all.
    last: AtomicU64,
    values: AtomicU64,
    /// With the process that each was sent to.
    operations: Mutex<Vec<(u32, Operation)>>,
    written: watch::Sender<usize>,
    /// When processes had ended.
    ends: Mutex<BTreeMap<u32, u64>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            server: watch::Sender::new(None),
            stopped: AtomicBool::default(),
            last: AtomicU64::default(),
            values: AtomicU64::default(),
            operations: Mutex::default(),
            written: watch::Sender::new(0),
            ends: Mutex::default(),
        }
    }
}

impl Recorder {
    /// Nanoseconds since the record began.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap()
    }

    /// A value that no other write has.
    pub(super) fn next_value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The running server; waits while there is none.
    pub(super) async fn server(&self) -> Server {
        let mut servers = self.server.subscribe();
        let running = servers.wait_for(Option::is_some).await.unwrap();
        running.clone().unwrap()
    }

    /// A new process runs.
    pub(super) fn started(&self, server: Server) {
        self.server.send_replace(Some(server));
    }

    /// The process has ended: what it was asked and did not answer has no effect any more.
    pub(super) fn ended(&self, generation: u32) {
        self.ends.lock().insert(generation, self.now());
        self.server.send_replace(None);
    }

    pub(super) fn record(&self, generation: u32, operation: Operation) {
        if matches!(operation.answer, Answer::Written(_)) {
            self.written.send_modify(|count| *count += 1);
        }
        self.operations.lock().push((generation, operation));
    }

    /// How many writes have been acknowledged.
    pub(super) fn written(&self) -> usize {
        *self.written.borrow()
    }

    /// Waits until so many writes have been acknowledged.
    pub(super) async fn reach(&self, goal: usize) {
        let mut written = self.written.subscribe();
        written.wait_for(|count| *count >= goal).await.unwrap();
    }

    /// Tells the clients to end.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// The last write has this revision: watches end once they have seen it.
    pub(super) fn set_last(&self, revision: u64) {
        self.last.store(revision, Ordering::Release);
    }

    /// The revision of the last write, once it is known.
    pub(super) fn last(&self) -> Option<u64> {
        let last = self.last.load(Ordering::Acquire);
        (last > 0).then_some(last)
    }

    /// Everything that was recorded.
    pub(super) fn history(&self, watches: Vec<WatchLog>) -> History {
        let ends = self.ends.lock();
        let operations = self.operations.lock();
        let operations = operations.iter().map(|(generation, operation)| {
            let mut operation = operation.clone();
            if operation.answer == Answer::Unknown {
                let ended = ends.get(generation).copied();
                // A client may send a request to a process that has just ended.
                if ended.is_some_and(|ended| ended <= operation.called) {
                    operation.answer = Answer::Refused;
                } else {
                    operation.ended = ended;
                }
            }
            operation
        });
        History {
            operations: operations.collect(),
            watches,
        }
    }
}
