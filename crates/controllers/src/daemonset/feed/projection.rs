//! What the planner's own list-watches decode.

use std::collections::BTreeSet;

use pandaemon_client::list_watch::ObjectIdentity;
use pandaemon_planner::{DaemonSetView, Event, Listed, RevisionView, SetKey};
use pandaemon_types::{Name, PodView, Uid, VersionedNode};
use serde::de::DeserializeOwned;

/// A read model of an object that the planner observes by a list-watch of its own.
pub(super) trait Projection: DeserializeOwned + Clone + Send + 'static {
    /// The key of an object within its kind.
    type Key: Ord + Send;
    fn identity(&self) -> ObjectIdentity;
    fn key(object: &ObjectIdentity) -> Self::Key;
    fn changed(self) -> Event;
    fn gone(object: ObjectIdentity) -> Event;
    fn listed(keys: BTreeSet<Self::Key>, version: u64) -> Listed;
}

impl Projection for DaemonSetView {
    type Key = SetKey;

    fn identity(&self) -> ObjectIdentity {
        ObjectIdentity {
            namespace: Name::clone(&self.key.namespace),
            name: Name::clone(&self.key.name),
            uid: self.uid.clone(),
            version: self.resource_version,
        }
    }

    fn key(object: &ObjectIdentity) -> SetKey {
        SetKey {
            namespace: Name::clone(&object.namespace),
            name: Name::clone(&object.name),
        }
    }

    fn changed(self) -> Event {
        Event::Set(Box::new(self))
    }

    fn gone(object: ObjectIdentity) -> Event {
        Event::SetGone {
            key: Self::key(&object),
            uid: object.uid,
        }
    }

    fn listed(keys: BTreeSet<SetKey>, _: u64) -> Listed {
        Listed::Sets(keys)
    }
}

impl Projection for RevisionView {
    type Key = (Name, Name);

    fn identity(&self) -> ObjectIdentity {
        ObjectIdentity {
            namespace: Name::clone(&self.namespace),
            name: Name::clone(&self.name),
            uid: self.uid.clone(),
            version: self.resource_version,
        }
    }

    fn key(object: &ObjectIdentity) -> Self::Key {
        (Name::clone(&object.namespace), Name::clone(&object.name))
    }

    fn changed(self) -> Event {
        Event::Revision(Box::new(self))
    }

    fn gone(object: ObjectIdentity) -> Event {
        Event::RevisionGone {
            namespace: object.namespace,
            name: object.name,
            uid: object.uid,
        }
    }

    fn listed(keys: BTreeSet<Self::Key>, _: u64) -> Listed {
        Listed::Revisions(keys)
    }
}

impl Projection for VersionedNode {
    type Key = Name;

    fn identity(&self) -> ObjectIdentity {
        ObjectIdentity {
            namespace: Name::default(),
            name: Name::clone(&self.view.name),
            uid: self.view.uid.clone(),
            version: self.resource_version,
        }
    }

    fn key(object: &ObjectIdentity) -> Name {
        Name::clone(&object.name)
    }

    fn changed(self) -> Event {
        Event::Node(self.view)
    }

    fn gone(object: ObjectIdentity) -> Event {
        Event::NodeGone {
            name: object.name,
            uid: object.uid,
        }
    }

    fn listed(keys: BTreeSet<Name>, _: u64) -> Listed {
        Listed::Nodes(keys)
    }
}

impl Projection for PodView {
    type Key = Uid;

    fn identity(&self) -> ObjectIdentity {
        ObjectIdentity {
            namespace: Name::clone(&self.namespace),
            name: Name::clone(&self.name),
            uid: self.uid.clone(),
            version: self.resource_version,
        }
    }

    fn key(object: &ObjectIdentity) -> Self::Key {
        object.uid.clone()
    }

    fn changed(self) -> Event {
        Event::Pod(Box::new(self))
    }

    fn gone(object: ObjectIdentity) -> Event {
        Event::PodGone {
            uid: object.uid,
            resource_version: object.version,
        }
    }

    fn listed(uids: BTreeSet<Self::Key>, resource_version: u64) -> Listed {
        Listed::Pods {
            uids,
            resource_version,
        }
    }
}
