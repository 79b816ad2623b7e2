//! Durable and volatile 2 KB writes per second through the whole store, beside a plain append with
//! fdatasync and beside fjall; the cost of reads; memory per entry.
//! Run with `cargo bench -p pandaemon-store`.

#![expect(clippy::unwrap_used, reason = "a benchmark ends at the first failure")]

use std::{
    fs::File,
    io::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use pandaemon_store::{Durability, Embedded, Expect, Op, Options, Range, Store, Transaction};

const SIZE: usize = 2048;
const CONCURRENCY: [usize; 4] = [1, 16, 256, 2048];

fn main() {
    memory();
    divan::main();
}

/// A new buffer per write, as each request has a buffer of its own.
fn value() -> Bytes {
    static PATTERN: [u8; SIZE] = [b'v'; SIZE];
    Bytes::copy_from_slice(&PATTERN)
}

fn write(key: u64, durability: Durability) -> Transaction {
    let key = format!("/pods/default/pod-{key:012}").into();
    Transaction {
        durability,
        ..Transaction::of(key, Expect::Absent, Op::Put(value()))
    }
}

/// Each task sends its next write when its last one is acknowledged.
#[divan::bench(args = CONCURRENCY, sample_count = 20)]
fn store(bencher: Bencher<'_, '_>, concurrency: usize) {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(directory.path(), Options::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let next = AtomicU64::new(0);
    let rounds = (256 / concurrency).max(4);
    bencher
        .counter(ItemsCount::new(concurrency * rounds))
        .bench(|| {
            runtime.block_on(async {
                let writers = (0..concurrency).map(|_| async {
                    for _ in 0..rounds {
                        let key = next.fetch_add(1, Ordering::Relaxed);
                        store.commit(write(key, Durability::Durable)).await.unwrap();
                    }
                });
                futures::future::join_all(writers).await;
            });
        });
}

#[divan::bench(args = CONCURRENCY, sample_count = 20)]
fn volatile(bencher: Bencher<'_, '_>, concurrency: usize) {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(directory.path(), Options::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let next = AtomicU64::new(0);
    bencher.counter(ItemsCount::new(concurrency)).bench(|| {
        runtime.block_on(async {
            let key = || next.fetch_add(1, Ordering::Relaxed);
            let commits =
                (0..concurrency).map(|_| store.commit(write(key(), Durability::Volatile)));
            futures::future::join_all(commits).await;
        });
    });
}

#[divan::bench(args = CONCURRENCY, sample_count = 20)]
fn append_and_fdatasync(bencher: Bencher<'_, '_>, batch: usize) {
    let directory = tempfile::tempdir().unwrap();
    let mut file = File::create(directory.path().join("raw")).unwrap();
    let bytes = value().repeat(batch);
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
    });
}

#[divan::bench(args = CONCURRENCY, sample_count = 20)]
fn fjall_batch(bencher: Bencher<'_, '_>, batch: usize) {
    let directory = tempfile::tempdir().unwrap();
    let database = fjall::Database::builder(directory.path()).open().unwrap();
    let keyspace = database
        .keyspace("k", fjall::KeyspaceCreateOptions::default)
        .unwrap();
    let mut next = 0_u64;
    let value = value();
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        let mut writes = database
            .batch()
            .durability(Some(fjall::PersistMode::SyncData));
        for _ in 0..batch {
            next += 1;
            writes.insert(&keyspace, format!("/pods/default/pod-{next:012}"), &*value);
        }
        writes.commit().unwrap();
    });
}

fn filled(entries: u64) -> (tempfile::TempDir, Embedded) {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(directory.path(), Options::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for chunk in 0..entries / 1000 {
        let keys = chunk * 1000..(chunk + 1) * 1000;
        let commits = keys.map(|key| store.commit(write(key, Durability::Volatile)));
        runtime.block_on(futures::future::join_all(commits));
    }
    (directory, store)
}

#[divan::bench]
fn get(bencher: Bencher<'_, '_>) {
    let (_directory, store) = filled(10_000);
    let key = "/pods/default/pod-000000005000";
    bencher.bench(|| futures::executor::block_on(store.get(key)));
}

#[divan::bench]
fn range_of_10000(bencher: Bencher<'_, '_>) {
    let (_directory, store) = filled(10_000);
    bencher
        .counter(ItemsCount::new(10_000_usize))
        .bench(|| futures::executor::block_on(store.range(Range::default())));
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

#[expect(clippy::print_stdout, reason = "the result of the measurement")]
fn memory() {
    let start = resident();
    let directory = tempfile::tempdir().unwrap();
    let empty = Embedded::open(directory.path(), Options::default()).unwrap();
    println!(
        "memory: an open empty store takes {} KB",
        resident() - start
    );
    drop(empty);
    let start = resident();
    let entries = 50_000;
    let filled = filled(entries);
    let bytes = (resident() - start) * 1024 / entries;
    println!("memory: an entry of {SIZE} bytes takes {bytes} bytes, history included");
    drop(filled);
}
