//! Connections that are upgraded: what a request asks for, and their streams.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, header};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    time::{Instant, sleep_until},
};

/// How long the streams of an upgraded connection may be silent both ways (upstream: the kubelet's
/// `streamingConnectionIdleTimeout`). The pings of kubectl's WebSockets are no silence.
pub const STREAM_IDLE: Duration = Duration::from_secs(4 * 3600);

/// The protocol of the `Upgrade` header, in lower case, if the connection is to be upgraded.
#[must_use]
pub fn upgrade_token(headers: &HeaderMap) -> Option<String> {
    let connection = headers
        .get(header::CONNECTION)?
        .to_str()
        .ok()?
        .to_ascii_lowercase();
    let upgrades = connection.split(',').any(|part| part.trim() == "upgrade");
    let token = headers
        .get(header::UPGRADE)?
        .to_str()
        .ok()?
        .to_ascii_lowercase();
    upgrades.then_some(token)
}

/// Copies bytes between two streams, until both directions have ended.
///
/// # Errors
/// When a stream fails, or no byte was copied for `idle`.
pub async fn copy_until_idle<A, B>(a: A, mut b: B, idle: Duration) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let last = Mutex::new(Instant::now());
    // What is copied passes this side, whatever its direction.
    let mut a = Timed {
        stream: a,
        last: &last,
    };
    let silence = async {
        loop {
            let end = *last.lock() + idle;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    };
    tokio::select! {
        copied = copy_bidirectional(&mut a, &mut b) => copied.map(|_| ()),
        () = silence => Err(io::Error::new(io::ErrorKind::TimedOut, "the streams were idle")),
    }
}

/// A stream that notes when bytes were read or written last.
struct Timed<'a, S> {
    stream: S,
    last: &'a Mutex<Instant>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            *self.last.lock() = Instant::now();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            *self.last.lock() = Instant::now();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
        time::sleep,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn streams_end_when_no_byte_passes_for_too_long() {
        let idle = Duration::from_secs(100);
        let ((mut near, a), (b, mut far)) = (duplex(8), duplex(8));
        let begin = Instant::now();
        let copied = async {
            let error = copy_until_idle(a, b, idle).await.unwrap_err();
            (error.kind(), begin.elapsed().as_secs())
        };
        // One byte from each side; then more than the other side takes.
        let used = async {
            sleep(Duration::from_secs(60)).await;
            near.write_all(b"a").await.unwrap();
            assert_eq!(far.read_u8().await.unwrap(), b'a');
            sleep(Duration::from_secs(60)).await;
            far.write_all(b"b").await.unwrap();
            assert_eq!(near.read_u8().await.unwrap(), b'b');
            sleep(Duration::from_secs(60)).await;
            let _stuck = near.write_all(&[0; 100_000]).await;
        };
        let (ended, ()) = tokio::join!(copied, used);
        assert_eq!(ended, (io::ErrorKind::TimedOut, 280));
    }

    #[tokio::test]
    async fn the_end_of_a_direction_is_passed_on_and_both_end_the_copy() {
        let ((mut near, a), (b, mut far)) = (duplex(8), duplex(8));
        let copied = crate::spawn("copy", copy_until_idle(a, b, STREAM_IDLE));
        near.shutdown().await.unwrap();
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        far.write_all(b"last words").await.unwrap();
        drop(far);
        near.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"last words");
        copied.await.unwrap().unwrap().unwrap();
    }

    #[test]
    fn an_upgrade_takes_both_headers() {
        for (connection, upgrade, expected) in [
            ("Upgrade", "SPDY/3.1", Some("spdy/3.1")),
            ("keep-alive, upgrade", "websocket", Some("websocket")),
            ("keep-alive", "websocket", None),
            ("", "websocket", None),
            ("upgrade", "", None),
        ] {
            let headers = [(header::CONNECTION, connection), (header::UPGRADE, upgrade)];
            let headers = headers.into_iter().filter(|(_, value)| !value.is_empty());
            let headers = headers.map(|(name, value)| (name, value.parse().unwrap()));
            let token = upgrade_token(&headers.collect());
            assert_eq!(token.as_deref(), expected, "{connection} {upgrade}");
        }
    }
}
