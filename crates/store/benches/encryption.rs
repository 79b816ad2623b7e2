//! What encryption at rest costs: writes and reads of values of 2 KB that are encrypted, that are
//! not, and through a store without encryption.
//! Run with `cargo bench -p pandaemon-store --bench encryption`.

#![expect(clippy::unwrap_used, reason = "a benchmark ends at the first failure")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use pandaemon_store::{
    Durability, Embedded, Expect, Op, Options, Range, Store, Transaction,
    encryption::{EncryptedStore, Encryption, Settings},
};

const SIZE: usize = 2048;
/// Writes at once.
const CONCURRENCY: usize = 256;
/// What is written: with encryption or without, and where.
const CASES: [Case; 3] = [
    Case("secrets", true, "/secrets/d"),
    Case("pods", true, "/pods/d"),
    Case("without encryption", false, "/pods/d"),
];

#[derive(Debug, Clone, Copy)]
struct Case(&'static str, bool, &'static str);

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

fn main() {
    divan::main();
}

fn store(directory: &Path, is_encrypted: bool) -> Arc<dyn Store> {
    let inner = Embedded::open(directory.join("store"), Options::default()).unwrap();
    if !is_encrypted {
        return Arc::new(inner);
    }
    let settings = Settings {
        key_file: directory.join("keys"),
        prefixes: vec!["/secrets/".into()],
        keeps_encrypted: false,
        deletes_lost: false,
    };
    let encryption = Encryption::read(settings).unwrap();
    let opened = EncryptedStore::open(Arc::new(inner), encryption, false, &|_, _| {});
    futures::executor::block_on(opened).unwrap().store()
}

fn write(prefix: &str, number: u64) -> Transaction {
    let op = Op::Put(Bytes::copy_from_slice(&[b'v'; SIZE]));
    Transaction {
        // The disk would hide the difference.
        durability: Durability::Volatile,
        ..Transaction::of(format!("{prefix}/{number}").into(), Expect::Absent, op)
    }
}

#[divan::bench(args = CASES, sample_count = 50)]
fn writes(bencher: Bencher<'_, '_>, case: Case) {
    let Case(_, is_encrypted, prefix) = case;
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path(), is_encrypted);
    let next = AtomicU64::new(0);
    bencher.counter(ItemsCount::new(CONCURRENCY)).bench(|| {
        let number = || next.fetch_add(1, Ordering::Relaxed);
        let commits = (0..CONCURRENCY).map(|_| store.commit(write(prefix, number())));
        futures::executor::block_on(futures::future::join_all(commits))
    });
}

#[divan::bench(args = CASES, sample_count = 50)]
fn reads_of_1000(bencher: Bencher<'_, '_>, case: Case) {
    let Case(_, is_encrypted, prefix) = case;
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path(), is_encrypted);
    let commits = (0..1000).map(|number| store.commit(write(prefix, number)));
    futures::executor::block_on(futures::future::join_all(commits));
    bencher
        .counter(ItemsCount::new(1000_usize))
        .bench(|| futures::executor::block_on(store.range(Range::default())));
}
