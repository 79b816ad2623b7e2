//! The body of a response that the client has to read.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Response;
use http_body::{Body, Frame, SizeHint};

use super::Request;

/// How long the client of a response may take to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Each part within [`super::Bounds::unread`].
    Bounded,
    /// The same until all was sent that there is at first: the initial objects of a watch.
    BoundedAtFirst,
    /// As long as it likes: a person may be reading a log page by page.
    Unbounded,
}

/// A body, and the request that it is part of.
#[derive(Debug)]
pub struct TrackedBody<B> {
    body: B,
    request: Arc<Request>,
    pace: Pace,
}

impl<B> TrackedBody<B> {
    /// The body of the response to a request.
    #[must_use]
    pub fn new(body: B, request: Arc<Request>, pace: Pace) -> Self {
        if pace != Pace::Unbounded {
            request.waits_for_client();
        }
        Self {
            body,
            request,
            pace,
        }
    }

    /// The response to a request, which is in progress until its body was sent. The pace is the
    /// extension of the response.
    #[must_use]
    pub fn of(response: Response<B>, request: Arc<Request>) -> Response<Self> {
        let (mut parts, body) = response.into_parts();
        let pace = parts.extensions.remove::<Pace>().unwrap_or(Pace::Bounded);
        Response::from_parts(parts, Self::new(body, request, pace))
    }
}

impl<B: Body + Unpin> Body for TrackedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if self.pace == Pace::Unbounded {
            return polled;
        }
        if polled.is_ready() {
            self.request.waits_for_client();
        } else {
            self.request.waits_for_server();
            if self.pace == Pace::BoundedAtFirst {
                self.pace = Pace::Unbounded;
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
