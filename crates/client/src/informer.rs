//! One watch that several loops share: objects are parsed once and kept once.
//!
//! ```ignore
//! let pods = Informer::<Pod>::start(client, ListWatch::all("/api/v1/pods"), stop);
//! let mut mine = pods.subscribe();
//! match mine.next().await { Delta::Listed(all) => .., Delta::Applied(pod) => .., Delta::Deleted(pod) => .. }
//! let now = pods.get(&Key::new("ns", "name"));
//! ```
//!
//! A subscriber that cannot keep up loses its place and gets a new [`Delta::Listed`]; it never slows the others, and
//! nothing is buffered without bound.

use std::{collections::BTreeMap, sync::Arc};

use kube::Client;
use pandaemon_runtime::Shutdown;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch as signal};

use crate::{
    list_watch::{Delta, ListWatch, watch},
    object_meta::{Key, Object},
};

/// Deltas that may wait for a subscriber before it has to start over: a burst of some thousand pods fits.
const PENDING: usize = 4_096;

/// A shared, current copy of all objects of a kind.
#[derive(Debug, Clone)]
pub struct Informer<T>(Arc<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    state: Mutex<State<T>>,
    /// True once the first list has come.
    synced: signal::Sender<bool>,
}

#[derive(Debug)]
struct State<T> {
    objects: BTreeMap<Key, Arc<T>>,
    subscribers: Vec<mpsc::Sender<Delta<Arc<T>>>>,
    /// The last one that came: the next one is often like it.
    last: Option<Arc<T>>,
}

impl<T: Object> State<T> {
    fn insert(&mut self, mut item: T) -> Arc<T> {
        let key = item.meta().key();
        if let Some(like) = self.objects.get(&key).or(self.last.as_ref()) {
            item.share(like);
        }
        let item = Arc::new(item);
        self.last = Some(item.clone());
        self.objects.insert(key, item.clone());
        item
    }
}

impl<T: Object> Informer<T> {
    /// Starts the watch.
    #[must_use]
    pub fn start(client: Client, source: ListWatch, stop: Shutdown) -> Self {
        let informer = Self::detached();
        let feed = informer.clone();
        pandaemon_runtime::spawn("informer", async move {
            let mut deltas = watch::<T>(client, source, stop);
            while let Some(delta) = deltas.recv().await {
                feed.feed(delta);
            }
        });
        informer
    }

    /// An informer without a watch, for tests that feed it by hand.
    #[must_use]
    pub fn detached() -> Self {
        let state = State {
            objects: BTreeMap::new(),
            subscribers: Vec::new(),
            last: None,
        };
        Self(Arc::new(Inner {
            state: Mutex::new(state),
            synced: signal::Sender::new(false),
        }))
    }

    /// Takes in what has happened, and tells the subscribers.
    pub fn feed(&self, delta: Delta<T>) {
        let mut state = self.0.state.lock();
        let shared = match delta {
            Delta::Listed(items) => {
                state.objects.clear();
                items.into_iter().for_each(|item| drop(state.insert(item)));
                Delta::Listed(state.objects.values().cloned().collect())
            }
            Delta::Applied(item) => Delta::Applied(state.insert(item)),
            Delta::Deleted(item) => {
                state.objects.remove(&item.meta().key());
                Delta::Deleted(Arc::new(item))
            }
        };
        let listed = matches!(shared, Delta::Listed(_));
        // A full channel loses its sender: the subscriber notices when it has read the rest, and subscribes anew.
        state
            .subscribers
            .retain(|subscriber| subscriber.try_send(shared.clone()).is_ok());
        drop(state);
        if listed {
            self.0.synced.send_replace(true);
        }
    }

    /// Follows the objects from now on; the first delta is the full list (once there is one).
    #[must_use]
    pub fn subscribe(&self) -> Subscription<T> {
        Subscription {
            informer: self.clone(),
            deltas: self.attach(),
        }
    }

    fn attach(&self) -> mpsc::Receiver<Delta<Arc<T>>> {
        let (sender, receiver) = mpsc::channel(PENDING);
        let mut state = self.0.state.lock();
        if *self.0.synced.borrow() {
            let all = Delta::Listed(state.objects.values().cloned().collect());
            // The channel is new and empty.
            let _fits = sender.try_send(all);
        }
        state.subscribers.push(sender);
        receiver
    }

    /// Waits until the first list has come.
    pub async fn synced(&self) {
        let mut synced = self.0.synced.subscribe();
        // An error would mean that the sender is gone, but this informer holds it.
        let _there = synced.wait_for(|synced| *synced).await;
    }

    /// The object, if there is one.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<T>> {
        self.0.state.lock().objects.get(key).cloned()
    }

    /// Every object, by key.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<T>> {
        self.0.state.lock().objects.values().cloned().collect()
    }
}

/// A loop's place in the series of deltas.
#[derive(Debug)]
pub struct Subscription<T> {
    informer: Informer<T>,
    deltas: mpsc::Receiver<Delta<Arc<T>>>,
}

impl<T: Object> Subscription<T> {
    /// The next delta. Safe to cancel.
    pub async fn next(&mut self) -> Delta<Arc<T>> {
        loop {
            if let Some(delta) = self.deltas.recv().await {
                return delta;
            }
            self.deltas = self.informer.attach();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object_meta::{ObjectMeta, PartialObjectMetadata};

    fn object(name: &str) -> PartialObjectMetadata {
        PartialObjectMetadata {
            metadata: ObjectMeta {
                name: name.to_owned(),
                ..ObjectMeta::default()
            },
        }
    }

    #[tokio::test]
    async fn a_slow_subscriber_gets_the_list_again() {
        let informer = Informer::detached();
        let mut slow = informer.subscribe();
        informer.feed(Delta::Listed(vec![object("a")]));
        for index in 0..PENDING {
            informer.feed(Delta::Applied(object(&format!("b{index}"))));
        }
        informer.feed(Delta::Deleted(object("a")));
        let mut lists = Vec::new();
        for _ in 0..=PENDING {
            if let Delta::Listed(items) = slow.next().await {
                lists.push(items.len());
            }
        }
        assert_eq!(lists, [1, PENDING]);
    }

    #[tokio::test]
    async fn a_late_subscriber_starts_with_the_list() {
        let informer = Informer::detached();
        informer.feed(Delta::Listed(vec![object("a")]));
        informer.synced().await;
        let mut late = informer.subscribe();
        informer.feed(Delta::Applied(object("b")));
        assert!(matches!(late.next().await, Delta::Listed(items) if items.len() == 1));
        assert!(matches!(late.next().await, Delta::Applied(item) if item.metadata.name == "b"));
        assert!(informer.get(&Key::new("", "b")).is_some());
    }
}
