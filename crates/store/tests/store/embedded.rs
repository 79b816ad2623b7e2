//! The public interface of the embedded store: conflicts, durability, restarts, checkpoints.

use std::sync::Arc;

use crate::common::{Kept, copy, delete, latest, open, put, state, volatile, volatile_put};
use pandaemon_store::{Embedded, Error, Event, Expect, Follower, Options, Range, Store};
use parking_lot::Mutex;

#[tokio::test]
async fn one_of_many_concurrent_writes_at_the_same_revision_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let revision = store.commit(put("/a", Expect::Absent, "0")).await.unwrap();
    let writes = (0..100).map(|i| store.commit(put("/a", Expect::At(revision), &i.to_string())));
    let results = futures::future::join_all(writes).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(store.counters().conflicts.get(), 99);
}

#[tokio::test]
async fn a_restart_keeps_durable_entries_and_continues_the_revisions() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = open(directory.path());
        store.commit(put("/a", Expect::Absent, "1")).await.unwrap();
        store.commit(put("/b", Expect::Absent, "1")).await.unwrap();
        store
            .commit(volatile_put("/lease", Expect::Absent, "now"))
            .await
            .unwrap();
        store.commit(delete("/a", 1)).await.unwrap();
    }
    let store = open(directory.path());
    assert_eq!(state(&store), ["/b=1@2/2"]);
    // One more: the lease is gone.
    assert_eq!(latest(&store), 5);
    let gone = store.follow(4, Kept::new()).await;
    let (requested, oldest) = (4, 5);
    assert_eq!(compacted(gone), (requested, oldest));
    assert_eq!(
        store.commit(put("/a", Expect::Absent, "2")).await.unwrap(),
        6
    );
}

#[tokio::test]
async fn volatile_keys_that_a_restart_drops_raise_the_revision() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("store");
    let store = open(&directory);
    let lease = volatile_put("/lease", Expect::Absent, "now");
    let known = store.commit(lease).await.unwrap();
    let killed = root.path().join("killed");
    copy(&directory, &killed);
    drop(store);
    for directory in [&killed, &directory] {
        let store = open(directory);
        assert_eq!(state(&store), [""; 0]);
        let oldest = latest(&store);
        assert!(oldest > known, "{oldest}");
        let resumed = store.follow(known, Kept::new()).await;
        assert_eq!(compacted(resumed), (known, oldest));
    }
    // Nothing is dropped: what was known is still true.
    let store = open(&directory);
    let before = latest(&store);
    let created = store.commit(volatile_put("/lease", Expect::Absent, "now"));
    let deleted = volatile(delete("/lease", created.await.unwrap()));
    let known = store.commit(deleted).await.unwrap();
    drop(store);
    let store = open(&directory);
    assert_eq!((before + 2, latest(&store)), (known, known));
    store.follow(known, Kept::new()).await.unwrap();
}

#[tokio::test]
async fn a_volatile_write_to_a_durable_key_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = open(directory.path());
        store.commit(put("/a", Expect::Absent, "1")).await.unwrap();
        store
            .commit(volatile_put("/a", Expect::At(1), "2"))
            .await
            .unwrap();
        store
            .commit(volatile_put("/b", Expect::Absent, "1"))
            .await
            .unwrap();
        store.commit(put("/b", Expect::At(3), "2")).await.unwrap();
        store.commit(put("/c", Expect::Absent, "1")).await.unwrap();
        store.commit(volatile(delete("/c", 5))).await.unwrap();
    }
    assert_eq!(state(&open(directory.path())), ["/a=2@1/2", "/b=2@3/4"]);
}

/// The revision that was asked for and the oldest one, of an error about history that is gone.
fn compacted<T: std::fmt::Debug>(result: Result<T, Error>) -> (u64, u64) {
    match result {
        Err(Error::Compacted { requested, oldest }) => (requested, oldest),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_history_for_new_followers_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        history_events: 2,
        ..Options::default()
    };
    let store = Embedded::open(directory.path(), options).unwrap();
    for i in 1..=5 {
        let write = volatile_put(&format!("/{i}"), Expect::Absent, "");
        store.commit(write).await.unwrap();
    }
    assert_eq!(compacted(store.follow(2, Kept::new()).await), (2, 3));
    let events = Kept::of(&store, 3).await.events();
    assert_eq!(events, ["4: /4=@4/4", "5: /5=@5/5"]);
}

#[tokio::test]
async fn a_write_is_answered_after_the_followers_have_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let kept = Kept::of(&store, 0).await;
    for i in 1..100 {
        let write = volatile_put(&format!("/{i}"), Expect::Absent, "");
        let revision = store.commit(write).await.unwrap();
        assert_eq!(kept.events().len() as u64, revision);
    }
}

#[tokio::test]
async fn a_follower_that_panics_stops_neither_the_store_nor_the_others() {
    #[derive(Default)]
    struct Panics(Mutex<Option<Error>>);
    impl Follower for Panics {
        fn apply(&self, _: &[Event]) {
            panic!("a bug in the follower");
        }
        fn end(&self, why: Error) {
            *self.0.lock() = Some(why);
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let panics = Arc::new(Panics::default());
    store.follow(0, panics.clone()).await.unwrap();
    let kept = Kept::of(&store, 0).await;
    for key in ["/a", "/b"] {
        store.commit(put(key, Expect::Absent, "")).await.unwrap();
    }
    assert_eq!(kept.events().len(), 2);
    let why = panics.0.lock().take();
    assert!(matches!(why, Some(Error::Panicked)), "{why:?}");
}

#[tokio::test]
async fn only_states_that_are_read_in_pages_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for key in ["/a/1", "/a/2", "/b/1"] {
        store.commit(put(key, Expect::Absent, "")).await.unwrap();
    }
    let page = |prefix: &str, revision| Range {
        limit: 1,
        revision,
        ..Range::of(prefix)
    };
    store.range(page("/b/", None)).await.unwrap();
    store.commit(put("/a/3", Expect::Absent, "")).await.unwrap();
    let gone = store.range(page("/b/", Some(3))).await;
    assert_eq!(compacted(gone), (3, 4));
    let first = store.range(page("/a/", None)).await.unwrap();
    assert!(first.has_more);
    store.commit(delete("/a/2", 2)).await.unwrap();
    let old = store
        .range(page("/a/", Some(first.revision)))
        .await
        .unwrap();
    assert!(old.has_more);
}

#[tokio::test]
async fn a_data_directory_can_be_opened_once_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let error = Embedded::open(directory.path(), Options::default()).unwrap_err();
    assert!(matches!(error, Error::Locked(_)), "{error:?}");
    let (path, pid) = (directory.path().display(), std::process::id());
    assert_eq!(
        error.to_string(),
        format!("data directory {path} is in use by process {pid}")
    );
    store.close().await;
    open(directory.path());
}

#[tokio::test]
async fn checkpoints_bound_the_size_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        log_bytes: 100_000,
        ..Options::default()
    };
    let value = "v".repeat(1000);
    let mut revision = 0;
    let expected = {
        let store = Embedded::open(directory.path(), options.clone()).unwrap();
        for i in 0..1000 {
            let expect = if i < 10 {
                Expect::Absent
            } else {
                Expect::At(revision - 9)
            };
            revision = store
                .commit(put(&format!("/{}", i % 10), expect, &value))
                .await
                .unwrap();
        }
        store
            .commit(volatile_put("/lease", Expect::Absent, ""))
            .await
            .unwrap();
        assert!(store.counters().checkpoints.get() >= 3);
        let mut expected = state(&store);
        expected.retain(|line| !line.starts_with("/lease"));
        expected
    };
    let files = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|file| file.unwrap());
    let size: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    assert!(size < 400_000, "{size} bytes on disk for 10 KB of state");
    let store = Embedded::open(directory.path(), options).unwrap();
    assert_eq!(state(&store), expected);
    // The lease, and its end.
    assert_eq!(latest(&store), revision + 2);
}
