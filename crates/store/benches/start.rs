//! How long a store takes to open whose log has 1 GB, as after a crash on a disk that had no space
//! for checkpoints, and how much memory that takes. Run with
//! `cargo bench -p pandaemon-store --bench start`.

#![expect(clippy::unwrap_used, reason = "a benchmark ends at the first failure")]

use std::path::Path;

use bytes::Bytes;
use divan::{Bencher, counter::BytesCount};
use pandaemon_store::{Embedded, Expect, Op, Options, Store, Transaction};

/// Bytes of values in the log.
const LOG: usize = 1_000_000_000;
const VALUE: usize = 2_000;
/// Writes under way, which are committed together.
const PARALLEL: usize = 2_000;
/// The keys that the writes go to: few objects that change often, and as many as there are writes.
const KEYS: [usize; 2] = [10_000, LOG / VALUE];

fn main() {
    divan::main();
}

/// Makes a store with such a log and without a checkpoint.
fn fill(directory: &Path, keys: usize) {
    // The name of the file that a checkpoint is written to, so that none can be.
    std::fs::create_dir(directory.join("checkpoint.tmp")).unwrap();
    let store = Embedded::open(directory, Options::default()).unwrap();
    let mut revisions = vec![None; keys];
    let numbers: Vec<usize> = (0..LOG / VALUE).collect();
    for numbers in numbers.chunks(PARALLEL) {
        let writes = numbers.iter().map(|number| {
            let key = format!("/configmaps/default/map-{:012}", number % keys);
            let expect = revisions[number % keys].map_or(Expect::Absent, Expect::At);
            let value = Bytes::from(vec![b'v'; VALUE]);
            store.commit(Transaction::of(key.into(), expect, Op::Put(value)))
        });
        let done = futures::executor::block_on(futures::future::join_all(writes));
        for (number, revision) in numbers.iter().zip(done) {
            revisions[number % keys] = Some(revision.unwrap());
        }
    }
    drop(store);
    std::fs::remove_dir(directory.join("checkpoint.tmp")).unwrap();
}

#[divan::bench(args = KEYS, sample_count = 3, sample_size = 1)]
fn open_a_log_of_1_gb(bencher: Bencher<'_, '_>, keys: usize) {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), keys);
    let copies = tempfile::tempdir().unwrap();
    bencher
        .counter(BytesCount::new(LOG))
        .with_inputs(|| {
            // Opening leads to a checkpoint, which shortens the log.
            let copy = tempfile::tempdir_in(copies.path()).unwrap();
            for file in std::fs::read_dir(directory.path()).unwrap() {
                let file = file.unwrap();
                std::fs::hard_link(file.path(), copy.path().join(file.file_name())).unwrap();
            }
            copy
        })
        .bench_values(|copy| Embedded::open(copy.path(), Options::default()).unwrap());
}
