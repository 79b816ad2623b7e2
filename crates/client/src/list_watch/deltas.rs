//! A list-watch as a channel.

use kube::Client;
use pandaemon_runtime::Shutdown;
use pandaemon_types::Uid;
use tokio::sync::mpsc;

use super::{
    event::{Handler, ListWatchEvent},
    request::ListWatch,
    run,
};
use crate::{object_meta::Object, supervise::restart_on_panic};

/// Deltas that may wait for their reader.
const PENDING: usize = 256;

/// What has happened to the objects of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta<T> {
    /// These are all objects there are.
    Listed(Vec<T>),
    /// An object was added or changed.
    Applied(T),
    /// An object is gone; this was its last state. A later object of the same name has another uid.
    Deleted(T),
}

/// Starts to watch. The first delta is [`Delta::Listed`]. The channel is bounded: a slow reader
/// slows its own watch and no other. The watch ends with its receiver or at a stop; a panic starts
/// it again.
#[must_use]
pub fn watch<T: Object>(
    client: Client,
    source: ListWatch,
    stop: Shutdown,
) -> mpsc::Receiver<Delta<T>> {
    let (sender, receiver) = mpsc::channel(PENDING);
    pandaemon_runtime::spawn("list-watch", async move {
        let start = || run(&client, &source, Deltas::new(sender.clone()));
        tokio::select! {
            () = stop.triggered() => (),
            () = sender.closed() => (),
            () = restart_on_panic("list-watch", start) => (),
        }
    });
    receiver
}

/// Gathers the pages of a list into one delta.
struct Deltas<T> {
    listed: Vec<T>,
    /// Whether a list is being read.
    listing: bool,
    sender: mpsc::Sender<Delta<T>>,
}

impl<T: Object> Deltas<T> {
    const fn new(sender: mpsc::Sender<Delta<T>>) -> Self {
        Self {
            listed: Vec::new(),
            listing: false,
            sender,
        }
    }
}

impl<T: Object> Handler for Deltas<T> {
    type Object = T;

    fn uid(object: &T) -> Uid {
        object.meta().uid.as_str().into()
    }

    fn version(object: &T) -> u64 {
        object.meta().version()
    }

    async fn handle(&mut self, events: Vec<ListWatchEvent<T>>) -> bool {
        for event in events {
            let delta = match event {
                ListWatchEvent::ListStarted { .. } => {
                    self.listed.clear();
                    self.listing = true;
                    continue;
                }
                ListWatchEvent::Page(items) => {
                    self.listed.extend(items);
                    continue;
                }
                ListWatchEvent::Deleted(object) if self.listing => {
                    let uid = &object.meta().uid;
                    self.listed.retain(|listed| listed.meta().uid != *uid);
                    continue;
                }
                // Its last state is not at hand here: readers that need it use an informer.
                ListWatchEvent::Undecodable(_) | ListWatchEvent::DeletedUndecodable(_) => continue,
                ListWatchEvent::Listed { .. } => {
                    self.listing = false;
                    Delta::Listed(std::mem::take(&mut self.listed))
                }
                ListWatchEvent::Applied(object) => Delta::Applied(object),
                ListWatchEvent::Deleted(object) => Delta::Deleted(object),
            };
            if self.sender.send(delta).await.is_err() {
                return false;
            }
        }
        true
    }
}
