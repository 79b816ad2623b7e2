//! What every store does: the embedded one, the double with and without faults, and those
//! whose values are transformed and encrypted.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::executor::block_on;
use pandaemon_store::{
    Embedded, Error, Expect, Key, Op, Options, Range, Result, Revision, Store, Transaction,
    Transformed, Transformer,
    double::{Double, Faults},
    encryption::{EncryptedStore, Encryption, Settings},
};
use tempfile::TempDir;

use crate::common::{Kept, all, delete, put, together};

/// Stores values backwards.
#[derive(Debug)]
struct Backwards;

impl Backwards {
    fn turn(value: &Bytes) -> Bytes {
        value.iter().rev().copied().collect()
    }
}

impl Transformer for Backwards {
    fn transform_to_storage(&self, _: &str, value: &Bytes) -> Result<Bytes> {
        Ok(Self::turn(value))
    }

    fn transform_from_storage(&self, _: &str, value: &Bytes) -> Result<Bytes> {
        Ok(Self::turn(value))
    }
}

/// A store, and what it is.
type Named = (&'static str, Arc<dyn Store>);

/// The stores, and the directory of those that need one.
fn stores() -> (TempDir, Vec<Named>) {
    let directory = tempfile::tempdir().unwrap();
    let embedded = |name: &str| {
        let path = directory.path().join(name);
        Arc::new(Embedded::open(path, Options::default()).unwrap())
    };
    let slow = Faults {
        latency: Duration::from_millis(5),
        ..Faults::default()
    };
    let transformed = Transformed::new(embedded("transformed"), Arc::new(Backwards));
    let all: Vec<Named> = vec![
        ("embedded", embedded("embedded")),
        ("double", Arc::new(Double::new(Faults::default(), 1))),
        ("slow double", Arc::new(Double::new(slow, 2))),
        ("transformed", Arc::new(transformed)),
        ("encrypted", encrypted(directory.path())),
    ];
    (directory, all)
}

/// A store that encrypts one of the collections of the tests.
fn encrypted(directory: &Path) -> Arc<dyn Store> {
    let settings = Settings {
        key_file: directory.join("keys"),
        prefixes: vec!["/a/".into()],
        keeps_encrypted: false,
        deletes_lost: false,
    };
    let encryption = Encryption::read(settings).unwrap();
    let inner = Embedded::open(directory.join("encrypted"), Options::default()).unwrap();
    let opened = EncryptedStore::open(Arc::new(inner), encryption, false, &|_, _| {});
    block_on(opened).unwrap().store()
}

fn key(text: &str) -> Key {
    text.into()
}

/// The write with the guard that did not hold, and the current value of its key.
fn conflict(result: Result<Revision>) -> (usize, Option<String>) {
    match result {
        Err(Error::Conflict { at, current }) => {
            let value = current.map(|entry| String::from_utf8(entry.value.to_vec()).unwrap());
            (at, value)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_transaction_happens_as_a_whole_at_one_revision() {
    for (name, store) in stores().1 {
        let kept = Kept::of(&*store, 0).await;
        let both = [("/a/x", "1"), ("/b/x", "2")];
        let both = together(both.map(|(key, value)| put(key, Expect::Absent, value)));
        assert_eq!(store.commit(both.clone()).await.unwrap(), 1, "{name}");
        assert_eq!(all(&*store).await, ["/a/x=1@1/1", "/b/x=2@1/1"], "{name}");
        assert_eq!(conflict(store.commit(both).await), (0, Some("1".into())));
        let half = together([
            put("/c/x", Expect::Absent, ""),
            put("/b/x", Expect::At(7), ""),
        ]);
        assert_eq!(conflict(store.commit(half).await), (1, Some("2".into())));
        let gone = together([delete("/a/x", 1), put("/b/x", Expect::At(1), "3")]);
        assert_eq!(store.commit(gone).await.unwrap(), 2, "{name}");
        assert_eq!(all(&*store).await, ["/b/x=3@1/2"], "{name}");
        let events = [
            "1: /a/x=1@1/1",
            "1: /b/x=2@1/1",
            "2: /a/x is gone",
            "2: /b/x=3@1/2",
        ];
        assert_eq!(kept.until(4).await, events, "{name}");
        for batch in kept.batches() {
            assert!(
                batch.len().is_multiple_of(2),
                "{name}: {batch:?} splits a revision"
            );
        }
    }
}

#[tokio::test]
async fn checks_guard_a_transaction_and_change_nothing() {
    for (name, store) in stores().1 {
        store
            .commit(put("/a/x", Expect::Absent, "1"))
            .await
            .unwrap();
        let guarded =
            |key: &str, expect| put(key, Expect::Absent, "").with_check("/a/x".into(), expect);
        let refused = store.commit(guarded("/b/x", Expect::Absent)).await;
        assert_eq!(conflict(refused), (1, Some("1".into())), "{name}");
        store.commit(guarded("/b/x", Expect::At(1))).await.unwrap();
        let check = Transaction::of(key("/a/x"), Expect::At(1), Op::Check);
        assert_eq!(store.commit(check).await.unwrap(), 2, "{name}");
        let missing = Transaction::of(key("/a/y"), Expect::At(1), Op::Check);
        assert_eq!(conflict(store.commit(missing).await), (0, None), "{name}");
        assert_eq!(all(&*store).await, ["/a/x=1@1/1", "/b/x=@2/2"], "{name}");
        assert_eq!(store.latest().await.unwrap(), 2, "{name}");
    }
}

#[tokio::test]
async fn what_does_not_exist_cannot_be_deleted() {
    for (name, store) in stores().1 {
        for expect in [Expect::Absent, Expect::At(0)] {
            let delete = Transaction::of(key("/a/x"), expect, Op::Delete);
            assert_eq!(conflict(store.commit(delete).await), (0, None), "{name}");
        }
    }
}

#[tokio::test]
async fn too_large_transactions_are_refused() {
    for (name, store) in stores().1 {
        let large = "x".repeat(pandaemon_store::MAX_TRANSACTION_BYTES);
        let refused = store.commit(put("/a/x", Expect::Absent, &large)).await;
        assert!(
            matches!(refused, Err(Error::TooLarge(_))),
            "{name}: {refused:?}"
        );
        assert_eq!(store.latest().await.unwrap(), 0, "{name}");
    }
}

#[tokio::test]
async fn pages_at_a_revision_show_one_state() {
    for (name, store) in stores().1 {
        for i in 0..5 {
            let write = put(&format!("/a/{i}"), Expect::Absent, "old");
            store.commit(write).await.unwrap();
        }
        store
            .commit(put("/ab/x", Expect::Absent, ""))
            .await
            .unwrap();
        let mut range = Range {
            limit: 2,
            ..Range::of("/a/")
        };
        let mut found = Vec::new();
        loop {
            let page = store.range(range.clone()).await.unwrap();
            assert_eq!(page.revision, 6, "{name}");
            let values = page.entries.iter().map(|entry| entry.value.clone());
            found.extend(values);
            if !page.has_more {
                break;
            }
            range.after = page.entries.last().map(|entry| entry.key.clone());
            range.revision = Some(page.revision);
            let i = found.len() as u64;
            let change = put(&format!("/a/{i}"), Expect::At(i + 1), "new");
            store.commit(change).await.unwrap();
        }
        assert_eq!(found, vec!["old"; 5], "{name}");
        assert_eq!(
            store.get("/a/4").await.unwrap().unwrap().value,
            "new",
            "{name}"
        );
        assert!(store.get("/a").await.unwrap().is_none(), "{name}");
        let old = store.range(Range::of("").at(1)).await;
        let is_kept = name.ends_with("double");
        assert!(
            is_kept || matches!(old, Err(Error::Compacted { .. })),
            "{name}: {old:?}"
        );
    }
}

#[tokio::test]
async fn a_follower_gets_every_change_once_and_in_order() {
    for (name, store) in stores().1 {
        let early = Kept::of(&*store, 0).await;
        store
            .commit(put("/a/x", Expect::Absent, "1"))
            .await
            .unwrap();
        store
            .commit(put("/b/x", Expect::Absent, "x"))
            .await
            .unwrap();
        store.commit(put("/a/x", Expect::At(1), "2")).await.unwrap();
        store.commit(delete("/a/x", 3)).await.unwrap();
        let events = [
            "1: /a/x=1@1/1",
            "2: /b/x=x@2/2",
            "3: /a/x=2@1/3",
            "4: /a/x is gone",
        ];
        assert_eq!(early.until(4).await, events, "{name}");
        let late = Kept::of(&*store, 2).await;
        assert_eq!(late.until(2).await, events[2..], "{name}");
        store.close().await;
        assert!(matches!(early.ended().await, Error::Closed), "{name}");
        let refused = store.commit(put("/c/x", Expect::Absent, "")).await;
        assert!(matches!(refused, Err(Error::Closed)), "{name}: {refused:?}");
    }
}

#[tokio::test]
async fn transformed_values_are_stored_in_their_form_and_read_as_they_were_written() {
    let inner = Arc::new(Double::new(Faults::default(), 1));
    let store = Transformed::new(Arc::clone(&inner) as _, Arc::new(Backwards));
    store
        .commit(put("/a/x", Expect::Absent, "abc"))
        .await
        .unwrap();
    assert_eq!(inner.entries("")[0].value, "cba");
    assert_eq!(all(&store).await, ["/a/x=abc@1/1"]);
    let kept = Kept::of(&store, 0).await;
    assert_eq!(kept.until(1).await, ["1: /a/x=abc@1/1"]);
    let refused = store.commit(put("/a/x", Expect::Absent, "")).await;
    assert_eq!(conflict(refused), (0, Some("abc".into())));
}

#[tokio::test]
async fn the_double_has_the_faults_that_it_is_told_to_have() {
    let double = Double::new(Faults::default(), 1);
    let with = |change: fn(&mut Faults)| {
        let mut faults = Faults::default();
        change(&mut faults);
        double.set_faults(faults);
    };
    with(|faults| faults.conflicts = 1000);
    let write = put("/a/x", Expect::Absent, "");
    assert_eq!(conflict(double.commit(write.clone()).await), (0, None));
    with(|faults| faults.lost_requests = 1000);
    let lost = double.commit(write.clone()).await;
    assert!(matches!(lost, Err(Error::Unknown(_))), "{lost:?}");
    assert_eq!(double.latest().await.unwrap(), 0);
    with(|faults| faults.lost_replies = 1000);
    let lost = double.commit(write).await;
    assert!(matches!(lost, Err(Error::Unknown(_))), "{lost:?}");
    assert_eq!(double.latest().await.unwrap(), 1);
    with(|faults| faults.broken = 1000);
    let broken = Kept::of(&double, 0).await.ended().await;
    assert!(matches!(broken, Error::Broken(_)), "{broken:?}");
    with(|faults| (faults.broken, faults.forgotten) = (1000, 1000));
    let broken = Kept::of(&double, 0).await.ended().await;
    assert!(matches!(broken, Error::Broken(_)), "{broken:?}");
    let late = double.follow(0, Kept::new()).await;
    let is_forgotten = |error: &Error| matches!(error, Error::Compacted { oldest: 1, .. });
    assert!(late.as_ref().is_err_and(is_forgotten), "{late:?}");
    assert_eq!(double.events().len(), 1);
}
