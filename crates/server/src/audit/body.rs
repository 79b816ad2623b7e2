//! The body of a response whose event is written when it ends.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::http::body::{Body, BoxError};

/// How much of a body is kept for its event. An event with more loses it.
const MAX_KEPT: usize = 128 << 10;

/// What is done at the end, with what was sent if that is kept.
type Completion = Box<dyn FnOnce(Option<Bytes>) + Send>;

/// A body, and the event that is written at its end, or when the client has gone.
pub(super) struct AuditedBody {
    body: Body,
    /// What was sent so far, if it is to be in the event.
    kept: Option<BytesMut>,
    completion: Option<Completion>,
}

impl AuditedBody {
    /// Wraps a body. With `keeps`, the event has its bytes.
    pub(super) fn new(body: Body, keeps: bool, completion: Completion) -> Self {
        Self {
            body,
            kept: keeps.then(BytesMut::new),
            completion: Some(completion),
        }
    }

    fn complete(&mut self) {
        if let Some(completion) = self.completion.take() {
            completion(self.kept.take().map(BytesMut::freeze));
        }
    }
}

impl HttpBody for AuditedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(kept), Some(data)) = (&mut self.kept, frame.data_ref()) {
                    // One byte more than fits is enough to see that it was too long.
                    let room = MAX_KEPT.saturating_sub(kept.len());
                    kept.extend_from_slice(data.get(..room).unwrap_or(data));
                }
            }
            Some(Err(_)) | None => self.complete(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AuditedBody {
    fn drop(&mut self) {
        self.complete();
    }
}
