//! The body of an answer.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::{object::Object, watch::WatchBody};

/// Why a body broke off.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body from elsewhere, such as an agent's.
pub type Foreign = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// Known from the start.
    Full(Option<Bytes>),
    /// A list, written piece by piece from the shared bytes of its objects.
    List(ListBody),
    /// A watch.
    Watch(Box<WatchBody>),
    /// Passed through.
    Foreign(Foreign),
}

impl Body {
    /// A body of these bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::Full(Some(bytes.into()))
    }

    /// No body.
    #[must_use]
    pub fn empty() -> Self {
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
            Self::Foreign(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Foreign(body) => body.is_end_stream(),
            Self::List(_) | Self::Watch(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Foreign(body) => body.size_hint(),
            Self::List(_) | Self::Watch(_) => SizeHint::default(),
        }
    }
}

/// A piece of a list is about this long.
const PIECE: usize = 128 << 10;

/// A list in the making.
#[derive(Debug)]
pub struct ListBody {
    /// What stands before the items.
    head: Option<Vec<u8>>,
    objects: vec::IntoIter<Arc<Object>>,
    started: bool,
    ended: bool,
}

impl ListBody {
    /// A list of these objects; `head` ends where the first item begins.
    #[must_use]
    pub fn new(head: Vec<u8>, objects: Vec<Arc<Object>>) -> Self {
        Self {
            head: Some(head),
            objects: objects.into_iter(),
            started: false,
            ended: false,
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
        out.reserve(expected.min(PIECE) + 64);
        while out.len() < PIECE {
            let Some(object) = self.objects.next() else {
                self.ended = true;
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
