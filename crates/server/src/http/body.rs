//! Response bodies.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pandaemon_runtime::connections::Pace;

use crate::{
    backup::BackupBody,
    flow_control::Seat,
    handlers::{list::ListBody, watch::WatchBody},
};

/// The error of a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body of another type: proxied from a node agent, or one whose end is recorded.
pub(crate) type BoxBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// Size up to which a body is handed over at once, in bytes: that of an HTTP/2 frame. What was
/// handed over is in memory until the client reads it, and no timeout sees that it does not.
const PART_BYTES: usize = 16 << 10;

/// The body of a response.
#[derive(Debug)]
pub(crate) enum Body {
    /// A body whose bytes are known: those that are left; `None` after all were sent.
    Full(Option<Bytes>),
    /// A list, written in chunks.
    List(Box<ListBody>),
    /// A stream of watch events.
    Watch(Box<WatchBody>),
    /// A backup, made as it is sent.
    Backup(Box<BackupBody>),
    /// A body of another type.
    Boxed(BoxBody),
}

impl Body {
    /// How long the client may take to read it. What is proxied has the pace of its source: a log
    /// that a person reads page by page.
    #[must_use]
    pub(crate) fn pace(&self) -> Pace {
        match self {
            Self::Full(_) | Self::List(_) | Self::Backup(_) => Pace::Bounded,
            Self::Watch(_) => Pace::BoundedAtFirst,
            Self::Boxed(_) => Pace::Unbounded,
        }
    }

    /// A complete body with these bytes.
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self::Full(Some(bytes.into()))
    }

    /// Gives the seats of a request back when its objects are sent; at once if all bytes are known.
    pub(crate) fn hold(&mut self, seat: Option<Seat>) {
        match self {
            Self::List(list) => list.hold(seat),
            Self::Watch(watch) => watch.hold(seat),
            Self::Full(_) | Self::Backup(_) | Self::Boxed(_) => {}
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
            Self::Full(bytes) => Poll::Ready(next_part(bytes).map(|bytes| Ok(Frame::data(bytes)))),
            Self::List(list) => list
                .poll_chunk(context)
                .map(|o| o.map(|chunk| chunk.map(Frame::data).map_err(BoxError::from))),
            Self::Watch(watch) => watch
                .poll_lines(context)
                .map(|o| o.map(|b| Ok(Frame::data(b)))),
            Self::Backup(backup) => {
                let part = backup.next_part(PART_BYTES);
                Poll::Ready(part.map(|part| part.map(Frame::data).map_err(BoxError::from)))
            }
            Self::Boxed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Boxed(body) => body.is_end_stream(),
            Self::List(_) | Self::Watch(_) | Self::Backup(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Boxed(body) => body.size_hint(),
            Self::List(_) | Self::Watch(_) | Self::Backup(_) => SizeHint::default(),
        }
    }
}

/// The next part of the bytes that are left.
fn next_part(left: &mut Option<Bytes>) -> Option<Bytes> {
    match left {
        Some(bytes) if bytes.len() > PART_BYTES => Some(bytes.split_to(PART_BYTES)),
        left => left.take(),
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_body_is_handed_over_in_parts() {
        for length in [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES] {
            let mut body = Body::full(vec![b'x'; length]);
            let mut context = Context::from_waker(Waker::noop());
            let (mut parts, mut sent) = (0, 0);
            while !body.is_end_stream() {
                assert_eq!(body.size_hint().exact(), Some((length - sent) as u64));
                let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context)
                else {
                    panic!("a part");
                };
                sent += frame.data_ref().map_or(0, Bytes::len);
                parts += 1;
            }
            assert_eq!((sent, parts), (length, length.div_ceil(PART_BYTES).max(1)));
        }
    }
}
