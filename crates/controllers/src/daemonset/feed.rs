//! List and watch of one kind as planner events.
//!
//! Not the toolkit's watch, for two reasons: the planner must know the version of a list (a pod that a
//! reply told of may be newer than the list), and 100,000 pods are parsed into projections directly.

use std::{collections::BTreeSet, time::Duration};

use futures::TryStreamExt as _;
use kube::{
    Client,
    api::{ListParams, WatchParams},
    core::{Request as Collection, WatchEvent},
};
use pandaemon_planner::{DaemonSetView, Event, Listed, RevisionView, SetKey};
use pandaemon_types::{Name, PodView, VersionedNode};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    api,
    queue::{Backoff, jittered},
};

const PAGE: u32 = 2_000;
const WATCH_SECONDS: u32 = 290;
const BACKOFF: Backoff = Backoff {
    min: Duration::from_millis(50),
    max: Duration::from_secs(15),
};

/// What is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Sets,
    Revisions,
    Nodes,
    Pods,
}

type Sender = mpsc::Sender<Vec<Event>>;

/// Sends the events of a kind, for ever.
pub(super) async fn follow(client: Client, kind: Kind, sender: Sender) {
    match kind {
        Kind::Sets => {
            Feed::<DaemonSetView>::new(client, "/apis/apps/v1/daemonsets", sender)
                .run()
                .await;
        }
        Kind::Revisions => {
            let path = "/apis/apps/v1/controllerrevisions";
            Feed::<RevisionView>::new(client, path, sender).run().await;
        }
        Kind::Nodes => {
            Feed::<VersionedNode>::new(client, "/api/v1/nodes", sender)
                .run()
                .await;
        }
        Kind::Pods => {
            Feed::<PodView>::new(client, "/api/v1/pods", sender)
                .run()
                .await;
        }
    }
}

/// An object that was read into a projection, with its version.
trait Projection: DeserializeOwned + Clone + Send + Sync + 'static {
    /// What a list's members are filed under.
    type Key: Ord + Send;
    fn key(&self) -> Self::Key;
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
    type Key = pandaemon_types::Uid;

    fn key(&self) -> Self::Key {
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

// === list and watch ===

#[derive(Deserialize)]
struct Page<T> {
    metadata: PageMeta,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PageMeta {
    resource_version: String,
    r#continue: Option<String>,
}

/// Why a watch ended.
enum End {
    Resume,
    Relist,
    Closed,
}

struct Feed<T> {
    client: Client,
    path: &'static str,
    sender: Sender,
    kind: std::marker::PhantomData<T>,
}

impl<T: Projection> Feed<T> {
    const fn new(client: Client, path: &'static str, sender: Sender) -> Self {
        Self {
            client,
            path,
            sender,
            kind: std::marker::PhantomData,
        }
    }

    async fn run(self) {
        let mut failures = 0;
        let mut version: Option<String> = None;
        loop {
            let began = Instant::now();
            let outcome = match version.take() {
                None => self.list().await.map(|at| {
                    version = Some(at);
                    End::Resume
                }),
                Some(mut at) => {
                    let outcome = self.watch(&mut at).await;
                    version = Some(at);
                    if began.elapsed() < BACKOFF.min {
                        tokio::time::sleep(jittered(BACKOFF.min)).await;
                    }
                    outcome
                }
            };
            match outcome {
                Ok(End::Closed) => return,
                Ok(End::Resume) => failures = 0,
                Ok(End::Relist) => version = None,
                Err(error) if api::is_gone(&error) => version = None,
                Err(error) => {
                    failures += 1;
                    tracing::debug!(path = self.path, %error, failures, "feed failed");
                    tokio::time::sleep(jittered(BACKOFF.delay(failures))).await;
                }
            }
            if self.sender.is_closed() {
                return;
            }
        }
    }

    async fn list(&self) -> kube::Result<String> {
        let mut keys = BTreeSet::new();
        let mut token = None;
        loop {
            let params = ListParams {
                limit: Some(PAGE),
                continue_token: token,
                ..ListParams::default()
            };
            let request = Collection::new(self.path).list(&params);
            let request = request.map_err(kube::Error::BuildRequest)?;
            let page: Page<T> = self.client.request(request).await?;
            keys.extend(page.items.iter().map(T::key));
            self.send(page.items.into_iter().map(T::changed).collect())
                .await;
            token = page.metadata.r#continue.filter(|token| !token.is_empty());
            if token.is_none() {
                let version = page.metadata.resource_version;
                let listed = T::listed(keys, version.parse().unwrap_or(0));
                self.send(vec![Event::Listed(listed)]).await;
                return Ok(version);
            }
        }
    }

    async fn watch(&self, version: &mut String) -> kube::Result<End> {
        let params = WatchParams {
            timeout: Some(WATCH_SECONDS),
            bookmarks: true,
            ..WatchParams::default()
        };
        let request = Collection::new(self.path).watch(&params, version);
        let request = request.map_err(kube::Error::BuildRequest)?;
        let events = self.client.request_events::<T>(request).await?;
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.try_next().await? {
            let (object, gone) = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
                WatchEvent::Deleted(object) => (object, true),
                WatchEvent::Bookmark(bookmark) => {
                    *version = bookmark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(status) if status.code == 410 => return Ok(End::Relist),
                WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
            };
            *version = object.version().to_string();
            let event = if gone {
                object.gone()
            } else {
                object.changed()
            };
            if !self.send(vec![event]).await {
                return Ok(End::Closed);
            }
        }
        Ok(End::Resume)
    }

    async fn send(&self, events: Vec<Event>) -> bool {
        self.sender.send(events).await.is_ok()
    }
}
