//! List and watch of one kind: an endless series of [`Delta`]s that survives lost connections.
//!
//! ```ignore
//! let mut nodes = watch::<Node>(client, Source::all("/api/v1/nodes"), stop.clone());
//! while let Some(delta) = nodes.recv().await {
//!     match delta {
//!         Delta::Listed(all) => state.replace(all),   // first, and after the server forgot where we were
//!         Delta::Applied(node) => state.apply(node),
//!         Delta::Deleted(node) => state.remove(node), // its last state
//!     }
//! }
//! ```
//!
//! A stream that ends goes on from its last resource version; 410 lists anew; errors wait, longer each time. The
//! channel is bounded: a slow reader slows its own watch and nobody else's. The watch ends with its receiver.

use std::time::Duration;

use futures::TryStreamExt as _;
use http::Request;
use kube::{
    Client,
    api::{ListParams, WatchParams},
    core::{Request as Collection, WatchEvent},
};
use pandaemon_runtime::Shutdown;
use serde::Deserialize;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    api,
    meta::Projected,
    queue::{Backoff, jittered},
};

/// A list page: big enough that 100,000 objects are few requests, small enough that no answer is huge.
const PAGE: u32 = 2_000;
/// Deltas that may wait for their reader.
const PENDING: usize = 256;
/// How long one watch request may last, in seconds (kube refuses more than 295).
const WATCH_SECONDS: u32 = 290;
const BACKOFF: Backoff = Backoff {
    min: Duration::from_millis(50),
    max: Duration::from_secs(15),
};

/// What has happened to the objects of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta<T> {
    /// These are all objects there are.
    Listed(Vec<T>),
    /// One was added or changed.
    Applied(T),
    /// One is gone; this was its last state.
    Deleted(T),
}

/// Which objects to watch.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The collection's path, such as `/api/v1/pods`.
    pub path: String,
    /// A label selector.
    pub labels: Option<String>,
    /// A field selector.
    pub fields: Option<String>,
    /// Ask the server for metadata only (PartialObjectMetadata).
    pub metadata_only: bool,
}

impl Source {
    /// Every object of the collection.
    #[must_use]
    pub fn all(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..Self::default()
        }
    }

    /// Only objects that a field selector selects.
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = Some(selector.into());
        self
    }

    /// Only objects that a label selector selects.
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.labels = Some(selector.into());
        self
    }

    /// Only the metadata.
    #[must_use]
    pub const fn metadata_only(mut self) -> Self {
        self.metadata_only = true;
        self
    }

    fn list_request(&self, token: Option<String>) -> kube::Result<Request<Vec<u8>>> {
        let params = ListParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            limit: Some(PAGE),
            continue_token: token,
            ..ListParams::default()
        };
        let collection = Collection::new(self.path.clone());
        let request = if self.metadata_only {
            collection.list_metadata(&params)
        } else {
            collection.list(&params)
        };
        request.map_err(kube::Error::BuildRequest)
    }

    fn watch_request(&self, version: &str) -> kube::Result<Request<Vec<u8>>> {
        let params = WatchParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            timeout: Some(WATCH_SECONDS),
            bookmarks: true,
            ..WatchParams::default()
        };
        let collection = Collection::new(self.path.clone());
        let request = if self.metadata_only {
            collection.watch_metadata(&params, version)
        } else {
            collection.watch(&params, version)
        };
        request.map_err(kube::Error::BuildRequest)
    }
}

/// Starts to watch. The first delta is [`Delta::Listed`].
#[must_use]
pub fn watch<T: Projected>(
    client: Client,
    source: Source,
    stop: Shutdown,
) -> mpsc::Receiver<Delta<T>> {
    let (sender, receiver) = mpsc::channel(PENDING);
    pandaemon_runtime::spawn("watch", async move {
        let closed = sender.clone();
        tokio::select! {
            () = stop.triggered() => (),
            () = closed.closed() => (),
            () = follow(&client, &source, &sender) => (),
        }
    });
    receiver
}

/// Why a watch stops following.
enum End {
    /// Go on from the last resource version.
    Resume,
    /// The server no longer knows that version.
    Relist,
    /// Nobody listens.
    Closed,
}

async fn follow<T: Projected>(client: &Client, source: &Source, sender: &mpsc::Sender<Delta<T>>) {
    let mut failures = 0;
    let mut version: Option<String> = None;
    loop {
        let outcome = match version.take() {
            None => match list::<T>(client, source).await {
                Ok((items, at)) => {
                    if sender.send(Delta::Listed(items)).await.is_err() {
                        return;
                    }
                    version = Some(at);
                    Ok(End::Resume)
                }
                Err(error) => Err(error),
            },
            Some(mut at) => {
                let began = Instant::now();
                let outcome = stream(client, source, &mut at, sender).await;
                version = Some(at);
                // A server that ends every stream at once must not be asked in a tight circle.
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
                tracing::debug!(path = source.path, %error, failures, "watch failed");
                tokio::time::sleep(jittered(BACKOFF.delay(failures))).await;
            }
        }
    }
}

#[derive(Deserialize)]
struct Page<T> {
    metadata: PageMeta,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PageMeta {
    resource_version: String,
    r#continue: Option<String>,
}

async fn list<T: Projected>(client: &Client, source: &Source) -> kube::Result<(Vec<T>, String)> {
    let mut items = Vec::new();
    let mut token = None;
    loop {
        let page: Page<T> = client.request(source.list_request(token)?).await?;
        items.extend(page.items);
        token = page.metadata.r#continue.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok((items, page.metadata.resource_version));
        }
    }
}

async fn stream<T: Projected>(
    client: &Client,
    source: &Source,
    version: &mut String,
    sender: &mpsc::Sender<Delta<T>>,
) -> kube::Result<End> {
    let events = client
        .request_events::<T>(source.watch_request(version)?)
        .await?;
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.try_next().await? {
        let delta = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => Delta::Applied(object),
            WatchEvent::Deleted(object) => Delta::Deleted(object),
            WatchEvent::Bookmark(bookmark) => {
                *version = bookmark.metadata.resource_version;
                continue;
            }
            WatchEvent::Error(status) if status.code == 410 => return Ok(End::Relist),
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
        };
        if let Delta::Applied(object) | Delta::Deleted(object) = &delta {
            version.clone_from(&object.meta().resource_version);
        }
        if sender.send(delta).await.is_err() {
            return Ok(End::Closed);
        }
    }
    Ok(End::Resume)
}
