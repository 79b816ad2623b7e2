//! The writer thread: commits the transactions that arrived while the disk was busy as one batch,
//! hands the changes to the followers, and answers.

use std::{io, mem, path::Path, sync::Arc, thread, time::Duration};

use tokio::sync::{mpsc, oneshot};

use super::{
    backup::StateSnapshot,
    checkpoint::{Checkpoint, Written},
    counters::Counters,
    frame::{Frame, Record},
    held::Held,
    log::{AppendError, Log, is_full},
    plan::{Plan, Refused, State},
    published::{Published, Snapshot},
    state_frames::Durable,
};
use crate::{Error, Event, Result, Revision, Transaction, disk::Disk};

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
    /// Send the state after the transactions that were answered before.
    Snapshot(oneshot::Sender<StateSnapshot>),
    /// A checkpoint has ended.
    CheckpointEnded,
    /// Commit the transactions that came before, close the store, then reply.
    Close(oneshot::Sender<()>),
}

/// The work of a checkpoint.
pub(super) type Job = Box<dyn FnOnce() -> io::Result<Written> + Send>;
/// Waits for the end of a job. The error is that of a panic.
pub(super) type Outcome = Box<dyn FnOnce() -> thread::Result<io::Result<Written>> + Send>;
/// Starts a job.
pub(super) type Start = fn(Job) -> io::Result<Outcome>;

/// Does a job in a thread of its own.
pub(super) fn on_a_thread(job: Job) -> io::Result<Outcome> {
    let thread = thread::Builder::new().name("store-checkpoint".to_owned());
    let thread = thread.spawn(job)?;
    Ok(Box::new(|| thread.join()))
}

/// The state of the writer thread.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) disk: Arc<dyn Disk>,
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
    /// Starts the writing of a checkpoint.
    pub(super) start: Start,
    /// Released when the store has closed in order.
    pub(super) lock: Arc<Held>,
}

/// A checkpoint that is being written.
pub(super) struct Running {
    outcome: Outcome,
    /// The callers that wait for it.
    compactions: Vec<oneshot::Sender<Result<()>>>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

/// Ends all followers when dropped, also by a panic of the writer: what they follow has no more
/// changes.
struct EndFollowers(Arc<Published>);

impl Drop for EndFollowers {
    fn drop(&mut self) {
        self.0.close(match thread::panicking() {
            true => || Error::WriterPanicked,
            false => || Error::Closed,
        });
    }
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
        let _ends = EndFollowers(Arc::clone(&self.published));
        let mut requests = Vec::new();
        let mut closing = Vec::new();
        self.check_log();
        while closing.is_empty() && self.queue.blocking_recv_many(&mut requests, MAX_BATCH) > 0 {
            if self.concurrency.is_high() && requests.len() < BATCH_TARGET {
                thread::sleep(BATCH_DELAY);
                while requests.len() < MAX_BATCH
                    && let Ok(request) = self.queue.try_recv()
                {
                    requests.push(request);
                }
            }
            self.serve(requests.drain(..), &mut closing);
        }
        self.finish();
        for reply in closing {
            // Fails if the caller of `close` was dropped.
            let _ = reply.send(());
        }
    }

    /// Serves requests as one batch, unless they are too large for one. Keeps those who wait for
    /// the close.
    pub(super) fn serve(
        &mut self,
        requests: impl ExactSizeIterator<Item = Request>,
        closing: &mut Vec<oneshot::Sender<()>>,
    ) {
        self.concurrency.record(requests.len());
        let mut pending = Vec::with_capacity(requests.len());
        let mut bytes = 0;
        for request in requests {
            match request {
                Request::Commit(_, reply) if !closing.is_empty() => refuse(reply),
                Request::Commit(transaction, reply) => {
                    bytes += transaction.size();
                    pending.push((transaction, reply));
                    if bytes >= MAX_BATCH_BYTES {
                        self.batch(mem::take(&mut pending));
                        bytes = 0;
                    }
                }
                Request::Compact(reply) => self.compactions.push(reply),
                Request::Snapshot(reply) => {
                    let revision = self.state.revision;
                    // Fails if the caller was dropped.
                    drop(reply.send(StateSnapshot::new(self.durable(revision))));
                }
                Request::CheckpointEnded => self.end_checkpoint(),
                Request::Close(reply) => closing.push(reply),
            }
        }
        self.batch(pending);
        self.check_log();
    }

    fn batch(&mut self, pending: Vec<Pending>) {
        if pending.is_empty() {
            return;
        }
        let results = match self.commit(&pending, None) {
            Ok(results) => results,
            Err(refused) => {
                tracing::error!(
                    error = refused.text,
                    transactions = pending.len(),
                    "the disk refused a batch of transactions"
                );
                // Volatile transactions need no disk and are still committed. If this fails too,
                // the whole batch fails.
                let others = self.commit(&pending, Some(&refused));
                others.unwrap_or_else(|_| {
                    let failed = |at| Err(refused.error(at));
                    (0..pending.len()).map(failed).collect()
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
        refused: Option<&Refused>,
    ) -> Result<Vec<Result<Revision>>, Refused> {
        let mut plan = Plan::new(&self.state, &mut self.frame, refused);
        let results = pending
            .iter()
            .map(|(transaction, _)| plan.transact(transaction));
        let results = results.collect();
        let needs_disk = plan.finish();
        let Plan {
            state,
            events,
            in_frame,
            ..
        } = plan;
        if needs_disk {
            match self.log.append(&mut self.frame) {
                Ok(took) => {
                    let durable = in_frame.iter().filter(|in_frame| **in_frame).count();
                    self.counters.synced(durable, took);
                }
                Err(AppendError {
                    error,
                    is_undecided,
                }) => {
                    // The bytes may have reached the disk. These revisions must not be used again.
                    self.state.revision = state.revision;
                    return Err(Refused {
                        text: disk_error(self.disk.path(), &error),
                        is_undecided,
                        in_frame,
                    });
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

    /// The durable part of the state. Revisions up to `reserved` may have been assigned.
    pub(super) fn durable(&self, reserved: Revision) -> Durable {
        Durable {
            entries: self.state.entries.clone(),
            volatile: self.state.volatile.clone(),
            reserved,
        }
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
            return answer(compactions, &Err(disk_error(self.disk.path(), &error)));
        }
        let (segment, next) = (self.log.segment(), self.log.next_sequence());
        let checkpoint = Checkpoint {
            segment,
            next,
            state: self.durable(self.state.reserved),
        };
        let (disk, wake) = (Arc::clone(&self.disk), self.wake.clone());
        let lock = Arc::clone(&self.lock);
        let write = move || {
            let _wakes = WakeOnDrop(wake);
            // No other process may use the directory until it is written, whatever becomes of the
            // writer.
            let _lock = lock;
            checkpoint.write(&*disk)
        };
        match (self.start)(Box::new(write)) {
            Ok(outcome) => {
                self.checkpoint = Some(Running {
                    outcome,
                    compactions,
                });
            }
            Err(error) => answer(compactions, &Err(format!("start a thread: {error}"))),
        }
        self.checkpoint_at = self.log_limit;
    }

    /// Handles the end of the checkpoint, and answers those who wait for it. The thread has ended,
    /// or is about to.
    pub(super) fn end_checkpoint(&mut self) {
        let Some(running) = self.checkpoint.take() else {
            return;
        };
        let failed = |error: &io::Error| Err(disk_error(self.disk.path(), error));
        let result = match (running.outcome)() {
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

    /// Records the exact revision, so that the next start continues without a gap, ends all
    /// followers, and releases the lock. The start drops the volatile keys: that is a change of the
    /// revision after the last.
    pub(super) fn finish(&mut self) {
        self.queue.close();
        if self.checkpoint.is_some() {
            self.end_checkpoint();
        }
        while let Ok(request) = self.queue.try_recv() {
            if let Request::Commit(_, reply) = request {
                refuse(reply);
            }
        }
        self.frame.clear();
        let last = self.state.revision + u64::from(!self.state.volatile.is_empty());
        if self.state.reserved != last {
            self.frame.push(Record::Reserve(last));
            if let Err(AppendError { error, .. }) = self.log.append(&mut self.frame) {
                tracing::warn!(%error, "cannot record the last revision; the next start skips revisions");
            }
        }
        self.log.close();
        self.published.close(|| Error::Closed);
        self.lock.release();
    }
}

/// Answers a transaction that comes after the close.
fn refuse(reply: oneshot::Sender<Result<Revision>>) {
    // Fails if the caller was dropped.
    drop(reply.send(Err(Error::Closed)));
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

/// The error text of a failed call: what happened, where, and what to do.
fn disk_error(directory: &Path, error: &io::Error) -> String {
    let directory = directory.display();
    match is_full(error) {
        true => format!(
            "the disk of the data directory {directory} is full ({error}): free space there; writes resume by themselves"
        ),
        false => format!("write to {directory}: {error}"),
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
