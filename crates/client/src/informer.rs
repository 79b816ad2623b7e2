//! One list-watch that several loops share: objects are decoded once and kept once. Upstream:
//! `cache.SharedInformer`.
//!
//! ```ignore
//! let pods = Informer::<Pod>::start(client, ListWatch::all("/api/v1/pods"), stop);
//! let mut mine = pods.subscribe();
//! match mine.next().await { Delta::Listed(all) => .., Delta::Applied(pod) => .., Delta::Deleted(pod) => .. }
//! let now = pods.get(&Key::new("ns", "name"));
//! ```
//!
//! A subscriber that cannot keep up loses its place and gets a new [`Delta::Listed`]; it never
//! slows the others, and nothing is buffered without bound.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use kube::Client;
use pandaemon_runtime::Shutdown;
use pandaemon_types::Uid;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch as signal};

use crate::{
    list_watch::{self, Delta, Handler, ListWatch, ListWatchEvent, ObjectIdentity},
    object_meta::{Key, Object},
    supervise::restart_on_panic,
};

/// Deltas that may wait for a subscriber before it has to start over: a burst of some thousand pods
/// fits.
const PENDING: usize = 4_096;

/// A shared, current copy of all objects of a collection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Informer<T>(Arc<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    state: Mutex<State<T>>,
    /// True once the first list is complete.
    synced: signal::Sender<bool>,
}

#[derive(Debug)]
struct State<T> {
    objects: BTreeMap<Key, Arc<T>>,
    /// The newest version that the objects show.
    version: u64,
    /// How often versions were reset.
    resets: u64,
    subscribers: Vec<mpsc::Sender<Update<T>>>,
    /// The last object that came: the next one is often like it.
    last: Option<Arc<T>>,
}

/// What a subscriber is sent.
#[derive(Debug, Clone)]
pub struct Update<T> {
    /// What has happened.
    pub delta: Delta<Arc<T>>,
    /// The newest version that the informer's objects show after it.
    pub version: u64,
    /// How often versions were reset, for example after a restore of the server: versions of
    /// different counts cannot be compared.
    pub resets: u64,
}

impl<T: Object> State<T> {
    /// Shares with an earlier object what is equal in both.
    fn intern(&mut self, key: &Key, mut object: T) -> Arc<T> {
        if let Some(like) = self.objects.get(key).or(self.last.as_ref()) {
            object.share(like);
        }
        let object = Arc::new(object);
        self.last = Some(object.clone());
        object
    }

    /// Replaces all objects.
    fn replace(&mut self, objects: BTreeMap<Key, Arc<T>>, version: u64) {
        self.objects = objects;
        self.version = version;
        self.tell(Delta::Listed(self.objects.values().cloned().collect()));
    }

    fn apply(&mut self, object: T) {
        let key = object.meta().key();
        self.version = self.version.max(object.meta().version());
        let object = self.intern(&key, object);
        let old = self.objects.insert(key, object.clone());
        // The deletion of an earlier object of the name has not been told.
        if let Some(old) = old.filter(|old| old.meta().uid != object.meta().uid) {
            self.tell(Delta::Deleted(old));
        }
        self.tell(Delta::Applied(object));
    }

    fn delete(&mut self, object: T) {
        let key = object.meta().key();
        self.version = self.version.max(object.meta().version());
        let known = self.objects.get(&key);
        // A later object of the name stays.
        if known.is_some_and(|known| known.meta().uid != object.meta().uid) {
            return;
        }
        let object = self.intern(&key, object);
        self.objects.remove(&key);
        self.tell(Delta::Deleted(object));
    }

    /// As [`State::delete`], if the last state of the object cannot be decoded.
    fn delete_known(&mut self, object: &ObjectIdentity) {
        self.version = self.version.max(object.version);
        let key = key_of(object);
        let known = self.objects.get(&key);
        if known.is_some_and(|known| is_same(&**known, object))
            && let Some(known) = self.objects.remove(&key)
        {
            self.tell(Delta::Deleted(known));
        }
    }

    fn tell(&mut self, delta: Delta<Arc<T>>) {
        let update = self.update(delta);
        // A full channel loses its sender: the subscriber notices when it has read the rest, and
        // subscribes anew.
        self.subscribers
            .retain(|subscriber| subscriber.try_send(update.clone()).is_ok());
    }

    const fn update(&self, delta: Delta<Arc<T>>) -> Update<T> {
        Update {
            delta,
            version: self.version,
            resets: self.resets,
        }
    }
}

impl<T: Object> Informer<T> {
    /// Starts the list-watch. A panic in it starts it again.
    #[must_use]
    pub fn start(client: Client, source: ListWatch, stop: Shutdown) -> Self {
        let informer = Self::detached();
        let fed = informer.clone();
        pandaemon_runtime::spawn("informer", async move {
            let start = || list_watch::run(&client, &source, Feed::new(fed.clone()));
            stop.guard(restart_on_panic("informer", start)).await;
        });
        informer
    }

    /// An informer without a list-watch, for tests that feed it by hand.
    #[must_use]
    pub fn detached() -> Self {
        let state = State {
            objects: BTreeMap::new(),
            version: 0,
            resets: 0,
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
        match delta {
            Delta::Listed(items) => {
                let mut objects = BTreeMap::new();
                for item in items {
                    let key = item.meta().key();
                    let item = state.intern(&key, item);
                    objects.insert(key, item);
                }
                state.replace(objects, 0);
                drop(state);
                self.0.synced.send_replace(true);
            }
            Delta::Applied(object) => state.apply(object),
            Delta::Deleted(object) => state.delete(object),
        }
    }

    /// Follows the objects from now on; the first delta is the full list (once there is one).
    #[must_use]
    pub fn subscribe(&self) -> Subscription<T> {
        self.subscribe_with(PENDING)
    }

    /// As [`Informer::subscribe`], for a loop that falls behind by up to `pending` deltas.
    #[must_use]
    pub fn subscribe_with(&self, pending: usize) -> Subscription<T> {
        Subscription {
            informer: self.clone(),
            updates: self.attach(pending),
            pending,
        }
    }

    fn attach(&self, pending: usize) -> mpsc::Receiver<Update<T>> {
        let (sender, receiver) = mpsc::channel(pending);
        let mut state = self.0.state.lock();
        if *self.0.synced.borrow() {
            let all = Delta::Listed(state.objects.values().cloned().collect());
            // The channel is new and empty.
            let _fits = sender.try_send(state.update(all));
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

fn key_of(object: &ObjectIdentity) -> Key {
    Key::new(&*object.namespace, &*object.name)
}

fn is_same(known: &impl Object, object: &ObjectIdentity) -> bool {
    Uid::from(&*known.meta().uid) == object.uid
}

/// Takes in the events of the list-watch.
struct Feed<T> {
    informer: Informer<T>,
    /// The list that is being read.
    listing: Option<BTreeMap<Key, Arc<T>>>,
}

impl<T> Feed<T> {
    const fn new(informer: Informer<T>) -> Self {
        let listing = None;
        Self { informer, listing }
    }
}

impl<T: Object> Handler for Feed<T> {
    type Object = T;

    fn uid(object: &T) -> Uid {
        object.meta().uid.as_str().into()
    }

    fn version(object: &T) -> u64 {
        object.meta().version()
    }

    async fn handle(&mut self, events: Vec<ListWatchEvent<T>>) -> bool {
        let inner = &self.informer.0;
        let mut state = inner.state.lock();
        for event in events {
            match (event, &mut self.listing) {
                (ListWatchEvent::ListStarted { versions_reset }, listing) => {
                    state.resets += u64::from(versions_reset);
                    *listing = Some(BTreeMap::new());
                }
                (ListWatchEvent::Page(items), Some(listing)) => {
                    for item in items {
                        let key = item.meta().key();
                        let item = state.intern(&key, item);
                        listing.insert(key, item);
                    }
                }
                (ListWatchEvent::Deleted(object), Some(listing)) => {
                    let key = object.meta().key();
                    let known = listing.get(&key);
                    if known.is_some_and(|known| known.meta().uid == object.meta().uid) {
                        listing.remove(&key);
                    }
                }
                (ListWatchEvent::Undecodable(object), Some(listing)) => {
                    let key = key_of(&object);
                    let known = state.objects.get(&key).cloned();
                    let known = known.filter(|known| is_same(&**known, &object));
                    listing.extend(known.map(|known| (key, known)));
                }
                (ListWatchEvent::DeletedUndecodable(object), Some(listing)) => {
                    let key = key_of(&object);
                    let known = listing.get(&key);
                    if known.is_some_and(|known| is_same(&**known, &object)) {
                        listing.remove(&key);
                    }
                }
                (ListWatchEvent::DeletedUndecodable(object), None) => state.delete_known(&object),
                (ListWatchEvent::Listed { version }, listing) => {
                    state.replace(listing.take().unwrap_or_default(), version);
                    inner.synced.send_replace(true);
                }
                (ListWatchEvent::Applied(object), _) => state.apply(object),
                (ListWatchEvent::Deleted(object), None) => state.delete(object),
                // Pages come after the start of a list.
                (ListWatchEvent::Page(_) | ListWatchEvent::Undecodable(_), None) => {}
            }
        }
        true
    }
}

/// A loop's place in the series of deltas.
#[derive(Debug)]
pub struct Subscription<T> {
    informer: Informer<T>,
    updates: mpsc::Receiver<Update<T>>,
    pending: usize,
}

impl<T: Object> Subscription<T> {
    /// The next delta. Safe to cancel.
    pub async fn next(&mut self) -> Delta<Arc<T>> {
        loop {
            if let Some(update) = self.updates.recv().await {
                return update.delta;
            }
            self.updates = self.informer.attach(self.pending);
        }
    }

    /// The updates that have come, at least one and at most `most`. Safe to cancel.
    pub async fn next_batch(&mut self, most: usize) -> Vec<Update<T>> {
        let mut batch = Vec::new();
        loop {
            if self.updates.recv_many(&mut batch, most).await > 0 {
                return batch;
            }
            self.updates = self.informer.attach(self.pending);
        }
    }
}
