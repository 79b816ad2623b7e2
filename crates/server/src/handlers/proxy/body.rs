//! The body of an agent's response.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use crate::http::body::BoxError;

/// The body of an agent's response. It fails when the agent is silent for too long; a client that
/// does not read is no silence of the agent.
#[derive(Debug)]
pub(super) struct AgentBody {
    body: Incoming,
    /// `None` if the agent may be silent.
    idle: Option<Duration>,
    /// Since the agent has something to send.
    silence: Option<Pin<Box<Sleep>>>,
}

impl AgentBody {
    /// A body whose agent may be silent for so long.
    pub(super) fn new(body: Incoming, idle: Duration) -> Self {
        Self {
            body,
            idle: Some(idle),
            silence: None,
        }
    }

    /// Lets the agent be silent for any time.
    pub(super) fn may_be_silent(&mut self) {
        self.idle = None;
    }
}

impl Body for AgentBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.silence = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
        }
        let Some(idle) = self.idle else {
            return Poll::Pending;
        };
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(idle)));
        ready!(silence.as_mut().poll(context));
        let why = "the agent has stopped in the middle of its response";
        Poll::Ready(Some(Err(why.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
