//! The response body of a watch: the initial objects or the history, then the live events.

use std::{
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
use pandaemon_machinery::{KindRef, Status};
use pandaemon_store::Revision;
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep};

use crate::{
    cache::{
        object::Object,
        watch_cache::{ChangeKind, Event, Next, Started, Subscription, WatchCache},
    },
    flow_control::Seat,
    handlers::render::{self, View},
    registry::{self, convert},
};

/// Size up to which lines are gathered into one chunk, in bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// Interval of bookmarks.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(55);

/// The options of a watch that influence its stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WatchOptions {
    /// When the server ends the watch.
    pub deadline: Instant,
    /// Whether the client accepts bookmarks.
    pub bookmarks: bool,
    /// Whether a bookmark with `k8s.io/initial-events-end` follows the initial objects.
    pub mark_initial: bool,
}

/// The body of one watch.
pub(crate) struct WatchBody {
    cache: Arc<WatchCache>,
    kind: KindRef,
    view: View,
    /// Whether events are the stored bytes, so that encoded lines can be shared.
    uses_stored_bytes: bool,
    /// The version of `meta.k8s.io`, if the client wants metadata only and the stored bytes contain
    /// it.
    metadata_only: Option<&'static str>,
    columns_sent: bool,
    objects: vec::IntoIter<Arc<Object>>,
    events: Subscription,
    initial_end: Option<Revision>,
    bookmarks: bool,
    deadline: Instant,
    timer: Pin<Box<Sleep>>,
    ended: bool,
    /// All events up to this revision were sent, once the queue is empty.
    sent: Revision,
    /// The seats of the request, until the initial objects are sent.
    seat: Option<Seat>,
}

impl fmt::Debug for WatchBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchBody")
            .field("kind", &self.kind.plural)
            .finish_non_exhaustive()
    }
}

/// The line of an ERROR event, which ends a watch.
#[must_use]
pub(crate) fn error_line(status: &Status) -> Bytes {
    let mut line =
        serde_json::to_vec(&json!({"type": "ERROR", "object": status})).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

impl WatchBody {
    /// The body of a started watch.
    #[must_use]
    pub(crate) fn new(
        cache: Arc<WatchCache>,
        kind: KindRef,
        view: View,
        started: Started,
        options: WatchOptions,
    ) -> Self {
        let first_bookmark = Instant::now() + BOOKMARK_INTERVAL;
        let wake = if options.bookmarks {
            first_bookmark.min(options.deadline)
        } else {
            options.deadline
        };
        Self {
            cache,
            uses_stored_bytes: view.is_plain_json() && convert::is_native(&kind),
            metadata_only: view.metadata_json().filter(|_| convert::is_native(&kind)),
            kind,
            view,
            columns_sent: false,
            objects: started.objects.into_iter(),
            events: started.events,
            initial_end: options.mark_initial.then_some(started.revision),
            bookmarks: options.bookmarks,
            deadline: options.deadline,
            timer: Box::pin(tokio::time::sleep_until(wake)),
            ended: false,
            sent: started.revision,
            seat: None,
        }
    }

    /// Gives these seats back when the initial objects are sent.
    pub(crate) fn hold(&mut self, seat: Option<Seat>) {
        self.seat = seat;
    }

    /// The next chunk of the stream: one or more complete lines.
    pub(crate) fn poll_lines(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.drop_initial_if_lagged();
        let mut first: Option<Bytes> = None;
        let mut more = BytesMut::new();
        while first.as_ref().map_or(0, Bytes::len) + more.len() < CHUNK_BYTES {
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
            // A single line is not copied: its bytes are shared with the other watches.
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

    /// Drops the initial objects that are left if the watch has ended meanwhile. Until then the
    /// queue has an event for each of them that was changed or deleted since, so that the bounds of
    /// the queue bound what the initial objects retain, too.
    fn drop_initial_if_lagged(&mut self) {
        let is_initial = self.initial_end.is_some() || self.objects.len() > 0;
        if is_initial && self.events.has_lagged() {
            self.objects = Vec::new().into_iter();
            self.initial_end = None;
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
        self.seat = None;
        self.poll_live(context)
    }

    fn poll_live(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        // Read before the queue: all events up to this revision are queued by now.
        let applied = self.cache.revision();
        match self.events.poll_next(context) {
            Poll::Ready(Next::Change(change, event)) => {
                self.sent = self.sent.max(event.change.revision);
                return Poll::Ready(Some(self.event_line(change, &event)));
            }
            Poll::Ready(end) => return Poll::Ready(self.end(&end)),
            Poll::Pending => {}
        }
        if self.timer.poll_unpin(context).is_pending() {
            return Poll::Pending;
        }
        // An event may be on its way before its revision counts as applied.
        let reached = applied.max(self.sent);
        let now = Instant::now();
        if now >= self.deadline {
            self.ended = true;
            return Poll::Ready(self.bookmarks.then(|| self.bookmark(reached, false)));
        }
        self.timer
            .as_mut()
            .reset((now + BOOKMARK_INTERVAL).min(self.deadline));
        Poll::Ready(Some(self.bookmark(reached, false)))
    }

    /// The last line of a watch that the server ends, if it is an error.
    fn end(&mut self, why: &Next) -> Option<Bytes> {
        self.ended = true;
        let status = match (why, self.cache.failure()) {
            (Next::Lagged, _) => {
                Status::expired("the watch was too slow and has been closed; list again")
            }
            (Next::Missed, _) => Status::expired(
                "changes of the store were missed, so the watch has been closed; list again",
            ),
            (_, Some(why)) => registry::failed_cache(why),
            (_, None) => return None,
        };
        Some(error_line(&status))
    }

    fn event_line(&mut self, change: ChangeKind, event: &Event) -> Bytes {
        if self.uses_stored_bytes {
            return event.line(change);
        }
        match event.object_for(change) {
            Some(object) => self.object_line(change, &object),
            None => Bytes::new(),
        }
    }

    fn object_line(&mut self, change: ChangeKind, object: &Object) -> Bytes {
        if self.uses_stored_bytes {
            let mut out = Vec::with_capacity(object.len() + 40);
            crate::cache::watch_cache::write_line(change, object, &mut out);
            return out.into();
        }
        if let Some(version) = self.metadata_only {
            let mut out = Vec::with_capacity(object.len() + 100);
            crate::cache::watch_cache::write_wrapped(change, &mut out, |out| {
                object.write_metadata(version, out);
            });
            return out.into();
        }
        let Some(value) = convert::converted(&self.kind, object) else {
            return Bytes::new();
        };
        let with_columns = !std::mem::replace(&mut self.columns_sent, true);
        // The ages in a Table are those at the time of the event.
        self.view.now_seconds = Timestamp::now().as_second();
        let shaped = render::shape_one(&self.kind, &self.view, value, with_columns);
        self.wrapped(change.as_str(), &shaped)
    }

    fn wrapped(&self, change: &str, object: &Value) -> Bytes {
        let event = json!({"type": change, "object": object});
        render::encode_line(&self.view.form, &event).into()
    }

    fn bookmark(&self, revision: Revision, ends_initial: bool) -> Bytes {
        let mut metadata =
            json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if ends_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = render::bookmark(&self.kind, &self.view, metadata);
        self.wrapped("BOOKMARK", &object)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Weak, task::Waker};

    use pandaemon_machinery::{scheme, table::IncludeObject};

    use super::*;
    use crate::{cache::fixture, http::negotiate::Form};

    fn map(name: &str, bytes: usize) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "d"}, "data": {"a": "x".repeat(bytes)}})
    }

    #[tokio::test]
    async fn a_watch_that_lags_while_it_begins_keeps_no_initial_objects() {
        let kinds = scheme::built_in();
        let kind = kinds.find_resource("", "v1", "configmaps").unwrap();
        let cache = Arc::new(WatchCache::new(1));
        for at in 0..9 {
            fixture::put(&cache, kind, &map(&format!("m{at}"), CHUNK_BYTES));
        }
        let (objects, events) = cache.subscribe(kind, None, None).unwrap();
        let initial: Vec<Weak<Object>> = objects.iter().map(Arc::downgrade).collect();
        let started = Started {
            revision: cache.revision(),
            objects,
            events,
        };
        let view = View {
            form: Form::default(),
            include: IncludeObject::Metadata,
            now_seconds: 0,
        };
        let options = WatchOptions {
            deadline: Instant::now() + BOOKMARK_INTERVAL,
            bookmarks: true,
            mark_initial: true,
        };
        let mut body = WatchBody::new(Arc::clone(&cache), Arc::clone(kind), view, started, options);
        let mut next = || match body.poll_lines(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(line) => line.map(|line| String::from_utf8(line.to_vec()).unwrap()),
            Poll::Pending => panic!("the watch waits"),
        };
        assert!(next().unwrap().contains("ADDED"));
        // The client does not read, and all objects are replaced, one of them often.
        for at in 0..9 {
            fixture::put(&cache, kind, &map(&format!("m{at}"), 1));
        }
        let kept =
            |initial: &[Weak<Object>]| initial.iter().filter(|o| o.upgrade().is_some()).count();
        assert_eq!(
            kept(&initial),
            9,
            "they are in the queue, and counted there"
        );
        while cache.watchers() > 0 {
            fixture::put(&cache, kind, &map("m0", 4 << 20));
        }
        let line = next().unwrap();
        assert!(
            line.contains("ERROR") && line.contains("410"),
            "{line:.200}"
        );
        assert_eq!((next(), kept(&initial)), (None, 0));
    }
}
