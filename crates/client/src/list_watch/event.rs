//! What a list-watch delivers, and to whom.

use pandaemon_types::{Name, Uid};
use serde::de::DeserializeOwned;

/// Which object, and at which version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectIdentity {
    /// `metadata.namespace`, empty for cluster-scoped objects.
    pub namespace: Name,
    /// `metadata.name`.
    pub name: Name,
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.resourceVersion`.
    pub version: u64,
}

/// What a list and the watch after it tell. Events of one object come in the order of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListWatchEvent<T> {
    /// A list begins. Pages of an earlier list that was not finished do not count.
    ListStarted {
        /// The server's versions may now be lower than before, for example after a restore:
        /// versions that were seen before mean nothing any more.
        versions_reset: bool,
    },
    /// Some objects of the list.
    Page(Vec<T>),
    /// The list has an object that cannot be decoded: its last known state counts, if there is one.
    Undecodable(ObjectIdentity),
    /// The list is complete at this version: objects that were in none of its pages do not exist.
    Listed {
        /// The version of the list.
        version: u64,
    },
    /// An object was added or changed.
    Applied(T),
    /// An object was deleted, or is no longer selected; this was its last state. Its uid says which
    /// one: a later object of the same name may exist. May come between the pages of a list, and
    /// then of an object that is in them.
    Deleted(T),
    /// The same, with a last state that cannot be decoded.
    DeletedUndecodable(ObjectIdentity),
}

/// Receives the events of a list-watch.
pub trait Handler: Send {
    /// What objects are decoded to.
    type Object: DeserializeOwned + Send + 'static;

    /// An object's uid; empty if it has none.
    fn uid(object: &Self::Object) -> Uid;

    /// An object's resource version.
    fn version(object: &Self::Object) -> u64;

    /// Whether a line of a watch is of interest. A line that is not is never decoded. Lines hold
    /// one event each, as JSON without line breaks; spaces may be anywhere that JSON allows them.
    fn wants(_line: &[u8]) -> bool {
        true
    }

    /// Takes in what has happened, in this order. False ends the list-watch.
    fn handle(
        &mut self,
        events: Vec<ListWatchEvent<Self::Object>>,
    ) -> impl Future<Output = bool> + Send;
}
