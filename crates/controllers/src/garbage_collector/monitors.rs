//! Monitors (upstream's term): one metadata watch for each kind that can be deleted, all into one
//! channel.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::{BoxFuture, FutureExt as _};
use kube::Client;
use pandaemon_client::{
    discovery::{ApiResource, ApiResources},
    informer::Subscription,
    list_watch::{Delta, ListWatch, watch},
    object_meta::{Object, PartialObjectMetadata},
};
use pandaemon_runtime::Shutdown;
use tokio::sync::mpsc;

use crate::views::SharedInformers;

/// A kind, shared by all nodes of the graph.
pub(super) type KindRef = Arc<ApiResource>;
/// An event of objects of a kind.
pub(super) type MetaDelta = Delta<PartialObjectMetadata>;

/// Events of all kinds that may wait for the collector.
const PENDING: usize = 1_024;

struct Monitor {
    stop: Shutdown,
    listed: bool,
}

/// The watches of all kinds.
pub(super) struct Monitors {
    client: Client,
    shared: SharedInformers,
    stop: Shutdown,
    sender: mpsc::Sender<(KindRef, MetaDelta)>,
    running: BTreeMap<KindRef, Monitor>,
}

/// Events are many, and neither own nor are owned.
fn is_monitored(kind: &ApiResource) -> bool {
    kind.can(&["list", "watch", "delete"]) && kind.plural != "events"
}

impl Monitors {
    pub(super) fn new(
        client: Client,
        shared: SharedInformers,
        stop: Shutdown,
    ) -> (Self, mpsc::Receiver<(KindRef, MetaDelta)>) {
        let (sender, receiver) = mpsc::channel(PENDING);
        (
            Self {
                client,
                shared,
                stop,
                sender,
                running: BTreeMap::new(),
            },
            receiver,
        )
    }

    /// Starts watches for new kinds and ends those of kinds that are no longer served, which it
    /// returns.
    pub(super) fn set_kinds(&mut self, kinds: &ApiResources) -> Vec<KindRef> {
        let wanted: Vec<&KindRef> = kinds.iter().filter(|kind| is_monitored(kind)).collect();
        let gone: Vec<KindRef> = self
            .running
            .keys()
            .filter(|kind| !wanted.contains(kind))
            .cloned()
            .collect();
        for kind in &gone {
            if let Some(monitor) = self.running.remove(kind) {
                monitor.stop.trigger();
            }
        }
        for kind in wanted {
            if !self.running.contains_key(kind) {
                self.start(kind.clone());
            }
        }
        gone
    }

    fn start(&mut self, kind: KindRef) {
        let stop = self.stop.child();
        let (sender, name) = (self.sender.clone(), kind.clone());
        let shared = self.shared.clone();
        let forward: BoxFuture<'static, ()> = match (kind.group.as_str(), kind.plural.as_str()) {
            // Pods and nodes are watched once for all loops.
            ("", "pods") => forward(shared.pods.subscribe(), name, sender).boxed(),
            ("", "nodes") => forward(shared.nodes.subscribe(), name, sender).boxed(),
            _ => {
                let source = ListWatch::all(kind.collection("")).metadata_only();
                let mut deltas =
                    watch::<PartialObjectMetadata>(self.client.clone(), source, stop.clone());
                async move {
                    while let Some(delta) = deltas.recv().await {
                        if sender.send((name.clone(), delta)).await.is_err() {
                            return;
                        }
                    }
                }
                .boxed()
            }
        };
        let until = stop.clone();
        pandaemon_runtime::spawn("monitor", async move {
            until.guard(forward).await;
        });
        self.running.insert(
            kind,
            Monitor {
                stop,
                listed: false,
            },
        );
    }

    pub(super) fn note_listed(&mut self, kind: &KindRef, delta: &MetaDelta) {
        if let (Some(monitor), Delta::Listed(_)) = (self.running.get_mut(kind), delta) {
            monitor.listed = true;
        }
    }

    /// Whether no kind is watched yet.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The kinds whose first list has not come.
    pub(super) fn unlisted(&self) -> String {
        let missing = self.running.iter().filter(|(_, monitor)| !monitor.listed);
        let missing: Vec<String> = missing.map(|(kind, _)| kind.dotted()).collect();
        missing.join(" ")
    }

    /// Whether the first list of every kind has come.
    pub(super) fn all_listed(&self) -> bool {
        !self.running.is_empty() && self.running.values().all(|monitor| monitor.listed)
    }
}

/// Forwards the events of a shared informer.
async fn forward<T: Object>(
    mut deltas: Subscription<T>,
    kind: KindRef,
    sender: mpsc::Sender<(KindRef, MetaDelta)>,
) {
    let of = |object: &Arc<T>| PartialObjectMetadata::of(object.meta());
    loop {
        let delta = match deltas.next().await {
            Delta::Listed(items) => Delta::Listed(items.iter().map(of).collect()),
            Delta::Applied(item) => Delta::Applied(of(&item)),
            Delta::Deleted(item) => Delta::Deleted(of(&item)),
        };
        if sender.send((kind.clone(), delta)).await.is_err() {
            return;
        }
    }
}
