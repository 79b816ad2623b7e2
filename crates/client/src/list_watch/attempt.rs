//! One request after another: a list in pages, a list as a stream, a watch.

mod undecodable;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use kube::{Client, client::Body};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    decode::{self, Bookmark, Decoded, Line},
    event::{Handler, ListWatchEvent},
    lines::Lines,
    metrics::Counters,
    request::{At, ListWatch, WATCH_SECONDS},
    versions::{Change, Versions},
};
use crate::{
    errors::{self, TimedOut},
    rest::{exchange, read},
};

/// How long a server may take to begin the answer to a watch.
const OPEN: Duration = Duration::from_secs(30);
/// How long one page of a list may take as a whole.
const PAGE: Duration = Duration::from_secs(60);
/// A watch that outlasts its own timeout by this is given up.
const GRACE: Duration = Duration::from_secs(15);
/// How long a streamed list may be silent before it is read in pages instead.
const SILENCE: Duration = Duration::from_secs(30);

/// Why an attempt is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The list is complete; a watch may follow.
    Listed,
    /// The watch ended; another one may follow from the newest version seen.
    Ended,
    /// The server no longer has the history after the newest version seen: a list is needed.
    Expired,
    /// The server is at an older version than the newest one seen: a list is needed.
    Behind,
    /// A streamed list came to a stop.
    Silent,
    /// The server did not stream the list; `ever` says whether it may be asked again.
    NotStreamed { ever: bool },
    /// The handler wants no more.
    Closed,
}

/// Sends requests and delivers what they bring.
pub(super) struct Attempt<'a, H: Handler> {
    client: &'a Client,
    source: &'a ListWatch,
    handler: H,
    counters: Counters,
    versions: Versions,
    /// Events or bookmarks came after the list, in this attempt.
    heard: bool,
    /// The stream of this attempt has completed its list.
    listed: bool,
    /// The next list begins a new history.
    reset: bool,
    /// The last line that was not decoded because it is of no interest.
    unread: Bytes,
    warned: Option<Instant>,
}

impl<'a, H: Handler> Attempt<'a, H> {
    pub(super) fn new(client: &'a Client, source: &'a ListWatch, handler: H) -> Self {
        Self {
            client,
            source,
            handler,
            counters: source.metrics.of(&source.path),
            versions: Versions::default(),
            heard: false,
            listed: false,
            reset: false,
            unread: Bytes::new(),
            warned: None,
        }
    }

    /// The newest version seen.
    pub(super) fn newest(&self) -> Option<u64> {
        self.versions.newest()
    }

    /// Forgets all versions.
    pub(super) fn forget(&mut self) {
        self.versions.forget();
        self.reset = true;
    }

    /// Whether the last attempt brought anything after its list.
    pub(super) const fn heard(&self) -> bool {
        self.heard
    }

    /// Whether the last attempt was a streamed list that was completed.
    pub(super) const fn is_listed(&self) -> bool {
        self.listed
    }

    pub(super) const fn counters(&self) -> &Counters {
        &self.counters
    }

    fn at<'t>(&self) -> At<'t> {
        self.newest().map_or(At::Latest, At::NotOlderThan)
    }

    const fn begin(&mut self) {
        self.heard = false;
        self.listed = false;
    }

    /// Finds the version of the collection; the objects in it do not count.
    pub(super) async fn start_from_now(&mut self) -> kube::Result<End> {
        self.begin();
        self.counters.lists.inc();
        let page = self.page(self.source.newest()?).await?;
        self.versions.start_list();
        self.versions.finish_list(page.version);
        Ok(End::Listed)
    }

    /// Lists in pages.
    pub(super) async fn pages(&mut self) -> kube::Result<End> {
        self.begin();
        self.counters.lists.inc();
        if !self.start_list().await {
            return Ok(End::Closed);
        }
        let mut page = self.page(self.source.page(self.at())?).await?;
        loop {
            if page.version < self.newest().unwrap_or(0) {
                return Ok(End::Behind);
            }
            for item in &page.items {
                if !self.versions.list(&H::uid(item), H::version(item)) {
                    return Ok(End::Behind);
                }
            }
            let Some(undecodable) = self.list_undecodable(&page.skipped) else {
                return Ok(End::Behind);
            };
            if !self.deliver_page(page.items, undecodable).await {
                return Ok(End::Closed);
            }
            let Some(token) = page.more else { break };
            page = self.page(self.source.page(At::Page(&token))?).await?;
        }
        self.finish_list(page.version).await
    }

    /// Reads one page and reports the objects in it that cannot be decoded.
    async fn page(&mut self, request: Request<Body>) -> kube::Result<decode::Page<H::Object>> {
        let reply = timeout(PAGE, read(self.client, request)).await;
        let reply = reply.map_err(|_| TimedOut(PAGE))??;
        let page = decode::page(&reply).map_err(kube::Error::SerdeError)?;
        for (object, error) in &page.skipped {
            self.report(object, error);
        }
        Ok(page)
    }

    async fn start_list(&mut self) -> bool {
        self.versions.start_list();
        let versions_reset = self.reset;
        let event = ListWatchEvent::ListStarted { versions_reset };
        self.handler.handle(vec![event]).await
    }

    async fn deliver_page(
        &mut self,
        items: Vec<H::Object>,
        mut events: Vec<ListWatchEvent<H::Object>>,
    ) -> bool {
        if !items.is_empty() {
            events.push(ListWatchEvent::Page(items));
        }
        events.is_empty() || self.handler.handle(events).await
    }

    async fn finish_list(&mut self, version: u64) -> kube::Result<End> {
        self.versions.finish_list(version);
        self.reset = false;
        let open = self
            .handler
            .handle(vec![ListWatchEvent::Listed { version }]);
        Ok(if open.await { End::Listed } else { End::Closed })
    }

    /// Lists by watching, and watches on.
    pub(super) async fn stream(&mut self) -> kube::Result<End> {
        self.begin();
        self.counters.lists.inc();
        let mut lines = match self.open(self.source.stream(self.at())?).await {
            Ok(lines) => lines,
            Err(error) => match refuses_streams(&error) {
                Some(ever) => return Ok(End::NotStreamed { ever }),
                None => return Err(error),
            },
        };
        let deadline = deadline();
        if !self.start_list().await {
            return Ok(End::Closed);
        }
        while !self.listed {
            let Ok(next) = timeout(SILENCE, lines.next()).await else {
                return Ok(End::Silent);
            };
            let Some(piece) = next? else {
                return Ok(End::NotStreamed { ever: true });
            };
            if let Some(end) = self.take(&piece).await? {
                return Ok(end);
            }
        }
        self.follow(lines, deadline).await
    }

    /// Watches from the newest version seen.
    pub(super) async fn watch(&mut self) -> kube::Result<End> {
        self.begin();
        self.listed = true;
        self.counters.watches.inc();
        let deadline = deadline();
        let request = self.source.watch(self.newest().unwrap_or(0))?;
        let lines = self.open(request).await?;
        self.follow(lines, deadline).await
    }

    async fn open(&self, request: Request<Body>) -> kube::Result<Lines> {
        let reply = timeout(OPEN, exchange(self.client, request)).await;
        let reply = reply.map_err(|_| TimedOut(OPEN))??;
        Ok(Lines::new(reply.into_body()))
    }

    /// Delivers events until the watch ends.
    async fn follow(&mut self, mut lines: Lines, deadline: Instant) -> kube::Result<End> {
        let end = loop {
            match timeout_at(deadline, lines.next()).await {
                Ok(Ok(Some(piece))) => match self.take(&piece).await {
                    Ok(None) => {}
                    Ok(Some(end)) => break Ok(end),
                    Err(error) => break Err(error),
                },
                Ok(Err(error)) => break Err(error),
                Ok(Ok(None)) | Err(_) => break Ok(End::Ended),
            }
        };
        let unread = std::mem::take(&mut self.unread);
        if let Ok(Some((_, object))) = decode::skipped(&unread) {
            self.versions.see(object.version());
        }
        end
    }

    /// Delivers what whole lines tell. `Some` if the watch is over.
    async fn take(&mut self, piece: &Bytes) -> kube::Result<Option<End>> {
        let mut events = Vec::new();
        let mut outcome = Ok(None);
        for line in piece.split(|byte| *byte == b'\n') {
            if line.is_empty() {
                continue;
            }
            if self.listed && !H::wants(line) && !decode::is_special(line) {
                self.unread = piece.slice_ref(line);
                self.heard = true;
                continue;
            }
            outcome = match decode::line(line) {
                Ok(Decoded::Whole(line)) => self.observe(line, &mut events),
                Ok(Decoded::Skipped(change, object, error)) => {
                    self.report(&object, &error);
                    Ok(self.observe_undecodable(change, &object, &mut events))
                }
                Err(error) => Err(kube::Error::SerdeError(error)),
            };
            if !matches!(outcome, Ok(None)) {
                break;
            }
            self.unread.clear();
        }
        if events.is_empty() || self.handler.handle(events).await {
            outcome
        } else {
            Ok(Some(End::Closed))
        }
    }

    fn observe(
        &mut self,
        line: Line<H::Object>,
        events: &mut Vec<ListWatchEvent<H::Object>>,
    ) -> kube::Result<Option<End>> {
        match line {
            Line::Added(object) | Line::Modified(object) if !self.listed => {
                if !self.versions.list(&H::uid(&object), H::version(&object)) {
                    return Ok(Some(End::Behind));
                }
                match events.last_mut() {
                    Some(ListWatchEvent::Page(items)) => items.push(object),
                    _ => events.push(ListWatchEvent::Page(vec![object])),
                }
            }
            Line::Deleted(object) if !self.listed => {
                self.versions.unlist(&H::uid(&object));
                events.push(ListWatchEvent::Deleted(object));
            }
            Line::Added(object) | Line::Modified(object) => {
                if self.accepts(Change::Applied, &object) {
                    events.push(ListWatchEvent::Applied(object));
                }
            }
            Line::Deleted(object) => {
                if self.accepts(Change::Deleted, &object) {
                    events.push(ListWatchEvent::Deleted(object));
                }
            }
            Line::Bookmark(bookmark) => return Ok(self.bookmark(&bookmark, events)),
            Line::Error(status) if status.code == 410 => return Ok(Some(End::Expired)),
            Line::Error(status) => return Err(kube::Error::Api(status)),
        }
        Ok(None)
    }

    fn accepts(&mut self, change: Change, object: &H::Object) -> bool {
        self.heard = true;
        let (uid, version) = (H::uid(object), H::version(object));
        let fresh = self.versions.accept(change, &uid, version);
        if !fresh {
            self.counters.stale.inc();
            tracing::debug!(path = self.source.path, %uid, version, "stale event ignored");
        }
        fresh
    }

    fn bookmark(
        &mut self,
        bookmark: &Bookmark,
        events: &mut Vec<ListWatchEvent<H::Object>>,
    ) -> Option<End> {
        let version = bookmark.version();
        if version < self.newest().unwrap_or(0) {
            return Some(End::Behind);
        }
        if self.listed {
            self.heard = true;
            self.versions.see(version);
            return None;
        }
        if !bookmark.ends_list() {
            // A server that does not know what it was asked for.
            return Some(End::NotStreamed { ever: false });
        }
        self.listed = true;
        self.reset = false;
        self.versions.finish_list(version);
        events.push(ListWatchEvent::Listed { version });
        None
    }
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(WATCH_SECONDS) + GRACE
}

/// Whether an error means that lists are not streamed, and if so whether that may change. Servers
/// before Kubernetes
/// 1.27, and later ones without the feature, call the parameters invalid; 403 may also be a missing right to watch.
fn refuses_streams(error: &kube::Error) -> Option<bool> {
    match errors::code(error)? {
        400 | 406 | 415 | 422 => Some(false),
        403 => Some(true),
        _ => None,
    }
}
