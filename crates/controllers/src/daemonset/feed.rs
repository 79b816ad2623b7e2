//! What the planner observes: list-watches of one kind, or the informers that all controllers
//! share.
//!
//! The pages of a list are passed on as they arrive. The end of a list carries its resource
//! version, as a pod from a reply may be newer than the list.

mod projection;

use std::{collections::BTreeMap, sync::Arc};

use kube::Client;
use pandaemon_client::{
    informer::{Informer, Update},
    list_watch::{self, Delta, Handler, ListWatch, ListWatchEvent, ObjectIdentity},
    object_meta::Object,
};
use pandaemon_planner::{DaemonSetView, Event, Listed, RevisionView};
use pandaemon_types::{Name, PodView, Uid, VersionedNode};
use tokio::sync::mpsc;

use self::projection::Projection;
use super::setup::Setup;
use crate::views::{Node, Pod};

/// The kinds that the planner observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Sets,
    Revisions,
    Nodes,
    Pods,
}

type Sender = mpsc::Sender<Vec<Event>>;

/// Updates of an informer that may wait for the planner: those of a roll-out to many thousand
/// nodes.
const PENDING: usize = 65_536;
/// Updates that are passed on together.
const BATCH: usize = 512;

/// Sends the events of a kind until the receiver is dropped, or until the server starts a new
/// history of versions: what the planner knows means nothing then.
pub(super) async fn follow(setup: &Setup, kind: Kind, sender: Sender) {
    let source = |path: &str| ListWatch {
        paged: setup.paged,
        ..ListWatch::all(path).metrics(&setup.telemetry.list_watches)
    };
    let client = &setup.client;
    match (kind, &setup.informers) {
        (Kind::Nodes, Some(shared)) => follow_informer(&shared.nodes, sender).await,
        (Kind::Pods, Some(shared)) => follow_informer(&shared.pods, sender).await,
        (Kind::Nodes | Kind::Pods | Kind::Sets | Kind::Revisions, _) => {
            follow_list_watch(client, kind, source, sender).await;
        }
    }
}

async fn follow_list_watch(
    client: &Client,
    kind: Kind,
    source: impl Fn(&str) -> ListWatch,
    sender: Sender,
) {
    match kind {
        Kind::Sets => {
            let source = source("/apis/apps/v1/daemonsets");
            list_watch::run(client, &source, Feed::<DaemonSetView>::new(sender)).await;
        }
        Kind::Revisions => {
            let source = source("/apis/apps/v1/controllerrevisions");
            list_watch::run(client, &source, Feed::<RevisionView>::new(sender)).await;
        }
        Kind::Nodes => {
            let source = source("/api/v1/nodes");
            list_watch::run(client, &source, Feed::<VersionedNode>::new(sender)).await;
        }
        Kind::Pods => {
            let source = source("/api/v1/pods");
            list_watch::run(client, &source, Feed::<PodView>::new(sender)).await;
        }
    }
}

/// An object of a shared informer that the planner observes.
trait SharedObject: Object {
    /// The event that it was added or changed.
    fn changed(&self) -> Event;
    /// The event that it was deleted; `version` is that of the deletion.
    fn gone(&self, version: u64) -> Event;
    /// The end of a list.
    fn listed(objects: &[Arc<Self>], version: u64) -> Event;
}

impl SharedObject for Pod {
    fn changed(&self) -> Event {
        Event::Pod(Box::new(self.planner_view()))
    }

    fn gone(&self, resource_version: u64) -> Event {
        let uid = Uid::from(&*self.meta.uid);
        Event::PodGone {
            uid,
            resource_version,
        }
    }

    fn listed(pods: &[Arc<Self>], resource_version: u64) -> Event {
        let uids = pods.iter().map(|pod| Uid::from(&*pod.meta.uid)).collect();
        Event::Listed(Listed::Pods {
            uids,
            resource_version,
        })
    }
}

impl SharedObject for Node {
    fn changed(&self) -> Event {
        Event::Node((*self.view).clone())
    }

    fn gone(&self, _: u64) -> Event {
        Event::NodeGone {
            name: Name::clone(&self.view.name),
            uid: self.view.uid.clone(),
        }
    }

    fn listed(nodes: &[Arc<Self>], _: u64) -> Event {
        let names = nodes.iter().map(|node| Name::clone(&node.view.name));
        Event::Listed(Listed::Nodes(names.collect()))
    }
}

/// Sends what an informer tells, until the receiver is dropped or versions are reset.
async fn follow_informer<T: SharedObject>(informer: &Informer<T>, sender: Sender) {
    let mut updates = informer.subscribe_with(PENDING);
    let mut resets = None;
    loop {
        let mut events = Vec::new();
        for update in updates.next_batch(BATCH).await {
            if *resets.get_or_insert(update.resets) != update.resets {
                return;
            }
            push_events(update, &mut events);
        }
        if sender.send(events).await.is_err() {
            return;
        }
    }
}

fn push_events<T: SharedObject>(update: Update<T>, events: &mut Vec<Event>) {
    match update.delta {
        Delta::Listed(objects) => {
            events.extend(objects.iter().map(|object| object.changed()));
            events.push(T::listed(&objects, update.version));
        }
        Delta::Applied(object) => events.push(object.changed()),
        Delta::Deleted(object) => events.push(object.gone(object.meta().version())),
    }
}

/// Converts list-watch events into planner events.
struct Feed<T: Projection> {
    sender: Sender,
    /// The keys and uids of the list that is being read.
    keys: BTreeMap<T::Key, Uid>,
}

impl<T: Projection> Feed<T> {
    const fn new(sender: Sender) -> Self {
        let keys = BTreeMap::new();
        Self { sender, keys }
    }

    fn list(&mut self, object: &ObjectIdentity) {
        self.keys.insert(T::key(object), object.uid.clone());
    }

    fn gone(&mut self, object: ObjectIdentity) -> Event {
        let key = T::key(&object);
        // A later object of the name stays.
        if self.keys.get(&key) == Some(&object.uid) {
            self.keys.remove(&key);
        }
        T::gone(object)
    }
}

impl<T: Projection> Handler for Feed<T> {
    type Object = T;

    fn uid(object: &T) -> Uid {
        object.identity().uid
    }

    fn version(object: &T) -> u64 {
        object.identity().version
    }

    async fn handle(&mut self, events: Vec<ListWatchEvent<T>>) -> bool {
        let mut observed = Vec::with_capacity(events.len());
        for event in events {
            match event {
                ListWatchEvent::ListStarted { versions_reset } => {
                    if versions_reset {
                        return false;
                    }
                    self.keys.clear();
                }
                ListWatchEvent::Page(items) => {
                    items.iter().for_each(|item| self.list(&item.identity()));
                    observed.extend(items.into_iter().map(T::changed));
                }
                // The planner keeps what it knows of the object.
                ListWatchEvent::Undecodable(object) => self.list(&object),
                ListWatchEvent::Listed { version } => {
                    let keys = std::mem::take(&mut self.keys).into_keys().collect();
                    observed.push(Event::Listed(T::listed(keys, version)));
                }
                ListWatchEvent::Applied(object) => observed.push(object.changed()),
                ListWatchEvent::Deleted(object) => observed.push(self.gone(object.identity())),
                ListWatchEvent::DeletedUndecodable(object) => observed.push(self.gone(object)),
            }
        }
        observed.is_empty() || self.sender.send(observed).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Deserialize as _;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_node_that_was_made_again_while_a_list_is_read_is_in_the_list() {
        let (sender, mut events) = mpsc::channel(8);
        let mut feed = Feed::<VersionedNode>::new(sender);
        let node = |uid: &str| {
            let object = json!({"metadata": {"name": "a", "uid": uid, "resourceVersion": "1"}});
            VersionedNode::deserialize(object).unwrap()
        };
        let told = vec![
            ListWatchEvent::Page(vec![node("old")]),
            ListWatchEvent::Page(vec![node("new")]),
            ListWatchEvent::Deleted(node("old")),
            ListWatchEvent::Listed { version: 1 },
        ];
        assert!(feed.handle(told).await);
        let last = events.recv().await.and_then(|mut batch| batch.pop());
        let Some(Event::Listed(Listed::Nodes(names))) = last else {
            panic!("{last:?}")
        };
        assert_eq!(names, BTreeSet::from(["a".into()]));
    }

    #[tokio::test]
    async fn a_pod_that_became_undecodable_exists_as_long_as_it_is_listed() {
        let (sender, mut events) = mpsc::channel(8);
        let mut feed = Feed::<PodView>::new(sender);
        let identity = ObjectIdentity {
            namespace: "ns".into(),
            name: "a".into(),
            uid: "u".into(),
            version: 7,
        };
        let told = vec![
            ListWatchEvent::Undecodable(identity.clone()),
            ListWatchEvent::Listed { version: 7 },
            ListWatchEvent::DeletedUndecodable(identity),
        ];
        assert!(feed.handle(told).await);
        let batch = events.recv().await.unwrap_or_default();
        let [
            Event::Listed(Listed::Pods { uids, .. }),
            Event::PodGone { uid, .. },
        ] = &*batch
        else {
            panic!("{batch:?}")
        };
        assert_eq!((uids.first(), uids.len()), (Some(uid), 1));
    }
}
