//! The bodies of requests, and the memory that they may take together.
//!
//! Bytes are counted from when the head of a request names its user until the request is answered:
//! also while it waits for its turn, because what the client has sent by then is in buffers. What
//! is too much is refused and does not wait: requests that hold a part of their bodies and wait for
//! each other would all time out, and their clients can come again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use pandaemon_machinery::{Status, status::Result};
use parking_lot::Mutex;

use super::{body::BoxError, limits::STREAM_WINDOW};

/// Maximum size of a request body, in bytes.
pub(crate) const MAX_BODY: usize = 3 << 20;

/// How long the body of a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Bodies up to this size are not counted: the number of requests is bounded. Those of pods and
/// leases are smaller, so that they cost nothing.
const UNCOUNTED: usize = 16 << 10;
/// What a body of unknown length counts at first: what is in buffers before it is read.
const UNKNOWN: usize = STREAM_WINDOW as usize;
/// Bytes of the bodies of one user: 21 of the largest ones.
const OF_USER: usize = 64 << 20;
/// Bytes of the bodies of all users: so that four users that do their worst leave room for others.
const OF_ALL: usize = 512 << 20;

/// The bytes of the bodies of all requests that are not answered yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestBodies(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    of_users: BTreeMap<String, usize>,
}

/// The bytes of one body, which are given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    bodies: RequestBodies,
    user: String,
    bytes: usize,
}

impl RequestBodies {
    /// Reserves the bytes of a body that arrives, as far as they are known.
    ///
    /// # Errors
    /// 413 if the body is too large, 429 if those of the user, or of all, are.
    pub(crate) fn reserve(&self, user: &str, body: &impl HttpBody) -> Result<Reserved> {
        let hint = body.size_hint();
        let known = usize::try_from(hint.lower()).unwrap_or(usize::MAX);
        if known > MAX_BODY {
            return Err(too_large());
        }
        let is_known = body.is_end_stream() || hint.exact().is_some();
        let bytes = if is_known { known } else { UNKNOWN };
        let mut reserved = Reserved {
            bodies: self.clone(),
            // The name is not needed for what is not counted: most requests.
            user: match bytes > UNCOUNTED {
                true => user.to_owned(),
                false => String::new(),
            },
            bytes: 0,
        };
        reserved.grow_to(bytes)?;
        Ok(reserved)
    }
}

impl Reserved {
    fn grow_to(&mut self, bytes: usize) -> Result<()> {
        if bytes <= self.bytes || bytes <= UNCOUNTED {
            return Ok(());
        }
        let more = bytes - self.bytes;
        let mut counts = self.bodies.0.lock();
        let of_user = counts.of_users.get(&self.user).copied().unwrap_or(0) + more;
        let all = counts.all + more;
        if of_user > OF_USER || all > OF_ALL {
            let whose = match of_user > OF_USER {
                true => format!("user {:?}", self.user),
                false => "all users".to_owned(),
            };
            return Err(Status::too_many_requests(format!(
                "the unanswered requests of {whose} have too large bodies together; please try again later"
            )));
        }
        counts.all = all;
        counts.of_users.insert(self.user.clone(), of_user);
        self.bytes = bytes;
        Ok(())
    }

    /// Reads the body.
    ///
    /// # Errors
    /// 400 if it cannot be read, 413 if it is too large, 429 as for [`RequestBodies::reserve`], 504
    /// if it does not arrive in time.
    pub(crate) async fn read<B>(&mut self, body: B) -> Result<Bytes>
    where
        B: HttpBody<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let read = tokio::time::timeout(BODY_TIMEOUT, self.collect(body));
        read.await.unwrap_or_else(|_| {
            let seconds = BODY_TIMEOUT.as_secs();
            let text = format!("Timeout: the request body did not arrive within {seconds} seconds");
            Err(Status::failure(504, "Timeout", text))
        })
    }

    async fn collect<B>(&mut self, body: B) -> Result<Bytes>
    where
        B: HttpBody<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let mut body = std::pin::pin!(Limited::new(body, MAX_BODY));
        // One part is not copied. Many are: each part may be a byte that keeps a buffer.
        let (mut first, mut all) = (Bytes::new(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
                true => too_large(),
                false => Status::bad_request(format!("cannot read the request body: {error}")),
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if first.is_empty() && all.is_empty() {
                first = data;
                continue;
            }
            self.grow_to(first.len() + all.len() + data.len())?;
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
        match all.is_empty() {
            true => Ok(first),
            false => Ok(all.freeze()),
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut counts = self.bodies.0.lock();
        counts.all -= self.bytes;
        if let Some(of_user) = counts.of_users.get_mut(&self.user) {
            *of_user -= self.bytes;
            if *of_user == 0 {
                counts.of_users.remove(&self.user);
            }
        }
    }
}

fn too_large() -> Box<Status> {
    Status::too_large(format!("Request entity too large: limit is {MAX_BODY}"))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn full(bytes: usize) -> Full<Bytes> {
        Full::new(vec![b'x'; bytes].into())
    }

    /// A body of unknown length in parts of one size.
    fn parts(bytes: usize, size: usize) -> impl HttpBody<Data = Bytes, Error = Infallible> + Send {
        let part = move |at: usize| Bytes::from(vec![b'x'; size.min(bytes - at)]);
        let frames = (0..bytes)
            .step_by(size)
            .map(move |at| Ok(Frame::data(part(at))));
        StreamBody::new(stream::iter(frames))
    }

    #[test]
    fn the_bodies_of_a_user_and_of_all_are_bounded() {
        let bodies = RequestBodies::default();
        let reserve = |user: &str| bodies.reserve(user, &full(MAX_BODY));
        let mut held = Vec::new();
        for user in 0..8 {
            let name = user.to_string();
            let mine = std::iter::from_fn(|| reserve(&name).ok());
            held.push(mine.collect::<Vec<_>>());
        }
        assert_eq!(held[0].len(), OF_USER / MAX_BODY);
        let status = reserve("0").unwrap_err();
        assert_eq!(
            (status.code, status.reason.as_str()),
            (429, "TooManyRequests")
        );
        assert!(status.message.contains("user \"0\""), "{}", status.message);
        // All have the rest, and small ones are not counted.
        let others: Vec<_> = (8..)
            .map_while(|user| reserve(&user.to_string()).ok())
            .collect();
        let all = held.iter().map(Vec::len).sum::<usize>() + others.len();
        assert_eq!(all, OF_ALL / MAX_BODY);
        assert!(reserve("x").unwrap_err().message.contains("all users"));
        assert!(bodies.reserve("x", &full(UNCOUNTED)).is_ok());
        // What is answered makes room.
        held[0].pop();
        assert!(reserve("0").is_ok());
        drop((held, others));
        let counts = bodies.0.lock();
        assert_eq!((counts.all, counts.of_users.len()), (0, 0));
    }

    #[tokio::test]
    async fn a_body_is_counted_as_it_arrives() {
        let bodies = RequestBodies::default();
        for (bytes, size) in [
            (0, 1),
            (1, 1),
            (5_000, 1),
            (MAX_BODY, 9_000),
            (MAX_BODY, MAX_BODY),
        ] {
            let body = parts(bytes, size);
            let mut reserved = bodies.reserve("u", &body).unwrap();
            assert_eq!(
                reserved.read(body).await.unwrap(),
                vec![b'x'; bytes],
                "{bytes}"
            );
            assert!(reserved.bytes >= bytes.min(UNKNOWN));
        }
        assert_eq!(bodies.0.lock().all, 0);
        let body = parts(MAX_BODY + 1, 9_000);
        let mut reserved = bodies.reserve("u", &body).unwrap();
        assert_eq!(reserved.read(body).await.unwrap_err().code, 413);
        drop(reserved);
        assert_eq!(
            bodies.reserve("u", &full(MAX_BODY + 1)).unwrap_err().code,
            413
        );
        // The length of a body that is too much together with others is found on the way.
        let _others: Vec<_> = (0..20)
            .map(|_| bodies.reserve("u", &full(MAX_BODY)).unwrap())
            .collect();
        let (one, two) = (parts(MAX_BODY, 9_000), parts(MAX_BODY, 9_000));
        let mut first = bodies.reserve("u", &one).unwrap();
        let mut second = bodies.reserve("u", &two).unwrap();
        assert!(first.read(one).await.is_ok());
        assert_eq!(second.read(two).await.unwrap_err().code, 429);
    }
}
