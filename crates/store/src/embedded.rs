//! The embedded backend: the state in memory, durable writes in a write-ahead log on the local
//! disk.
//!
//! Definitions, invariants and failure cases are in `docs/design/store.md`.

use std::{
    fmt,
    future::ready,
    io,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

mod backup;
mod checkpoint;
mod counters;
mod damage;
mod file_header;
mod files;
mod format1;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod held;
mod log;
mod offline;
mod plan;
mod published;
mod reader;
mod recover;
#[cfg(test)]
mod simulation;
mod state_frames;
#[cfg(test)]
mod tests;
mod walk;
mod writer;

pub use backup::{BackupError, BackupReader, BackupStream, Contents, MANIFEST, StateSnapshot};
pub use counters::Counters;
pub use damage::{Damage, Missing};
pub use offline::{OfflineStore, Replaced, Report, check};
pub use walk::FileReport;

use self::{
    frame::Frame,
    held::Held,
    log::Log,
    plan::State,
    published::{HistoryBounds, Published, Snapshot},
    recover::Recovered,
    writer::{Concurrency, Request, Start, Writer, on_a_thread},
};
use crate::{
    Entry, Error, Follower, Page, Range, Result, Revision, Store, Transaction,
    disk::{Directory, Disk, Step, local::Local},
};

/// Bounds of an [`Embedded`] store. The defaults suit clusters of any supported size.
#[derive(Debug, Clone)]
pub struct Options {
    /// Number of events that are kept for [`Store::follow`] from an older revision.
    pub history_events: usize,
    /// Bytes of values that are kept for the same purpose.
    pub history_bytes: usize,
    /// Capacity of the writer's queue, in transactions. When it is full, [`Store::commit`] waits.
    pub queue: usize,
    /// Bytes of log after which a checkpoint is due. The log may also grow to the size of the
    /// state.
    pub log_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            history_events: 1_000,
            history_bytes: 1 << 20,
            queue: 8192,
            log_bytes: 64 << 20,
        }
    }
}

/// A [`Store`] on the local disk, used by one process.
///
/// Dropping it waits until the accepted writes are on disk, as [`Store::close`] does.
pub struct Embedded {
    queue: Option<mpsc::Sender<Request>>,
    published: Arc<Published>,
    counters: Counters,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Held until this is dropped, should the writer panic.
    _lock: Arc<Held>,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded")
            .field("revision", &self.counters.revision.get())
            .finish()
    }
}

impl Embedded {
    /// Opens the store in `directory`, which is created if it does not exist.
    ///
    /// # Errors
    /// [`Error::Locked`] while another process has it open. [`Error::Storage`] if the directory
    /// cannot be written or its files are damaged.
    pub fn open(directory: impl AsRef<Path>, options: Options) -> Result<Self> {
        let (store, _) = Self::open_checked(directory, options, |_, _| false)?;
        Ok(store)
    }

    /// Opens the store as [`Embedded::open`] does. Returns, too, whether its files have a value
    /// that `is_outdated` says so of, a replaced or deleted one included: then
    /// [`Store::compact`] is due.
    ///
    /// # Errors
    /// Those of [`Embedded::open`].
    pub fn open_checked(
        directory: impl AsRef<Path>,
        options: Options,
        is_outdated: impl Fn(&str, &[u8]) -> bool,
    ) -> Result<(Self, bool)> {
        let disk = Arc::new(Local::new(directory.as_ref()));
        Self::open_on(disk, options, &is_outdated)
    }

    /// Opens the store on a disk, as [`Embedded::open_checked`] does on that of the machine.
    fn open_on(
        disk: Arc<dyn Disk>,
        options: Options,
        is_outdated: &dyn Fn(&str, &[u8]) -> bool,
    ) -> Result<(Self, bool)> {
        let (queue, requests) = mpsc::channel(options.queue.max(1));
        let wake = queue.downgrade();
        let opened = open_writer(disk, options, is_outdated, requests, wake, on_a_thread)?;
        let (writer, has_outdated) = opened;
        let published = Arc::clone(&writer.published);
        let counters = writer.counters.clone();
        let lock = Arc::clone(&writer.lock);
        let thread = thread::Builder::new().name("store-writer".to_owned());
        let thread = thread.spawn(move || writer.run());
        let failed = |error| Error::Storage(format!("start the thread of the store: {error}"));
        let store = Self {
            queue: Some(queue),
            published,
            counters,
            thread: Mutex::new(Some(thread.map_err(failed)?)),
            _lock: lock,
        };
        Ok((store, has_outdated))
    }

    /// The counters of this store, for metrics and tests.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    async fn send(&self, transaction: Transaction) -> Result<Revision> {
        transaction.check()?;
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(Error::Closed)?;
        queue
            .send(Request::Commit(transaction, reply))
            .await
            .map_err(|_| self.published.why_closed())?;
        // It is answered, unless the writer panics.
        let unknown = |_| Error::Unknown("the writer of the store panicked".to_owned());
        answer.await.map_err(unknown)?
    }

    async fn request_compaction(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(Error::Closed)?;
        let sent = queue.send(Request::Compact(reply)).await;
        sent.map_err(|_| self.published.why_closed())?;
        answer.await.map_err(|_| self.published.why_closed())?
    }

    async fn take_snapshot(&self) -> Result<StateSnapshot> {
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(Error::Closed)?;
        let sent = queue.send(Request::Snapshot(reply)).await;
        sent.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)
    }

    async fn end(&self) {
        let (reply, answer) = oneshot::channel();
        if let Some(queue) = &self.queue
            && queue.send(Request::Close(reply)).await.is_ok()
        {
            // An error means that the writer has ended already.
            drop(answer.await);
        }
    }
}

/// Recovers the store and prepares its writer. Returns, too, whether a file has an outdated value.
fn open_writer(
    disk: Arc<dyn Disk>,
    options: Options,
    is_outdated: &dyn Fn(&str, &[u8]) -> bool,
    queue: mpsc::Receiver<Request>,
    wake: mpsc::WeakSender<Request>,
    start: Start,
) -> Result<(Writer, bool)> {
    let failed = |error: io::Error| {
        let path = disk.path().display();
        Error::Storage(format!("open data directory {path}: {error}"))
    };
    disk.create_directory().map_err(failed)?;
    let synced = disk.sync_directory(Directory::Parent, Step::SyncParent);
    synced.map_err(failed)?;
    let lock = Arc::new(Held::new(disk.lock()?));
    let recovered = recover::recover(&*disk, is_outdated)?;
    let has_outdated = recovered.has_outdated;
    let log = Log::open(Arc::clone(&disk), recovered.segment - 1, recovered.next);
    let mut log = log.map_err(failed)?;
    log.count_recovered(recovered.log_bytes);
    let checkpoint_at = match recovered.has_old_format {
        // A checkpoint replaces files of an earlier format.
        true => 0,
        false => options.log_bytes.max(recovered.checkpoint_bytes),
    };
    let state = state(recovered);
    let writer = Writer {
        disk,
        queue,
        wake,
        published: Arc::new(published(&state, &options)),
        state,
        log,
        frame: Frame::new(),
        counters: Counters::default(),
        log_limit: options.log_bytes,
        checkpoint_at,
        checkpoint: None,
        compactions: Vec::new(),
        concurrency: Concurrency::default(),
        start,
        lock,
    };
    writer.update_gauges();
    Ok((writer, has_outdated))
}

fn state(recovered: Recovered) -> State {
    let Recovered {
        entries, revision, ..
    } = recovered;
    let bytes = entries.values().map(plan::size).sum();
    State {
        entries,
        volatile: imbl::OrdSet::new(),
        revision,
        reserved: revision,
        bytes,
    }
}

fn published(state: &State, options: &Options) -> Published {
    let snapshot = Snapshot {
        revision: state.revision,
        entries: state.entries.clone(),
    };
    let bounds = HistoryBounds {
        events: options.history_events,
        bytes: options.history_bytes,
    };
    Published::new(snapshot, bounds)
}

impl Store for Embedded {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>>> {
        Box::pin(ready(Ok(self.published.get(key))))
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page>> {
        Box::pin(ready(self.published.range(&range)))
    }

    fn latest(&self) -> BoxFuture<'_, Result<Revision>> {
        Box::pin(ready(Ok(self.published.revision())))
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision>> {
        Box::pin(self.send(transaction))
    }

    fn follow(&self, from: Revision, follower: Arc<dyn Follower>) -> BoxFuture<'_, Result<()>> {
        Box::pin(ready(self.published.follow(from, follower)))
    }

    fn compact(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.request_compaction())
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Option<StateSnapshot>>> {
        Box::pin(async { self.take_snapshot().await.map(Some) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.end())
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the writer has been reported by the panic hook.
            drop(thread.join());
        }
    }
}
