//! The one writer: gathers what arrived while the disk was busy, and commits it as one batch.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    checkpoint::Checkpoint,
    counters::Counters,
    frame::{Frame, Record},
    hub::Hub,
    lock::Lock,
    log::Log,
    plan::{Plan, State},
};
use crate::{Error, Event, Result, Revision, Snapshot, Write};

/// Writes in one batch at most.
const BATCH: usize = 4096;
/// How long a batch waits for company while writes come side by side. A batch costs a wake-up of every part that
/// follows and a new version of the persistent maps, whatever its size; a lone writer never waits.
const LINGER: Duration = Duration::from_micros(200);
/// A batch of this size need not wait.
const COMPANY: usize = 64;

/// What the writer is asked.
#[derive(Debug)]
pub(super) enum Request {
    /// Commit this.
    Write(Write, oneshot::Sender<Result<Revision>>),
    /// Finish what came before, then end.
    Close(oneshot::Sender<()>),
}

/// Everything that the writer's thread owns.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) directory: PathBuf,
    pub(super) queue: mpsc::Receiver<Request>,
    pub(super) state: State,
    pub(super) log: Log,
    pub(super) frame: Frame,
    pub(super) hub: Arc<Hub>,
    pub(super) counters: Counters,
    /// The log may grow to this before a checkpoint is due.
    pub(super) log_limit: u64,
    /// Size of the log that calls for the next checkpoint.
    pub(super) checkpoint_at: u64,
    pub(super) checkpoint: Option<JoinHandle<io::Result<u64>>>,
    pub(super) crowd: Crowd,
    /// Held as long as the thread runs.
    pub(super) _lock: Lock,
}

/// Whether writers work side by side: the mean size of the last batches, in 1024ths.
#[derive(Debug, Default)]
pub(super) struct Crowd(usize);

impl Crowd {
    fn note(&mut self, batch: usize) {
        self.0 = (self.0 * 7 + batch.min(COMPANY) * 1024) / 8;
    }

    fn is_there(&self) -> bool {
        self.0 > 1090
    }
}

impl Writer {
    /// Serves requests until the store is closed or dropped.
    pub(super) fn run(mut self) {
        let mut requests = Vec::new();
        let mut closing = Vec::new();
        while closing.is_empty() && self.queue.blocking_recv_many(&mut requests, BATCH) > 0 {
            if self.crowd.is_there() && requests.len() < COMPANY {
                thread::sleep(LINGER);
                while requests.len() < BATCH
                    && let Ok(request) = self.queue.try_recv()
                {
                    requests.push(request);
                }
            }
            self.crowd.note(requests.len());
            let mut writes = Vec::with_capacity(requests.len());
            for request in requests.drain(..) {
                match request {
                    // What comes after the request to close finds the store closed.
                    Request::Write(..) if !closing.is_empty() => (),
                    Request::Write(write, reply) => writes.push((write, reply)),
                    Request::Close(reply) => closing.push(reply),
                }
            }
            self.batch(writes);
            self.check_log();
        }
        self.finish();
        drop(self);
        for reply in closing {
            // Nobody waits for the end if the caller was dropped.
            let _ = reply.send(());
        }
    }

    fn batch(&mut self, writes: Vec<(Write, oneshot::Sender<Result<Revision>>)>) {
        if writes.is_empty() {
            return;
        }
        let results = match self.commit(&writes, None) {
            Ok(results) => results,
            Err(text) => {
                tracing::error!(
                    error = text,
                    writes = writes.len(),
                    "the disk refuses writes"
                );
                // Heartbeats go on without a disk. Should even they need it, nothing is left to do.
                let refused = self.commit(&writes, Some(&text));
                refused.unwrap_or_else(|text| {
                    writes
                        .iter()
                        .map(|_| Err(Error::Storage(text.clone())))
                        .collect()
                })
            }
        };
        for ((_, reply), result) in writes.into_iter().zip(results) {
            match &result {
                Ok(_) => self.counters.writes.inc(),
                Err(Error::Conflict(_)) => self.counters.conflicts.inc(),
                Err(_) => self.counters.failures.inc(),
            };
            // Nobody waits if the caller was dropped; the write stands.
            drop(reply.send(result));
        }
    }

    /// Commits a batch as a whole; on an error nothing of it is visible.
    fn commit(
        &mut self,
        writes: &[(Write, oneshot::Sender<Result<Revision>>)],
        refused: Option<&str>,
    ) -> Result<Vec<Result<Revision>>, String> {
        let mut plan = Plan::new(&self.state, &mut self.frame, refused);
        let results = writes.iter().map(|(write, _)| plan.write(write)).collect();
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
                    // The bytes may be on disk all the same: these revisions are not used again.
                    self.state.revision = state.revision;
                    return Err(refusal(&self.directory, &error));
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
        self.count();
        let State {
            entries, revision, ..
        } = &self.state;
        self.hub.publish(
            Snapshot {
                revision: *revision,
                entries: entries.clone(),
            },
            events,
        );
    }

    /// Sets the counters that tell a level.
    pub(super) fn count(&self) {
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

    /// Starts a checkpoint when the log has grown enough, and notes the end of one.
    fn check_log(&mut self) {
        self.counters.log_bytes.set(self.log.grown());
        if self
            .checkpoint
            .as_ref()
            .is_some_and(JoinHandle::is_finished)
        {
            self.end_checkpoint();
        }
        if self.log.grown() < self.checkpoint_at || self.checkpoint.is_some() {
            return;
        }
        if let Err(error) = self.log.rotate() {
            tracing::warn!(%error, "cannot begin a new segment of the log");
            self.checkpoint_at = self.log.grown() + self.log_limit / 4;
            return;
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
        let directory = self.directory.clone();
        let thread = thread::Builder::new().name("store-checkpoint".to_owned());
        self.checkpoint = thread.spawn(move || checkpoint.write(&directory)).ok();
        self.checkpoint_at = self.log_limit;
    }

    fn end_checkpoint(&mut self) {
        match self.checkpoint.take().map(JoinHandle::join) {
            Some(Ok(Ok(size))) => {
                self.counters.checkpoints.inc();
                // At least as much log as state: a write is rewritten once on average at most.
                self.checkpoint_at = self.log_limit.max(size);
            }
            Some(Ok(Err(error))) => {
                tracing::warn!(%error, "cannot write a checkpoint; the log grows on");
                self.checkpoint_at = self.log.grown() + self.log_limit / 4;
            }
            Some(Err(_)) => tracing::error!("the checkpoint thread panicked"),
            None => (),
        }
    }

    /// Ends in order: the next start continues with the next revision, without a gap.
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
                tracing::warn!(%error, "cannot note the end of the log; revisions will skip");
            }
        }
        self.hub.close();
    }
}

/// What the disk said, and what helps.
fn refusal(directory: &Path, error: &io::Error) -> String {
    let directory = directory.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!(
            "the disk of the data directory {directory} is full ({error}): free space there, and writing goes on by itself"
        ),
        _ => format!("write to {directory}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::Crowd;

    #[test]
    fn a_lone_writer_never_waits_and_a_crowd_is_noticed() {
        let mut crowd = Crowd::default();
        for _ in 0..100 {
            crowd.note(1);
            assert!(!crowd.is_there());
        }
        crowd.note(2);
        assert!(crowd.is_there());
        (0..20).for_each(|_| crowd.note(1));
        assert!(!crowd.is_there());
    }
}
