//! List and watch of one kind: an endless series of [`Delta`]s that survives lost connections.
//!
//! ```ignore
//! let mut nodes = watch::<Node>(client, ListWatch::all("/api/v1/nodes"), stop.clone());
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
//! channel is bounded: a slow reader slows no other watch. The watch ends with its receiver.
//!
//! [`run`] is the loop itself, for readers with a [`Handler`] of their own: the planner takes pages as they come and
//! must know the version of a list.

use std::time::Duration;

use futures::TryStreamExt as _;
use http::Request;
use kube::{
    Client,
    api::{ListParams, WatchParams},
    core::{Request as Collection, WatchEvent},
};
use pandaemon_runtime::Shutdown;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    backoff::{Backoff, jittered},
    errors,
    object_meta::Object,
};

/// A list page: big enough that 100,000 objects are few requests, small enough that no answer is huge.
const PAGE: u32 = 2_000;
/// Deltas that may wait for their reader.
const PENDING: usize = 256;
/// How long one watch request may last, in seconds (kube refuses more than 295).
const WATCH_SECONDS: u32 = 290;
/// A watch that outlasts this much more than it asked for hangs on a dead connection.
const WATCH_GRACE: Duration = Duration::from_secs(15);
/// How long a streamed list may be silent before it is read in pages instead.
const STREAM_SILENCE: Duration = Duration::from_secs(30);
/// The failure in a row that people are told of: missing rights, for example.
const LOUD: u32 = 5;
/// What marks the end of a streamed list.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";
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
pub struct ListWatch {
    /// The collection's path, such as `/api/v1/pods`.
    pub path: String,
    /// A label selector.
    pub labels: Option<String>,
    /// A field selector.
    pub fields: Option<String>,
    /// Ask the server for metadata only (PartialObjectMetadata).
    pub metadata_only: bool,
    /// Ask for the list as a stream first (WatchList, Kubernetes 1.32 and later): the server then need not hold the
    /// whole list in memory. A server that cannot is asked for pages.
    pub streamed: bool,
}

impl ListWatch {
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

    /// The list as a stream, where the server can.
    #[must_use]
    pub const fn streamed(mut self) -> Self {
        self.streamed = true;
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

    /// A watch from a version; without one, a streamed list and then a watch.
    fn watch_request(&self, version: Option<&str>) -> kube::Result<Request<Vec<u8>>> {
        let params = WatchParams {
            send_initial_events: version.is_none(),
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            timeout: Some(WATCH_SECONDS),
            bookmarks: true,
        };
        let collection = Collection::new(self.path.clone());
        let version = version.unwrap_or_default();
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
pub fn watch<T: Object>(
    client: Client,
    source: ListWatch,
    stop: Shutdown,
) -> mpsc::Receiver<Delta<T>> {
    let (sender, receiver) = mpsc::channel(PENDING);
    pandaemon_runtime::spawn("watch", async move {
        let closed = sender.clone();
        let handler = Deltas {
            listed: Vec::new(),
            sender,
        };
        tokio::select! {
            () = stop.triggered() => (),
            () = closed.closed() => (),
            () = run(&client, &source, handler) => (),
        }
    });
    receiver
}

/// Gathers the pages of a list into one delta.
struct Deltas<T> {
    listed: Vec<T>,
    sender: mpsc::Sender<Delta<T>>,
}

impl<T: Object> Handler for Deltas<T> {
    type Object = T;

    fn version(object: &T) -> String {
        object.meta().resource_version.clone()
    }

    async fn handle(&mut self, event: ListWatchEvent<T>) -> bool {
        let delta = match event {
            ListWatchEvent::Begin => {
                self.listed.clear();
                return true;
            }
            ListWatchEvent::Page(items) if self.listed.is_empty() => {
                self.listed = items;
                return true;
            }
            ListWatchEvent::Page(items) => {
                self.listed.extend(items);
                return true;
            }
            ListWatchEvent::Listed(_) => Delta::Listed(std::mem::take(&mut self.listed)),
            ListWatchEvent::Applied(object) => Delta::Applied(object),
            ListWatchEvent::Deleted(object) => Delta::Deleted(object),
        };
        self.sender.send(delta).await.is_ok()
    }
}

/// What a list and the watch after it tell.
#[derive(Debug)]
pub enum ListWatchEvent<T> {
    /// A list begins; what came of an earlier one that was not finished does not count.
    Begin,
    /// Some of its objects.
    Page(Vec<T>),
    /// That was all of them, at this version.
    Listed(String),
    /// One was added or changed.
    Applied(T),
    /// One is gone; this was its last state.
    Deleted(T),
}

/// Receives list-watch events.
pub trait Handler: Send {
    /// What is read.
    type Object: DeserializeOwned + Clone + Send + 'static;

    /// The version of an object's state.
    fn version(object: &Self::Object) -> String;

    /// Takes in what has happened. False: the receiver is gone.
    fn handle(&mut self, event: ListWatchEvent<Self::Object>) -> impl Future<Output = bool> + Send;
}

/// Why a request is over.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Go on from this version.
    Resume(String),
    /// The server no longer knows that version.
    Relist,
    /// It cannot list by watching.
    NotStreamed,
    /// The handler wants no more.
    Closed,
}

/// Lists and watches until the handler returns false.
pub async fn run<H: Handler>(client: &Client, source: &ListWatch, mut handler: H) {
    let (mut failures, mut streamed) = (0, source.streamed);
    let mut version: Option<String> = None;
    loop {
        let began = Instant::now();
        let outcome = match &version {
            None if streamed => stream(client, source, None, &mut handler).await,
            None => list(client, source, &mut handler).await,
            Some(at) => stream(client, source, Some(at), &mut handler).await,
        };
        // A server that ends every stream at once must not be asked in a tight circle.
        if version.is_some() && began.elapsed() < BACKOFF.min {
            tokio::time::sleep(jittered(BACKOFF.min)).await;
        }
        match outcome {
            Ok(End::Closed) => return,
            Ok(End::Resume(at)) => {
                failures = 0;
                version = Some(at);
            }
            Ok(End::Relist) => version = None,
            Ok(End::NotStreamed) => streamed = false,
            Err(error) if errors::is_gone(&error) => version = None,
            Err(error) => {
                failures += 1;
                if failures == LOUD {
                    tracing::warn!(path = source.path, %error, "watch fails again and again");
                } else {
                    tracing::debug!(path = source.path, %error, failures, "watch failed");
                }
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

async fn list<H: Handler>(
    client: &Client,
    source: &ListWatch,
    handler: &mut H,
) -> kube::Result<End> {
    let mut token = None;
    if !handler.handle(ListWatchEvent::Begin).await {
        return Ok(End::Closed);
    }
    loop {
        let page: Page<H::Object> = client.request(source.list_request(token)?).await?;
        let mut open = handler.handle(ListWatchEvent::Page(page.items)).await;
        token = page.metadata.r#continue.filter(|token| !token.is_empty());
        let version = page.metadata.resource_version;
        if token.is_none() {
            open = open
                && handler
                    .handle(ListWatchEvent::Listed(version.clone()))
                    .await;
        }
        match (open, &token) {
            (false, _) => return Ok(End::Closed),
            (true, None) => return Ok(End::Resume(version)),
            (true, Some(_)) => {}
        }
    }
}

/// Watches from a version; without one, lists by watching first.
async fn stream<H: Handler>(
    client: &Client,
    source: &ListWatch,
    from: Option<&str>,
    handler: &mut H,
) -> kube::Result<End> {
    let request = source.watch_request(from)?;
    let deadline = Instant::now() + Duration::from_secs(WATCH_SECONDS.into()) + WATCH_GRACE;
    let answer = tokio::time::timeout(WATCH_GRACE * 2, client.request_events(request)).await;
    let events = match answer {
        Ok(Ok(events)) => events,
        Ok(Err(error)) if from.is_none() && refuses_streams(&error) => return Ok(End::NotStreamed),
        Ok(Err(error)) => return Err(error),
        Err(_) => return Ok(resume(from)),
    };
    let mut events = std::pin::pin!(events);
    let (mut listing, mut version) = (from.is_none(), from.map(str::to_owned));
    if listing && !handler.handle(ListWatchEvent::Begin).await {
        return Ok(End::Closed);
    }
    loop {
        let patience = if listing {
            Instant::now() + STREAM_SILENCE
        } else {
            deadline
        };
        let event = match tokio::time::timeout_at(patience, events.try_next()).await {
            Ok(event) => event?,
            Err(_) if listing => return Ok(End::NotStreamed),
            Err(_) => None,
        };
        let next = match event {
            None if listing => return Ok(End::NotStreamed),
            None => return Ok(resume(version.as_deref())),
            Some(WatchEvent::Added(object)) if listing => ListWatchEvent::Page(vec![object]),
            Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                version = Some(H::version(&object));
                ListWatchEvent::Applied(object)
            }
            Some(WatchEvent::Deleted(object)) => {
                version = Some(H::version(&object));
                ListWatchEvent::Deleted(object)
            }
            Some(WatchEvent::Bookmark(bookmark)) => {
                let at = bookmark.metadata.resource_version;
                version = Some(at.clone());
                let ends = bookmark
                    .metadata
                    .annotations
                    .contains_key(INITIAL_EVENTS_END);
                match (listing, ends) {
                    (true, true) => listing = false,
                    // It does not know what it was asked for.
                    (true, false) => return Ok(End::NotStreamed),
                    (false, _) => continue,
                }
                ListWatchEvent::Listed(at)
            }
            Some(WatchEvent::Error(status)) if status.code == 410 => return Ok(End::Relist),
            Some(WatchEvent::Error(status)) => return Err(kube::Error::Api(status)),
        };
        if !handler.handle(next).await {
            return Ok(End::Closed);
        }
    }
}

fn resume(version: Option<&str>) -> End {
    version.map_or(End::Relist, |version| End::Resume(version.to_owned()))
}

/// Servers before Kubernetes 1.27, and later ones without the feature, call the parameters invalid.
fn refuses_streams(error: &kube::Error) -> bool {
    errors::status(error).is_some_and(|status| matches!(status.code, 400 | 403 | 406 | 415 | 422))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Response;
    use kube::client::Body;
    use parking_lot::Mutex;

    use super::*;
    use crate::object_meta::PartialObjectMetadata;

    /// A server that answers a watch with the next of these, and a list with one object.
    fn server(watches: &[(u16, &str)]) -> (Client, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let watches: Vec<_> = watches
            .iter()
            .map(|(status, body)| (*status, (*body).to_owned()))
            .collect();
        let mut watches = watches.into_iter();
        let service = tower::service_fn(move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default();
            let list =
                r#"{"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"a"}}]}"#;
            let answer = if query.contains("watch=true") {
                let streamed = query.contains("sendInitialEvents=true");
                seen.lock()
                    .push(if streamed { "stream" } else { "watch" }.to_owned());
                watches.next()
            } else {
                seen.lock().push("list".to_owned());
                Some((200, list.to_owned()))
            };
            async move {
                let Some((status, body)) = answer else {
                    return std::future::pending().await;
                };
                let answer = Response::builder().status(status);
                Ok::<_, std::convert::Infallible>(
                    answer.body(Body::from(body.into_bytes())).unwrap(),
                )
            }
        });
        (Client::new(service, "default"), asked)
    }

    const ADDED: &str =
        r#"{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"5"}}}"#;
    const END: &str = r#"{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
    const PLAIN: &str = r#"{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"7"}}}"#;
    const CHANGED: &str =
        r#"{"type":"MODIFIED","object":{"metadata":{"name":"a","resourceVersion":"9"}}}"#;
    const REFUSED: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"no","reason":"Invalid","code":422}"#;

    #[tokio::test]
    async fn a_list_is_streamed_where_the_server_can() {
        let whole = format!("{ADDED}\n{END}\n{CHANGED}\n");
        let silent = format!("{ADDED}\n{PLAIN}\n");
        let then = format!("{CHANGED}\n");
        let short = format!("{ADDED}\n");
        type Answers<'a> = [(u16, &'a str); 2];
        let cases: [(&str, Answers<'_>, &[&str]); 4] = [
            ("one that can", [(200, &whole), (200, "")], &["stream"]),
            (
                "one that refuses",
                [(422, REFUSED), (200, &then)],
                &["stream", "list", "watch"],
            ),
            (
                "one that does not know the end",
                [(200, &silent), (200, &then)],
                &["stream", "list", "watch"],
            ),
            (
                "one that hangs up",
                [(200, &short), (200, &then)],
                &["stream", "list", "watch"],
            ),
        ];
        for (name, answers, expected) in cases {
            let (client, asked) = server(&answers);
            let stop = Shutdown::default();
            let source = ListWatch::all("/api/v1/pods").streamed();
            let mut deltas = watch::<PartialObjectMetadata>(client, source, stop.clone());
            let listed = deltas.recv().await.unwrap();
            assert!(
                matches!(&listed, Delta::Listed(all) if all.len() == 1),
                "{name}: {listed:?}"
            );
            let changed = deltas.recv().await.unwrap();
            assert!(matches!(&changed, Delta::Applied(_)), "{name}: {changed:?}");
            let first: Vec<String> = asked.lock().iter().take(expected.len()).cloned().collect();
            assert_eq!(first, expected, "{name}");
            stop.trigger();
        }
    }
}
