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
use pandaemon_runtime::files::private_dir;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

mod checkpoint;
mod counters;
mod frame;
mod lock;
mod log;
mod plan;
mod published;
mod recover;
mod writer;

pub use counters::Counters;

use self::{
    frame::Frame,
    lock::Lock,
    log::Log,
    plan::State,
    published::{HistoryBounds, Published, Snapshot},
    recover::Recovered,
    writer::{Concurrency, Request, Writer},
};
use crate::{Entry, Error, Follower, Page, Range, Result, Revision, Store, Transaction};

/// Name of a checkpoint while it is being written.
const TEMPORARY_NAME: &str = "checkpoint.tmp";

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
        let directory = directory.as_ref();
        let failed = |error: io::Error| {
            Error::Storage(format!(
                "open data directory {}: {error}",
                directory.display()
            ))
        };
        private_dir(directory).map_err(failed)?;
        let lock = Lock::take(directory)?;
        let recovered = recover::recover(directory, &is_outdated)?;
        let has_outdated = recovered.has_outdated;
        let mut log = Log::create(directory, recovered.segment, recovered.next).map_err(failed)?;
        log.count_recovered(recovered.log_bytes);
        let checkpoint_at = options.log_bytes.max(recovered.checkpoint_bytes);
        let state = state(recovered);
        let counters = Counters::default();
        let published = Arc::new(published(&state, &options));
        let (queue, requests) = mpsc::channel(options.queue.max(1));
        let writer = Writer {
            directory: directory.to_owned(),
            queue: requests,
            wake: queue.downgrade(),
            state,
            log,
            frame: Frame::new(),
            published: Arc::clone(&published),
            counters: counters.clone(),
            log_limit: options.log_bytes,
            checkpoint_at,
            checkpoint: None,
            compactions: Vec::new(),
            concurrency: Concurrency::default(),
            _lock: lock,
        };
        writer.update_gauges();
        let thread = thread::Builder::new().name("store-writer".to_owned());
        let thread = thread.spawn(move || writer.run()).map_err(failed)?;
        let store = Self {
            queue: Some(queue),
            published,
            counters,
            thread: Mutex::new(Some(thread)),
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
            .map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    async fn request_compaction(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(Error::Closed)?;
        let sent = queue.send(Request::Compact(reply)).await;
        sent.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
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
