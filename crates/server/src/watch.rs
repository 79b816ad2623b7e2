//! The body of a watch: first the state or the history, then what happens.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use jiff::Timestamp;
use pandaemon_machinery::{Kind, Status};
use pandaemon_store::Revision;
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep};

use crate::{
    cache::{Cache, ChangeKind, Event, Next, Started, Watcher},
    convert,
    object::Object,
    render::{self, View},
};

/// Lines are gathered into pieces of about this size.
const PIECE: usize = 64 << 10;

/// How often an idle watch hears a bookmark.
const BOOKMARK_EVERY: Duration = Duration::from_secs(55);

/// How a watch behaves.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// When the server ends it.
    pub deadline: Instant,
    /// Whether bookmarks are wanted.
    pub bookmarks: bool,
    /// Whether the end of the initial objects is marked.
    pub mark_initial: bool,
}

/// The body of one watch.
pub struct WatchBody {
    cache: Arc<Cache>,
    kind: &'static Kind,
    view: View,
    native: bool,
    /// Only metadata are wanted, and stored bytes hold them: the version of `meta.k8s.io`.
    metadata_only: Option<&'static str>,
    columns_sent: bool,
    watcher: Arc<Watcher>,
    objects: vec::IntoIter<Arc<Object>>,
    backlog: VecDeque<(ChangeKind, Arc<Event>)>,
    initial_end: Option<Revision>,
    bookmarks: bool,
    deadline: Instant,
    timer: Pin<Box<Sleep>>,
    ended: bool,
}

impl fmt::Debug for WatchBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchBody")
            .field("kind", &self.kind.plural)
            .finish_non_exhaustive()
    }
}

/// The line that tells an error, after which a watch ends.
#[must_use]
pub(crate) fn error_line(status: &Status) -> Bytes {
    let mut line =
        serde_json::to_vec(&json!({"type": "ERROR", "object": status})).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

impl WatchBody {
    /// Follows what has been started.
    #[must_use]
    pub fn new(
        cache: Arc<Cache>,
        kind: &'static Kind,
        view: View,
        started: Started,
        manners: Manners,
    ) -> Self {
        let first = Instant::now() + BOOKMARK_EVERY;
        let wake = if manners.bookmarks {
            first.min(manners.deadline)
        } else {
            manners.deadline
        };
        Self {
            cache,
            kind,
            native: view.is_plain_json() && convert::is_native(kind),
            metadata_only: view.metadata_json().filter(|_| convert::is_native(kind)),
            view,
            columns_sent: false,
            watcher: started.watcher,
            objects: started.objects.into_iter(),
            backlog: started.backlog,
            initial_end: manners.mark_initial.then_some(started.revision),
            bookmarks: manners.bookmarks,
            deadline: manners.deadline,
            timer: Box::pin(tokio::time::sleep_until(wake)),
            ended: false,
        }
    }

    /// The next piece of the stream.
    pub fn poll_lines(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut first: Option<Bytes> = None;
        let mut more = BytesMut::new();
        while first.as_ref().map_or(0, Bytes::len) + more.len() < PIECE {
            match self.poll_line(context) {
                Poll::Ready(Some(line)) => match &first {
                    None => first = Some(line),
                    Some(_) => more.extend_from_slice(&line),
                },
                Poll::Ready(None) => {
                    self.ended = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        match first {
            // One line is sent as it is: its bytes are shared with all other watches.
            Some(line) if more.is_empty() => Poll::Ready(Some(line)),
            Some(line) => {
                let mut piece = BytesMut::with_capacity(line.len() + more.len());
                piece.extend_from_slice(&line);
                piece.extend_from_slice(&more);
                Poll::Ready(Some(piece.freeze()))
            }
            None if self.ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn poll_line(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(object) = self.objects.next() {
            return Poll::Ready(Some(self.object_line(ChangeKind::Added, &object)));
        }
        if let Some(revision) = self.initial_end.take() {
            return Poll::Ready(Some(self.bookmark(revision, true)));
        }
        if let Some((change, event)) = self.backlog.pop_front() {
            return Poll::Ready(Some(self.event_line(change, &event)));
        }
        self.poll_live(context)
    }

    fn poll_live(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        // Read before the queue: what is applied by now has been queued by now.
        let applied = self.cache.revision();
        match self.watcher.poll_next(context) {
            Poll::Ready(Next::Change(change, event)) => {
                return Poll::Ready(Some(self.event_line(change, &event)));
            }
            Poll::Ready(Next::Closed) => return Poll::Ready(None),
            Poll::Ready(Next::Lagged) => {
                self.ended = true;
                let status =
                    Status::expired("the watch was too slow and has been closed; list again");
                return Poll::Ready(Some(error_line(&status)));
            }
            Poll::Pending => {}
        }
        if self.timer.poll_unpin(context).is_pending() {
            return Poll::Pending;
        }
        let now = Instant::now();
        if now >= self.deadline {
            self.ended = true;
            return Poll::Ready(self.bookmarks.then(|| self.bookmark(applied, false)));
        }
        self.timer
            .as_mut()
            .reset((now + BOOKMARK_EVERY).min(self.deadline));
        Poll::Ready(Some(self.bookmark(applied, false)))
    }

    fn event_line(&mut self, change: ChangeKind, event: &Event) -> Bytes {
        if self.native {
            return event.line(change);
        }
        match event.shown(change) {
            Some(object) => self.object_line(change, &object),
            None => Bytes::new(),
        }
    }

    fn object_line(&mut self, change: ChangeKind, object: &Object) -> Bytes {
        if self.native {
            let mut out = Vec::with_capacity(object.len() + 40);
            crate::cache::write_line(change, object, &mut out);
            return out.into();
        }
        if let Some(version) = self.metadata_only {
            let mut out = Vec::with_capacity(object.len() + 100);
            crate::cache::write_wrapped(change, &mut out, |out| {
                object.write_metadata(version, out);
            });
            return out.into();
        }
        let Some(value) = convert::shown(self.kind, object) else {
            return Bytes::new();
        };
        let with_columns = !std::mem::replace(&mut self.columns_sent, true);
        // Ages are told as of now, however long ago the watch began.
        self.view.now_seconds = Timestamp::now().as_second();
        let shown = render::shape_one(self.kind, &self.view, value, with_columns);
        self.wrapped(change.as_str(), &shown)
    }

    fn wrapped(&self, change: &str, object: &Value) -> Bytes {
        let event = json!({"type": change, "object": object});
        let mut line = render::encode(&self.view.form, &event);
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        line.into()
    }

    fn bookmark(&self, revision: Revision, ends_initial: bool) -> Bytes {
        let mut metadata =
            json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if ends_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = render::bookmark(self.kind, &self.view, metadata);
        self.wrapped("BOOKMARK", &object)
    }
}

impl Drop for WatchBody {
    fn drop(&mut self) {
        if let Some(kind) = self.cache.of(self.kind) {
            kind.unwatch(&self.watcher);
        }
    }
}
