//! The public interface of the embedded store: conflicts, durability, feeds, restarts.

use crate::common::{delete, open, put, show, state, volatile_put};
use pandaemon_store::{Durability, Embedded, Error, Expect, Feed, Options, Store, Write};

async fn read(feed: &mut dyn Feed, count: usize) -> Vec<String> {
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(feed.next().await.unwrap().iter().map(show));
    }
    events
}

#[tokio::test]
async fn a_write_whose_precondition_fails_is_a_conflict_with_the_current_entry() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let first = store.commit(put("/a", Expect::Absent, "1")).await.unwrap();
    for expect in [Expect::Absent, Expect::At(first + 1)] {
        let error = store.commit(put("/a", expect, "2")).await.unwrap_err();
        let Error::Conflict(Some(entry)) = error else {
            panic!("{error:?}")
        };
        assert_eq!(
            (entry.mod_revision, &entry.value[..]),
            (first, b"1".as_slice())
        );
    }
    let missing = store.commit(delete("/b", first)).await.unwrap_err();
    assert!(matches!(missing, Error::Conflict(None)), "{missing:?}");
    let second = store
        .commit(put("/a", Expect::At(first), "2"))
        .await
        .unwrap();
    assert!(second > first);
    assert_eq!(state(&store), ["/a=2@1/2"]);
    store.commit(delete("/a", second)).await.unwrap();
    assert_eq!(store.snapshot().revision, 3);
    assert!(state(&store).is_empty());
}

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
async fn a_feed_delivers_every_change_once_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut early = store.follow(0).unwrap();
    let first = store.commit(put("/a", Expect::Absent, "1")).await.unwrap();
    let second = store
        .commit(volatile_put("/b", Expect::Absent, "x"))
        .await
        .unwrap();
    let third = store
        .commit(put("/a", Expect::At(first), "2"))
        .await
        .unwrap();
    store.commit(delete("/a", third)).await.unwrap();
    let history = [
        "1: - -> /a=1@1/1",
        "2: - -> /b=x@2/2",
        "3: /a=1@1/1 -> /a=2@1/3",
        "4: /a=2@1/3 -> -",
    ];
    assert_eq!(read(&mut *early, 4).await, history);
    let mut late = store.follow(second).unwrap();
    assert_eq!(read(&mut *late, 2).await, history[2..]);
    store.close().await;
    assert!(matches!(early.next().await, Err(Error::Closed)));
    let refused = store.commit(put("/c", Expect::Absent, "")).await;
    assert!(matches!(refused, Err(Error::Closed)), "{refused:?}");
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
    assert_eq!(store.snapshot().revision, 4);
    let gone = store.follow(3).err();
    assert!(
        matches!(
            gone,
            Some(Error::Compacted {
                requested: 3,
                oldest: 4
            })
        ),
        "{gone:?}"
    );
    assert_eq!(
        store.commit(put("/a", Expect::Absent, "2")).await.unwrap(),
        5
    );
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
        let gone = Write {
            durability: Durability::Volatile,
            ..delete("/c", 5)
        };
        store.commit(gone).await.unwrap();
    }
    assert_eq!(state(&open(directory.path())), ["/a=2@1/2", "/b=2@3/4"]);
}

#[tokio::test]
async fn a_reader_beyond_the_lag_bound_gets_lagged() {
    let directory = tempfile::tempdir().unwrap();
    let (history_events, lag_events) = (2, 5);
    let options = Options {
        history_events,
        lag_events,
        ..Options::default()
    };
    let store = Embedded::open(directory.path(), options).unwrap();
    let mut slow = store.follow(0).unwrap();
    for i in 0..5 {
        store
            .commit(volatile_put(&format!("/{i}"), Expect::Absent, ""))
            .await
            .unwrap();
    }
    // Five events behind is within the bound.
    assert!(slow.next().await.unwrap()[0].revision == 1);
    for i in 5..8 {
        store
            .commit(volatile_put(&format!("/{i}"), Expect::Absent, ""))
            .await
            .unwrap();
    }
    assert!(matches!(slow.next().await, Err(Error::Lagged)));
    drop(slow);
    store
        .commit(volatile_put("/8", Expect::Absent, ""))
        .await
        .unwrap();
    assert!(matches!(
        store.follow(6),
        Err(Error::Compacted {
            requested: 6,
            oldest: 7
        })
    ));
    assert_eq!(
        store.follow(7).unwrap().next().await.unwrap()[0].revision,
        8
    );
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
    assert_eq!(store.snapshot().revision, revision + 1);
}
