//! The writer thread: commits the transactions that arrived while the disk was busy as one batch,
//! hands the changes to the followers, and answers.

use std::{
    io, mem,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    checkpoint::{Checkpoint, Written},
    counters::Counters,
    frame::{Frame, Record},
    lock::Lock,
    log::Log,
    plan::{Plan, State},
    published::{Published, Snapshot},
};
use crate::{Error, Event, Result, Revision, Transaction};

/// Maximum number of transactions in a batch.
const MAX_BATCH: usize = 4096;
/// A batch with so many bytes of values takes no more transactions.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// How long a batch waits for more transactions while several clients write concurrently. Each
/// batch, whatever its size, wakes all readers and makes a new version of the persistent maps. A
/// single client that writes one after the other never waits.
const BATCH_DELAY: Duration = Duration::from_micros(200);
/// A batch of this many transactions does not wait for more.
const BATCH_TARGET: usize = 64;

/// A transaction with the way back to its caller.
type Pending = (Transaction, oneshot::Sender<Result<Revision>>);

/// A message to the writer thread.
#[derive(Debug)]
pub(super) enum Request {
    /// Commit a transaction and send the result.
    Commit(Transaction, oneshot::Sender<Result<Revision>>),
    /// Write a checkpoint of the state after the transactions that came before, and reply when the
    /// files from before are gone.
    Compact(oneshot::Sender<Result<()>>),
    /// A checkpoint has ended.
    CheckpointEnded,
    /// Commit the transactions that came before, close the store, then reply.
    Close(oneshot::Sender<()>),
}

/// The state of the writer thread.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) directory: PathBuf,
    pub(super) queue: mpsc::Receiver<Request>,
    pub(super) state: State,
    pub(super) log: Log,
    pub(super) frame: Frame,
    pub(super) published: Arc<Published>,
    pub(super) counters: Counters,
    /// Bytes of log after which a checkpoint is due, whatever the size of the state.
    pub(super) log_limit: u64,
    /// Bytes of log at which the next checkpoint starts.
    pub(super) checkpoint_at: u64,
    pub(super) checkpoint: Option<Running>,
    /// The callers that wait for a checkpoint which has not begun.
    pub(super) compactions: Vec<oneshot::Sender<Result<()>>>,
    /// Wakes the writer when a checkpoint has ended.
    pub(super) wake: mpsc::WeakSender<Request>,
    pub(super) concurrency: Concurrency,
    /// Held while the thread runs.
    pub(super) _lock: Lock,
}

/// A checkpoint that is being written.
#[derive(Debug)]
pub(super) struct Running {
    thread: JoinHandle<io::Result<Written>>,
    /// The callers that wait for it.
    compactions: Vec<oneshot::Sender<Result<()>>>,
}

/// Estimates whether clients write concurrently: the moving average of batch sizes, in 1/1024
/// writes.
#[derive(Debug, Default)]
pub(super) struct Concurrency(usize);

impl Concurrency {
    fn record(&mut self, batch: usize) {
        self.0 = (self.0 * 7 + batch.min(BATCH_TARGET) * 1024) / 8;
    }

    /// Whether the average batch has clearly more than one write.
    fn is_high(&self) -> bool {
        self.0 > 1090
    }
}

impl Writer {
    /// Serves requests until the store is closed or dropped.
    pub(super) fn run(mut self) {
        let mut requests = Vec::new();
        let mut closing = Vec::new();
        while closing.is_empty() && self.queue.blocking_recv_many(&mut requests, MAX_BATCH) > 0 {
            if self.concurrency.is_high() && requests.len() < BATCH_TARGET {
                thread::sleep(BATCH_DELAY);
                while requests.len() < MAX_BATCH
                    && let Ok(request) = self.queue.try_recv()
                {
                    requests.push(request);
                }
            }
            self.concurrency.record(requests.len());
            let mut pending = Vec::with_capacity(requests.len());
            let mut bytes = 0;
            for request in requests.drain(..) {
                match request {
                    // What comes after the close request is dropped, so its callers get
                    // `Error::Closed`.
                    Request::Commit(..) if !closing.is_empty() => (),
                    Request::Commit(transaction, reply) => {
                        bytes += transaction.size();
                        pending.push((transaction, reply));
                        if bytes >= MAX_BATCH_BYTES {
                            self.batch(mem::take(&mut pending));
                            bytes = 0;
                        }
                    }
                    Request::Compact(reply) => self.compactions.push(reply),
                    Request::CheckpointEnded => self.end_checkpoint(),
                    Request::Close(reply) => closing.push(reply),
                }
            }
            self.batch(pending);
            self.check_log();
        }
        self.finish();
        drop(self);
        for reply in closing {
            // Fails if the caller of `close` was dropped.
            let _ = reply.send(());
        }
    }

    fn batch(&mut self, pending: Vec<Pending>) {
        if pending.is_empty() {
            return;
        }
        let results = match self.commit(&pending, None) {
            Ok(results) => results,
            Err(text) => {
                tracing::error!(
                    error = text,
                    transactions = pending.len(),
                    "the disk refused a batch of transactions"
                );
                // Volatile transactions need no disk and are still committed. If this fails too,
                // the whole batch fails.
                let refused = self.commit(&pending, Some(&text));
                refused.unwrap_or_else(|text| {
                    let failed = |_| Err(Error::Storage(text.clone()));
                    pending.iter().map(failed).collect()
                })
            }
        };
        for ((_, reply), result) in pending.into_iter().zip(results) {
            match &result {
                Ok(_) => self.counters.writes.inc(),
                Err(Error::Conflict { .. }) => self.counters.conflicts.inc(),
                Err(_) => self.counters.failures.inc(),
            };
            // Fails if the caller was dropped. The write stands.
            drop(reply.send(result));
        }
    }

    /// Commits a batch as a whole. On an error no part of it is visible.
    fn commit(
        &mut self,
        pending: &[Pending],
        refused: Option<&str>,
    ) -> Result<Vec<Result<Revision>>, String> {
        let mut plan = Plan::new(&self.state, &mut self.frame, refused);
        let results = pending
            .iter()
            .map(|(transaction, _)| plan.transact(transaction));
        let results = results.collect();
        let needs_disk = plan.finish();
        let Plan {
            state,
            events,
            durable,
            ..
        } = plan;
        if needs_disk {
            match self.log.append(&mut self.frame) {
                Ok(took) => self.counters.synced(durable, took),
                Err(error) => {
                    // The bytes may have reached the disk. These revisions must not be used again.
                    self.state.revision = state.revision;
                    return Err(append_error(&self.directory, &error));
                }
            }
        }
        if !events.is_empty() {
            self.state = state;
            self.publish(events);
        }
        Ok(results)
    }

    fn publish(&self, events: Vec<Event>) {
        self.update_gauges();
        let snapshot = Snapshot {
            revision: self.state.revision,
            entries: self.state.entries.clone(),
        };
        self.published.publish(snapshot, events);
    }

    /// Sets the gauges of the current state.
    pub(super) fn update_gauges(&self) {
        let State {
            entries,
            revision,
            bytes,
            ..
        } = &self.state;
        self.counters.revision.set(*revision);
        self.counters.entries.set(entries.len() as u64);
        self.counters.bytes.set(*bytes);
    }

    /// Starts a checkpoint when the log has grown enough or when a caller wants one.
    fn check_log(&mut self) {
        self.counters.log_bytes.set(self.log.grown());
        let is_due = self.log.grown() >= self.checkpoint_at || !self.compactions.is_empty();
        if !is_due || self.checkpoint.is_some() {
            return;
        }
        let compactions = mem::take(&mut self.compactions);
        if let Err(error) = self.log.rotate() {
            tracing::warn!(%error, "cannot create a log segment; the checkpoint is retried later");
            self.checkpoint_at = self.log.grown() + self.log_limit / 4;
            return answer(compactions, &Err(append_error(&self.directory, &error)));
        }
        let State {
            entries,
            volatile,
            reserved,
            ..
        } = self.state.clone();
        let (segment, next) = (self.log.segment(), self.log.next_sequence());
        let checkpoint = Checkpoint {
            segment,
            next,
            entries,
            volatile,
            reserved,
        };
        let (directory, wake) = (self.directory.clone(), self.wake.clone());
        let write = move || {
            let _wakes = WakeOnDrop(wake);
            checkpoint.write(&directory)
        };
        let thread = thread::Builder::new().name("store-checkpoint".to_owned());
        match thread.spawn(write) {
            Ok(thread) => {
                self.checkpoint = Some(Running {
                    thread,
                    compactions,
                });
            }
            Err(error) => answer(compactions, &Err(format!("start a thread: {error}"))),
        }
        self.checkpoint_at = self.log_limit;
    }

    /// Handles the end of the checkpoint, and answers those who wait for it. The thread has ended,
    /// or is about to.
    fn end_checkpoint(&mut self) {
        let Some(running) = self.checkpoint.take() else {
            return;
        };
        let failed = |error: &io::Error| Err(append_error(&self.directory, error));
        let result = match running.thread.join() {
            Ok(Ok(Written { size, removed })) => {
                self.counters.checkpoints.inc();
                // With at least as much log as state, a write is rewritten at most once on average.
                self.checkpoint_at = self.log_limit.max(size);
                removed.or_else(|error| failed(&error))
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot write a checkpoint; the log grows until the next attempt");
                self.checkpoint_at = self.log.grown() + self.log_limit / 4;
                failed(&error)
            }
            Err(_) => {
                let text = "the checkpoint thread panicked; the log grows until the next attempt";
                tracing::error!("{text}");
                Err(text.to_owned())
            }
        };
        answer(running.compactions, &result);
    }

    /// Records the exact revision, so that the next start continues without a gap, and ends all
    /// followers.
    fn finish(&mut self) {
        self.queue.close();
        if self.checkpoint.is_some() {
            self.end_checkpoint();
        }
        self.frame.clear();
        if self.state.reserved != self.state.revision {
            self.frame.push(Record::Reserve(self.state.revision));
            let closed = self.log.append(&mut self.frame);
            if let Err(error) = closed.and_then(|_| self.log.trim()) {
                tracing::warn!(%error, "cannot record the last revision; the next start skips revisions");
            }
        }
        self.published.close();
    }
}

/// Wakes the writer when the thread of a checkpoint ends, also by a panic.
struct WakeOnDrop(mpsc::WeakSender<Request>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        if let Some(queue) = self.0.upgrade() {
            // Fails when the writer closes; it waits for the thread then.
            drop(queue.blocking_send(Request::CheckpointEnded));
        }
    }
}

/// Answers those who wait for a compaction.
fn answer(compactions: Vec<oneshot::Sender<Result<()>>>, result: &Result<(), String>) {
    for reply in compactions {
        // Fails if the caller was dropped.
        drop(reply.send(result.clone().map_err(Error::Storage)));
    }
}

/// The error text of a failed append: what happened, where, and what to do.
fn append_error(directory: &Path, error: &io::Error) -> String {
    let directory = directory.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!(
            "the disk of the data directory {directory} is full ({error}): free space there; writes resume by themselves"
        ),
        _ => format!("write to {directory}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::Concurrency;

    #[test]
    fn concurrency_is_high_only_while_batches_have_several_writes() {
        let mut concurrency = Concurrency::default();
        for _ in 0..100 {
            concurrency.record(1);
            assert!(!concurrency.is_high());
        }
        concurrency.record(2);
        assert!(concurrency.is_high());
        (0..20).for_each(|_| concurrency.record(1));
        assert!(!concurrency.is_high());
    }
}
