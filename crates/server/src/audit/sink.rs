//! Where events go: a bounded buffer, and a task that appends its lines to the log.

use std::{io, path::Path, sync::Arc};

use jiff::SignedDuration;
use pandaemon_runtime::metrics::Metrics;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{
    AuditConfig, Mode,
    log_file::{Limits, LogFile},
};

/// How many bytes of lines wait to be written at most.
const BUFFER_BYTES: usize = 16 << 20;
/// How many lines wait at most.
const BUFFER_LINES: usize = 65_536;
/// How many lines are written at once.
const BATCH: usize = 512;

/// A line that waits, with its share of the buffer.
#[derive(Debug)]
struct Waiting {
    line: Vec<u8>,
    _room: OwnedSemaphorePermit,
    /// Told when the line is written.
    written: Option<oneshot::Sender<()>>,
}

/// The buffer of the log. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    lines: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    mode: Mode,
    counters: Counters,
}

/// Upstream's `apiserver_audit_*` counters.
#[derive(Debug, Clone, Default)]
struct Counters {
    events: Counter,
    errors: Counter,
    rejected: Counter,
}

impl Sink {
    /// Opens the log and starts the task that writes it. The task ends when the last clone is
    /// dropped, after all lines are written.
    ///
    /// # Errors
    /// If the log cannot be opened.
    pub(super) fn start(config: &AuditConfig, path: &Path, metrics: &Metrics) -> io::Result<Self> {
        let days = i64::from(config.max_age_days);
        let limits = Limits {
            max_size: u64::from(config.max_size_megabytes.max(1)) << 20,
            max_age: SignedDuration::from_hours(24 * days),
            max_backups: usize::try_from(config.max_backups).unwrap_or(usize::MAX),
        };
        let file = LogFile::open(path, limits)?;
        let (lines, queue) = mpsc::channel(BUFFER_LINES);
        let counters = Counters::default();
        metrics.with(|registry| {
            registry.register(
                "apiserver_audit_event",
                "Events of the audit log",
                counters.events.clone(),
            );
            registry.register(
                "apiserver_audit_error",
                "Events that are not in the audit log: the buffer was full or the log could not be written",
                counters.errors.clone(),
            );
            registry.register(
                "apiserver_audit_requests_rejected",
                "Requests that were refused because their event could not be written",
                counters.rejected.clone(),
            );
        });
        let errors = counters.errors.clone();
        pandaemon_runtime::spawn("audit-log", write(file, queue, errors));
        Ok(Self {
            lines,
            room: Arc::new(Semaphore::new(BUFFER_BYTES)),
            mode: config.mode,
            counters,
        })
    }

    /// Waits until the lines that were handed over are written.
    pub(super) async fn flush(&self) {
        let (told, written) = oneshot::channel();
        if self.push(Vec::new(), Some(told)).await.is_some() {
            // Not told if the log cannot be written, which the task has logged.
            let _failed = written.await;
        }
    }

    /// Hands a line over. If the buffer is full, it waits or drops the line, as configured.
    pub(super) async fn put(&self, line: Vec<u8>) {
        if self.mode == Mode::Batch {
            return self.try_put(line);
        }
        self.counters.events.inc();
        if self.push(line, None).await.is_none() {
            self.counters.errors.inc();
        }
    }

    /// As [`Sink::put`] for the first event of a request; in mode `blocking-strict` waits until it
    /// is written. Returns whether the request may go on.
    #[must_use]
    pub(super) async fn put_first(&self, line: Vec<u8>) -> bool {
        if self.mode != Mode::BlockingStrict {
            self.put(line).await;
            return true;
        }
        self.counters.events.inc();
        let (told, written) = oneshot::channel();
        let is_written = self.push(line, Some(told)).await.is_some() && written.await.is_ok();
        if !is_written {
            self.counters.rejected.inc();
        }
        is_written
    }

    async fn push(&self, line: Vec<u8>, written: Option<oneshot::Sender<()>>) -> Option<()> {
        let room = Arc::clone(&self.room);
        let room = room.acquire_many_owned(share(&line)).await.ok()?;
        let waiting = Waiting {
            line,
            _room: room,
            written,
        };
        self.lines.send(waiting).await.ok()
    }

    /// Hands a line over without waiting: drops it if the buffer is full.
    pub(super) fn try_put(&self, line: Vec<u8>) {
        self.counters.events.inc();
        let room = Arc::clone(&self.room).try_acquire_many_owned(share(&line));
        let sent = room.map(|room| {
            self.lines.try_send(Waiting {
                line,
                _room: room,
                written: None,
            })
        });
        if !matches!(sent, Ok(Ok(()))) {
            self.counters.errors.inc();
        }
    }
}

/// The share of the buffer that a line takes; all of it for a longer one.
fn share(line: &[u8]) -> u32 {
    u32::try_from(line.len().min(BUFFER_BYTES)).unwrap_or(u32::MAX)
}

async fn write(mut file: LogFile, mut queue: mpsc::Receiver<Waiting>, errors: Counter) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut is_failing = false;
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let lines = batch.iter().map(|waiting| waiting.line.as_slice());
        let text = lines.collect::<Vec<_>>().concat();
        let written = tokio::task::spawn_blocking(move || {
            let result = file.append(&text);
            (file, result)
        });
        let Ok((returned, result)) = written.await else {
            return tracing::error!("the audit log is no longer written: its writer panicked");
        };
        file = returned;
        match result {
            Ok(()) => {
                if is_failing {
                    tracing::info!("the audit log is written again");
                }
                for told in batch.drain(..).filter_map(|waiting| waiting.written) {
                    // A request that no longer waits has gone.
                    let _gone = told.send(());
                }
            }
            Err(ref error) => {
                errors.inc_by(batch.len() as u64);
                batch.clear();
                // Once for each interruption: a full disk would fill the other log, too.
                if !is_failing {
                    tracing::error!(%error, "cannot write the audit log; trying again with each event");
                }
            }
        }
        is_failing = result.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(mode: Mode, room: usize) -> (Sink, mpsc::Receiver<Waiting>) {
        let (lines, queue) = mpsc::channel(8);
        let sink = Sink {
            lines,
            room: Arc::new(Semaphore::new(room)),
            mode,
            counters: Counters::default(),
        };
        (sink, queue)
    }

    #[tokio::test]
    async fn a_full_buffer_drops_or_blocks_as_configured() {
        let (batch, _queue) = sink(Mode::Batch, 4);
        batch.put(b"12".to_vec()).await;
        batch.put(b"345".to_vec()).await;
        assert_eq!(batch.counters.errors.get(), 1, "no room for three bytes");

        let (blocking, mut queue) = sink(Mode::Blocking, 4);
        blocking.put(b"12".to_vec()).await;
        let more = blocking.put(b"345".to_vec());
        tokio::pin!(more);
        assert!(futures::poll!(&mut more).is_pending());
        drop(queue.recv().await);
        more.await;
        assert_eq!(queue.recv().await.unwrap().line, b"345");
        assert_eq!(blocking.counters.errors.get(), 0);
    }

    #[tokio::test]
    async fn in_strict_mode_a_request_goes_on_when_its_event_is_written() {
        let (strict, mut queue) = sink(Mode::BlockingStrict, 4);
        let first = strict.put_first(b"12".to_vec());
        tokio::pin!(first);
        assert!(futures::poll!(&mut first).is_pending());
        let waiting = queue.recv().await.unwrap();
        waiting.written.unwrap().send(()).unwrap();
        assert!(first.await);
        let second = strict.put_first(b"34".to_vec());
        tokio::pin!(second);
        assert!(futures::poll!(&mut second).is_pending());
        // The write failed.
        drop(queue.recv().await);
        assert!(!second.await);
        assert_eq!(strict.counters.rejected.get(), 1);
    }
}
