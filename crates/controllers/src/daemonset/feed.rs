//! List-watch of one kind, converted to planner events.
//!
//! The pages of a list are passed on as they arrive. The end of a list carries its resource version, as a
//! pod from a reply may be newer than the list.

use std::collections::BTreeSet;

use kube::Client;
use pandaemon_client::list_watch::{self, Handler, ListWatch, ListWatchEvent};
use pandaemon_planner::{DaemonSetView, Event, Listed, RevisionView, SetKey};
use pandaemon_types::{Name, PodView, Uid, VersionedNode};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

/// The kinds that the planner observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Sets,
    Revisions,
    Nodes,
    Pods,
}

type Sender = mpsc::Sender<Vec<Event>>;

/// Sends the events of a kind until the receiver is dropped, or until the server starts a new history of
/// versions: what the planner knows means nothing then.
pub(super) async fn follow(client: &Client, kind: Kind, paged: bool, sender: Sender) {
    let source = |path: &str| ListWatch {
        paged,
        ..ListWatch::all(path)
    };
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

/// A read model of an object that the planner observes.
trait Projection: DeserializeOwned + Clone + Send + 'static {
    /// The key of an object within its kind.
    type Key: Ord + Send;
    fn key(&self) -> Self::Key;
    fn uid(&self) -> Uid;
    fn version(&self) -> u64;
    fn changed(self) -> Event;
    fn gone(self) -> Event;
    fn listed(keys: BTreeSet<Self::Key>, version: u64) -> Listed;
}

impl Projection for DaemonSetView {
    type Key = SetKey;

    fn key(&self) -> SetKey {
        self.key.clone()
    }

    fn uid(&self) -> Uid {
        self.uid.clone()
    }

    fn version(&self) -> u64 {
        self.resource_version
    }

    fn changed(self) -> Event {
        Event::Set(Box::new(self))
    }

    fn gone(self) -> Event {
        Event::SetGone(self.key)
    }

    fn listed(keys: BTreeSet<SetKey>, _: u64) -> Listed {
        Listed::Sets(keys)
    }
}

impl Projection for RevisionView {
    type Key = (Name, Name);

    fn key(&self) -> Self::Key {
        (Name::clone(&self.namespace), Name::clone(&self.name))
    }

    fn uid(&self) -> Uid {
        self.uid.clone()
    }

    fn version(&self) -> u64 {
        self.resource_version
    }

    fn changed(self) -> Event {
        Event::Revision(Box::new(self))
    }

    fn gone(self) -> Event {
        Event::RevisionGone {
            namespace: self.namespace,
            name: self.name,
        }
    }

    fn listed(keys: BTreeSet<Self::Key>, _: u64) -> Listed {
        Listed::Revisions(keys)
    }
}

impl Projection for VersionedNode {
    type Key = Name;

    fn key(&self) -> Name {
        Name::clone(&self.view.name)
    }

    fn uid(&self) -> Uid {
        self.view.uid.clone()
    }

    fn version(&self) -> u64 {
        self.resource_version
    }

    fn changed(self) -> Event {
        Event::Node(self.view)
    }

    fn gone(self) -> Event {
        Event::NodeGone(self.view.name)
    }

    fn listed(keys: BTreeSet<Name>, _: u64) -> Listed {
        Listed::Nodes(keys)
    }
}

impl Projection for PodView {
    type Key = Uid;

    fn key(&self) -> Self::Key {
        self.uid.clone()
    }

    fn uid(&self) -> Uid {
        self.uid.clone()
    }

    fn version(&self) -> u64 {
        self.resource_version
    }

    fn changed(self) -> Event {
        Event::Pod(Box::new(self))
    }

    fn gone(self) -> Event {
        let resource_version = self.resource_version;
        Event::PodGone {
            uid: self.uid,
            resource_version,
        }
    }

    fn listed(uids: BTreeSet<Self::Key>, resource_version: u64) -> Listed {
        Listed::Pods {
            uids,
            resource_version,
        }
    }
}

/// Converts list-watch events into planner events.
struct Feed<T: Projection> {
    sender: Sender,
    /// The keys of the list that is being read.
    keys: BTreeSet<T::Key>,
}

impl<T: Projection> Feed<T> {
    const fn new(sender: Sender) -> Self {
        let keys = BTreeSet::new();
        Self { sender, keys }
    }
}

impl<T: Projection> Handler for Feed<T> {
    type Object = T;

    fn uid(object: &T) -> Uid {
        Projection::uid(object)
    }

    fn version(object: &T) -> u64 {
        Projection::version(object)
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
                    self.keys.extend(items.iter().map(T::key));
                    observed.extend(items.into_iter().map(T::changed));
                }
                ListWatchEvent::Listed { version } => {
                    let keys = std::mem::take(&mut self.keys);
                    observed.push(Event::Listed(T::listed(keys, version)));
                }
                ListWatchEvent::Applied(object) => observed.push(object.changed()),
                ListWatchEvent::Deleted(object) => {
                    self.keys.remove(&object.key());
                    observed.push(object.gone());
                }
            }
        }
        observed.is_empty() || self.sender.send(observed).await.is_ok()
    }
}
