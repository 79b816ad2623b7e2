//! Rotation of the keys: while the store is in use, killed at every step, with writes under way.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use pandaemon_store::{
    Entry, Expect, Follower, Page, Range, Result, Revision, Store, Transaction,
    encryption::{EncryptedStore, Encryption, Error},
};
use tokio::sync::watch;

use crate::{
    common::{Kept, put},
    home::{Home, fill, first_key, values},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_while_the_store_is_in_use() {
    let root = tempfile::tempdir().unwrap();
    let home = Home::new(root.path(), "home");
    let encrypted = Arc::new(home.open().await.unwrap());
    let store = encrypted.store();
    fill(&*store).await;
    let ended = Arc::new(AtomicBool::new(false));
    let writers = (0..8_u64).map(|writer| {
        let (store, ended) = (Arc::clone(&store), Arc::clone(&ended));
        pandaemon_runtime::spawn("writer", async move {
            let key = format!("/secrets/w/{writer}");
            let mut expect = Expect::Absent;
            let mut last = 0_u64;
            while !ended.load(Ordering::Acquire) {
                last += 1;
                let write = put(&key, expect, &last.to_string());
                expect = match store.commit(write).await {
                    Ok(revision) => Expect::At(revision),
                    // The rotation wrote it.
                    Err(pandaemon_store::Error::Conflict { current, .. }) => {
                        Expect::At(current.unwrap().mod_revision)
                    }
                    Err(error) => panic!("{error}"),
                };
            }
            last
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut old = vec![first_key(&home.keys())];
    for _ in 0..5 {
        let rotation = encrypted.rotate(&|_, _| {}).await.unwrap();
        assert!(
            rotation.unreadable.is_empty() && rotation.rewritten >= 26,
            "{rotation:?}"
        );
        assert_eq!(home.files_with(&old), [""; 0]);
        assert_eq!(first_key(&home.keys()), rotation.key.to_string());
        let text = fs::read_to_string(home.keys()).unwrap();
        assert_eq!(text.matches("\n# key ").count(), 1, "{text}");
        old.push(rotation.key.to_string());
    }
    ended.store(true, Ordering::Release);
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    let before = values(&*store).await;
    store.close().await;
    let again = home.open().await.unwrap();
    assert_eq!(values(&*again.store()).await, before);
}

#[tokio::test]
async fn a_rotation_that_was_killed_is_finished_by_the_next_start() {
    let root = tempfile::tempdir().unwrap();
    let home = Home::new(root.path(), "home").without_checkpoints();
    let copies = parking_lot::Mutex::new(Vec::new());
    let (old, before) = {
        let encrypted = home.open().await.unwrap();
        fill(&*encrypted.store()).await;
        let progress = |done: u64, _: u64| {
            copies
                .lock()
                .push(home.copied(root.path(), &format!("killed-{done}")));
        };
        let old = first_key(&home.keys());
        encrypted.rotate(&progress).await.unwrap();
        (old, values(&*encrypted.store()).await)
    };
    let copies = copies.into_inner();
    assert_eq!(copies.len(), 27);
    for home in copies {
        assert!(fs::read_to_string(home.keys()).unwrap().contains(&old));
        let store = home.open().await.unwrap();
        assert_eq!(values(&*store.store()).await, before);
        assert_eq!(home.files_with(std::slice::from_ref(&old)), [""; 0]);
        assert!(!fs::read_to_string(home.keys()).unwrap().contains(&old));
    }
}

#[tokio::test]
async fn followers_see_a_rotation_as_updates_without_changes() {
    let root = tempfile::tempdir().unwrap();
    let home = Home::new(root.path(), "home");
    let encrypted = home.open().await.unwrap();
    let store = encrypted.store();
    for (key, value) in [("/secrets/d/a", "1"), ("/pods/d/a", "2")] {
        let write = put(key, Expect::Absent, value);
        store.commit(write).await.unwrap();
    }
    let kept = Kept::of(&*store, 1).await;
    encrypted.rotate(&|_, _| {}).await.unwrap();
    let events = ["2: /pods/d/a=2@2/2", "3: /secrets/d/a=1@1/3"];
    assert_eq!(kept.events(), events);
}

/// A store that holds back the commits of one key.
#[derive(Debug)]
struct Held {
    inner: Arc<dyn Store>,
    key: &'static str,
    released: watch::Sender<bool>,
}

impl Store for Held {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>>> {
        self.inner.get(key)
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page>> {
        self.inner.range(range)
    }

    fn latest(&self) -> BoxFuture<'_, Result<Revision>> {
        self.inner.latest()
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision>> {
        Box::pin(async move {
            if &*transaction.writes[0].key == self.key {
                let mut released = self.released.subscribe();
                released.wait_for(|released| *released).await.unwrap();
            }
            self.inner.commit(transaction).await
        })
    }

    fn follow(&self, from: Revision, follower: Arc<dyn Follower>) -> BoxFuture<'_, Result<()>> {
        self.inner.follow(from, follower)
    }

    fn compact(&self) -> BoxFuture<'_, Result<()>> {
        self.inner.compact()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

#[tokio::test]
async fn a_rotation_waits_for_writes_that_began_with_the_old_key() {
    let root = tempfile::tempdir().unwrap();
    let home = Home::new(root.path(), "home");
    let held = Arc::new(Held {
        inner: Arc::new(home.plain()),
        key: "/secrets/d/late",
        released: watch::Sender::new(false),
    });
    let encryption = Encryption::read(home.settings()).unwrap();
    let opened = EncryptedStore::open(Arc::clone(&held) as _, encryption, false, &|_, _| {});
    let encrypted = opened.await.unwrap();
    let (old, store) = (first_key(&home.keys()), encrypted.store());
    let mut late = store.commit(put(held.key, Expect::Absent, "value"));
    assert!(futures::poll!(&mut late).is_pending());
    let mut rotation = Box::pin(encrypted.rotate(&|_, _| {}));
    // Far longer than a rotation takes.
    let early = tokio::time::timeout(Duration::from_millis(300), &mut rotation).await;
    let meanwhile = encrypted.snapshot().await;
    assert!(
        matches!(meanwhile, Err(Error::Busy)),
        "some of its keys would go"
    );
    held.released.send_replace(true);
    late.await.unwrap();
    match early {
        Ok(rotation) => panic!("it did not wait: {rotation:?}"),
        Err(_) => rotation.await.unwrap(),
    };
    assert_eq!(store.get(held.key).await.unwrap().unwrap().value, "value");
    assert_eq!(home.files_with(&[old]), [""; 0]);
}
