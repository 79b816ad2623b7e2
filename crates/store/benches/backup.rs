//! What a backup costs: making one of 50,000 entries of 2 KB, checking it, and restoring it. The
//! column `max alloc` is the memory beside that of the entries. Run with `cargo bench -p
//! pandaemon-store --bench backup`.

#![expect(clippy::unwrap_used, reason = "a benchmark ends at the first failure")]

use std::path::Path;

use divan::{
    AllocProfiler, Bencher,
    counter::{BytesCount, ItemsCount},
};
use futures::executor::block_on;
use pandaemon_store::{
    BackupReader, BackupStream, Embedded, Expect, MANIFEST, OfflineStore, Op, Options, Store,
    Transaction,
};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const ENTRIES: usize = 50_000;
const SIZE: usize = 2048;
/// Writes at once, to fill the store.
const CONCURRENCY: usize = 1000;
/// How much of a backup is read at once.
const PART: usize = 16 << 10;

fn main() {
    divan::main();
}

fn store(directory: &Path) -> Embedded {
    let store = Embedded::open(directory.join("store"), Options::default()).unwrap();
    for first in (0..ENTRIES).step_by(CONCURRENCY) {
        let writes = (first..first + CONCURRENCY).map(|number| {
            let key = format!("/pods/default/{number:06}").into();
            store.commit(Transaction::of(
                key,
                Expect::Absent,
                Op::Put(vec![b'v'; SIZE].into()),
            ))
        });
        for written in block_on(futures::future::join_all(writes)) {
            written.unwrap();
        }
    }
    store
}

fn stream(store: &Embedded) -> BackupStream {
    let state = block_on(store.snapshot()).unwrap().unwrap();
    BackupStream::new(state, &[(MANIFEST.to_owned(), b"{}".to_vec())]).unwrap()
}

fn backup(store: &Embedded) -> Vec<u8> {
    let mut stream = stream(store);
    let mut bytes = Vec::new();
    while let Some(part) = stream.next_part().unwrap() {
        bytes.extend_from_slice(&part);
    }
    bytes
}

fn read(mut reader: BackupReader, bytes: &[u8]) -> pandaemon_store::Contents {
    for part in bytes.chunks(PART) {
        reader.read(part).unwrap();
    }
    reader.finish().unwrap()
}

#[divan::bench(sample_count = 10)]
fn make(bencher: Bencher<'_, '_>) {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let bytes = backup(&store).len();
    bencher
        .counter(ItemsCount::new(ENTRIES))
        .counter(BytesCount::new(bytes))
        .bench_local(|| {
            let mut stream = stream(&store);
            while let Some(part) = stream.next_part().unwrap() {
                divan::black_box(part);
            }
        });
}

#[divan::bench(sample_count = 10)]
fn check(bencher: Bencher<'_, '_>) {
    let directory = tempfile::tempdir().unwrap();
    let bytes = backup(&store(directory.path()));
    bencher
        .counter(ItemsCount::new(ENTRIES))
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| read(BackupReader::checking(), &bytes));
}

#[divan::bench(sample_count = 10)]
fn restore(bencher: Bencher<'_, '_>) {
    let directory = tempfile::tempdir().unwrap();
    let bytes = backup(&store(directory.path()));
    bencher
        .counter(ItemsCount::new(ENTRIES))
        .counter(BytesCount::new(bytes.len()))
        .with_inputs(|| tempfile::tempdir_in(directory.path()).unwrap())
        .bench_local_values(|new| {
            let contents = read(BackupReader::keeping(), &bytes);
            let store = OfflineStore::create(&new.path().join("store")).unwrap();
            store.restore(&contents).unwrap();
            new
        });
}
