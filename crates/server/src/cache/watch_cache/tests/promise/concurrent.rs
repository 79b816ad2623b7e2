//! Watches of the embedded store, with threads: writers and readers at the same time, restarts and
//! kills, writes that a restart drops.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use pandaemon_store::{Durability, Embedded, Follower, Options};

use super::*;
use crate::cache::watch_cache::tests::promise::model::Source;

const SETTING: Setting = Setting {
    seed: 0,
    latency: 0,
    is_slow: false,
    is_short: false,
};

/// The number of a pod that is never durable.
const LAST: u8 = 8;

/// What happens between two restarts.
#[derive(Debug, Clone)]
struct Round {
    /// The writes of each writer.
    writers: Vec<Vec<Write>>,
    /// The state that the last write leaves, which a restart drops.
    last: u8,
    /// The clients that begin now.
    clients: Vec<NewClient>,
    /// Whether the server is stopped, and not killed.
    ends_in_order: bool,
}

#[derive(Debug, Clone)]
struct NewClient {
    selection: Selection,
    begin: Begin,
    bookmarks: bool,
    /// After how many milliseconds its watches end.
    timeout: Option<u64>,
    /// How many milliseconds it waits before it reads again.
    pause: u64,
}

/// Adds the changes of a store to the model, before the watch cache has them.
struct Recorder(Arc<Mutex<Arc<Truth>>>);

impl Follower for Recorder {
    fn apply(&self, batch: &[StoreEvent]) {
        Arc::make_mut(&mut self.0.lock()).update(batch);
    }

    fn end(&self, _: pandaemon_store::Error) {}
}

/// One writer of several. Objects of the last name are not durable.
async fn write_all(store: Arc<Embedded>, writes: Vec<Write>, count: Arc<AtomicUsize>) {
    for write in writes {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let (plural, names) = place(write.key);
        let key = key(kind(plural), names.0, names.1);
        let old = store.get(&key).await.unwrap();
        let op = match write.item {
            Some(choice) => Op::Put(Item::new(number as u64, choice).encode(plural, names)),
            None if old.is_some() => Op::Delete,
            None => continue,
        };
        let expect = old.map_or(Expect::Absent, |old| Expect::At(old.mod_revision));
        let transaction = Transaction {
            durability: match names.1 == NAMES[2] {
                true => Durability::Volatile,
                false => Durability::Durable,
            },
            ..Transaction::of(key, expect, op)
        };
        // Another writer may have been faster.
        drop(store.commit(transaction).await);
    }
}

/// Reads until the writers have ended, and then what is left.
async fn read_all(
    mut client: Client,
    pause: Duration,
    registry: Arc<Registry>,
    source: Arc<Source>,
    (allowed, is_over): (Allowed, Arc<AtomicBool>),
) -> Client {
    while !is_over.load(Ordering::Acquire) {
        if !client.read(&*source, allowed) {
            client.connect(&registry, &*source, allowed).await;
        }
        tokio::time::sleep(pause).await;
    }
    client.settle(&registry, &*source, allowed).await;
    client
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

struct Cluster {
    directory: PathBuf,
    truth: Arc<Mutex<Arc<Truth>>>,
    clients: Vec<(Client, Duration)>,
    written: Arc<AtomicUsize>,
}

impl Cluster {
    /// Opens the store. What it has dropped is a change.
    async fn open(&self) -> Arc<Embedded> {
        let store = Embedded::open(&self.directory, Options::default()).unwrap();
        let start = store.latest().await.unwrap();
        let keys: Vec<Key> = self.truth.lock().keys().collect();
        for key in keys {
            if store.get(&key).await.unwrap().is_none() {
                Arc::make_mut(&mut self.truth.lock()).change(start, &key, None);
            }
        }
        let recorder = Recorder(Arc::clone(&self.truth));
        store.follow(start, Arc::new(recorder)).await.unwrap();
        Arc::new(store)
    }

    async fn run(&mut self, number: usize, round: Round) {
        let store = self.open().await;
        let plane = Plane::start(Arc::clone(&store) as _, SETTING).await;
        let new = round.clients.into_iter().map(|new| {
            let client = Client::new(new.selection, new.begin, new.bookmarks);
            let client = match new.timeout {
                Some(timeout) => client.with_timeout(Duration::from_millis(timeout)),
                None => client,
            };
            (client, Duration::from_millis(new.pause))
        });
        self.clients.extend(new);
        let allowed = Allowed {
            start: number,
            floor: plane.cache().revision(),
            ..Allowed::default()
        };
        let truth = Arc::clone(&self.truth);
        let source: Arc<Source> = Arc::new(move || Arc::clone(&truth.lock()));
        let is_over = Arc::new(AtomicBool::new(false));
        let readers = std::mem::take(&mut self.clients).into_iter();
        let readers = readers.map(|(client, pause)| {
            let registry = Arc::clone(&plane.registry);
            let (source, allowed) = (Arc::clone(&source), (allowed, Arc::clone(&is_over)));
            let reading = read_all(client, pause, registry, source, allowed);
            let reader = async move { (reading.await, pause) };
            pandaemon_runtime::spawn("reader", reader)
        });
        let readers: Vec<_> = readers.collect();
        let write = |writes| {
            let writing = write_all(Arc::clone(&store), writes, Arc::clone(&self.written));
            pandaemon_runtime::spawn("writer", writing)
        };
        let writers: Vec<_> = round.writers.into_iter().map(write).collect();
        for writer in writers {
            writer.await.unwrap().expect("a writer has failed");
        }
        // What clients know last is what a restart drops.
        let last = Write {
            key: LAST,
            item: Some(round.last),
            with: None,
        };
        write(vec![last])
            .await
            .unwrap()
            .expect("a writer has failed");
        is_over.store(true, Ordering::Release);
        for reader in readers {
            let read = reader.await.unwrap();
            self.clients.push(read.expect("a reader has failed"));
        }
        if round.ends_in_order {
            plane.cache().close();
            store.close().await;
            return;
        }
        let next = self.directory.with_file_name(number.to_string());
        copy(&self.directory, &next);
        self.directory = next;
        self.clients
            .iter_mut()
            .for_each(|(client, _)| client.lose());
    }
}

fn new_client() -> impl Strategy<Value = NewClient> {
    let timeout = prop::option::weighted(0.5, 0_u64..30);
    let parts = (selection(), begin(), any::<bool>(), timeout, 0_u64..20);
    parts.prop_map(|(selection, begin, bookmarks, timeout, pause)| NewClient {
        selection,
        begin,
        bookmarks,
        timeout,
        pause,
    })
}

fn round() -> impl Strategy<Value = Round> {
    let writes = prop::collection::vec(write(), 20..100);
    let writers = prop::collection::vec(writes, 1..6);
    let clients = prop::collection::vec(new_client(), 1..6);
    let parts = (writers, 0_u8..18, clients, any::<bool>());
    parts.prop_map(|(writers, last, clients, ends_in_order)| Round {
        writers,
        last,
        clients,
        ends_in_order,
    })
}

#[test]
fn every_watch_delivers_what_the_model_says_with_threads_and_restarts() {
    let refused = Cell::new(0);
    let config = Config {
        cases: 12,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Config::default()
    };
    let run = prop::collection::vec(round(), 2..5);
    let outcome = TestRunner::new(config).run(&run, |rounds| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_time()
            .build()
            .unwrap();
        let root = tempfile::tempdir().unwrap();
        let mut cluster = Cluster {
            directory: root.path().join("first"),
            truth: Arc::default(),
            clients: Vec::new(),
            written: Arc::default(),
        };
        runtime.block_on(async {
            for (number, round) in rounds.into_iter().enumerate() {
                cluster.run(number, round).await;
            }
        });
        let clients = cluster.clients.iter();
        let sum: usize = clients.map(|(client, _)| client.refused).sum();
        refused.set(refused.get() + sum);
        Ok(())
    });
    outcome.unwrap();
    assert!(refused.get() > 10, "{} watches were refused", refused.get());
}
