//! Response bodies.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::{cache::object::Object, flow_control::Seat, handlers::watch::WatchBody};

/// The error of a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body of another type: proxied from a node agent, or one whose end is recorded.
pub(crate) type BoxBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// The body of a response.
#[derive(Debug)]
pub(crate) enum Body {
    /// A body whose bytes are known; `None` after they were sent.
    Full(Option<Bytes>),
    /// A list, written in chunks from the shared bytes of its objects.
    List(ListBody),
    /// A stream of watch events.
    Watch(Box<WatchBody>),
    /// A body of another type.
    Boxed(BoxBody),
}

impl Body {
    /// A complete body with these bytes.
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self::Full(Some(bytes.into()))
    }

    /// Gives the seats of a request back when its objects are sent; at once if all bytes are known.
    pub(crate) fn hold(&mut self, seat: Option<Seat>) {
        match self {
            Self::List(list) => list.seat = seat,
            Self::Watch(watch) => watch.hold(seat),
            Self::Full(_) | Self::Boxed(_) => {}
        }
    }

    /// A body without bytes.
    #[must_use]
    pub(crate) fn empty() -> Self {
        Self::Full(None)
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::List(list) => Poll::Ready(list.next().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Watch(watch) => watch
                .poll_lines(context)
                .map(|o| o.map(|b| Ok(Frame::data(b)))),
            Self::Boxed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Boxed(body) => body.is_end_stream(),
            Self::List(_) | Self::Watch(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Boxed(body) => body.size_hint(),
            Self::List(_) | Self::Watch(_) => SizeHint::default(),
        }
    }
}

/// Approximate size of a chunk of a list, in bytes.
const CHUNK_BYTES: usize = 128 << 10;

/// The body of a list.
#[derive(Debug)]
pub(crate) struct ListBody {
    /// The text before the first item.
    head: Option<Vec<u8>>,
    objects: vec::IntoIter<Arc<Object>>,
    started: bool,
    ended: bool,
    seat: Option<Seat>,
}

impl ListBody {
    /// A list of these objects. `head` is the text up to the opening bracket of the items.
    #[must_use]
    pub(crate) fn new(head: Vec<u8>, objects: Vec<Arc<Object>>) -> Self {
        Self {
            head: Some(head),
            objects: objects.into_iter(),
            started: false,
            ended: false,
            seat: None,
        }
    }
}

impl Iterator for ListBody {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut out = self.head.take().unwrap_or_default();
        let expected: usize = self
            .objects
            .as_slice()
            .iter()
            .map(|o| o.len())
            .take(64)
            .sum();
        out.reserve(expected.min(CHUNK_BYTES) + 64);
        while out.len() < CHUNK_BYTES {
            let Some(object) = self.objects.next() else {
                self.ended = true;
                self.seat = None;
                out.extend_from_slice(b"]}\n");
                break;
            };
            if std::mem::replace(&mut self.started, true) {
                out.push(b',');
            }
            object.write_item(&mut out);
        }
        Some(out.into())
    }
}
