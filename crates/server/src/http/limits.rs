//! What one client may take: connections, requests, heads. Each bound has the reason for its value;
//! `docs/reliability.md` has the table of all.

use std::time::Duration;

use http::{request::Parts, uri::Uri};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto::Builder,
};
use pandaemon_machinery::{Status, status::Result};
use pandaemon_runtime::connections::Bounds;

/// How long the TLS handshake and the head of a request may each take.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The bounds of connections.
pub(crate) const CONNECTIONS: Bounds = Bounds {
    // Some 42 KB each, most of them buffers: 700 MB. An agent has one or two.
    all: 16_384,
    // Half of all, so that those of users always have room.
    unauthenticated: 8_192,
    // 5,000 agents behind one address that all come at the same moment have no user until their
    // handshake has ended.
    unauthenticated_of_address: 6_144,
    // A quarter of all. Clients with HTTP/1.1 have a connection for each watch.
    of_user: 4_096,
    // Some 10 KB each for a watch: 160 MB. Tests open 10,000 as one user.
    requests_of_user: 16_384,
    // The handshake and the first head.
    unauthenticated_idle: HEAD_TIMEOUT.saturating_mul(2),
    // That of upstream's `http2.Server`, and of Go's clients.
    idle: Duration::from_secs(90),
    // A client on a slow line reads 16 KB in a minute; one that was suspended does not.
    unread: Duration::from_secs(60),
};

/// Requests at once over one HTTP/2 connection, as upstream's recommended options. A client opens
/// another connection for more.
const STREAMS: u32 = 1_000;
/// Streams that the client resets before they are handled ("rapid reset"): more end the
/// connection. The default of h2, which may change.
const PENDING_RESETS: usize = 20;
/// Streams that are reset because the client does something wrong: more end the connection. The
/// default of h2, which may change.
const ERROR_RESETS: usize = 1_024;
/// Bytes of a response that wait for the client in each HTTP/2 stream, beside a chunk.
const SEND_BUFFER: usize = 64 << 10;
/// Bytes of the body of a request that a client may send in an HTTP/2 stream before they are read,
/// as upstream (`resourceBody99Percentile`).
pub(crate) const STREAM_WINDOW: u32 = 256 << 10;
/// Bytes of the head of a request: 16 times what kubectl sends with a token of 4 KB. It also bounds
/// the number of CONTINUATION frames, and the URL.
const HEAD_BYTES: u32 = 64 << 10;

/// Number of parameters of a query. `kubectl exec` sends each word of a command as one.
const PARAMETERS: usize = 2_048;
/// Number of segments of a path. The path of an object has at most 9; what is proxied to an agent
/// may have more.
const SEGMENTS: usize = 256;
/// Number of groups, extra values and UIDs to impersonate: each is authorized alone. Proxies that
/// impersonate their users send all groups of a directory.
const IMPERSONATED: usize = 512;

/// The HTTP of the listener.
pub(crate) fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(ERROR_RESETS)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(8 << 20)
        .max_header_list_size(HEAD_BYTES);
    builder
}

/// Checks the numbers of parts of a head, which is small.
///
/// # Errors
/// 400 if there are too many.
pub(crate) fn check_head(parts: &Parts) -> Result<()> {
    let check = |what: &str, count: usize, most: usize| match count > most {
        true => Err(Status::bad_request(format!(
            "the request has too many {what}: {count}, and at most {most} are allowed"
        ))),
        false => Ok(()),
    };
    check("parts in its path", segments(&parts.uri), SEGMENTS)?;
    check(
        "parameters in its query",
        parameters(&parts.uri),
        PARAMETERS,
    )?;
    let names = parts.headers.iter().map(|(name, _)| name.as_str());
    let impersonated = names.filter(|name| name.starts_with("impersonate-"));
    check("headers to impersonate", impersonated.count(), IMPERSONATED)
}

fn segments(uri: &Uri) -> usize {
    uri.path().bytes().filter(|byte| *byte == b'/').count()
}

fn parameters(uri: &Uri) -> usize {
    let query = uri.query().unwrap_or_default();
    query.bytes().filter(|byte| *byte == b'&').count() + 1
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn check(uri: &str, header: &'static str, count: usize) -> Option<String> {
        let mut request = Request::get(uri);
        for at in 0..count {
            let name = match header.ends_with('-') {
                true => format!("{header}{at}"),
                false => header.to_owned(),
            };
            request = request.header(name, "x");
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        check_head(&parts).err().map(|status| status.message)
    }

    #[test]
    fn heads_with_too_many_parts_are_refused() {
        let path = |count: usize| "/a".repeat(count);
        let query = |count: usize| format!("/api?{}", vec!["a"; count].join("&"));
        let refused = |what: &str, most: usize| {
            let text = format!(
                "the request has too many {what}: {}, and at most {most} are allowed",
                most + 1
            );
            Some(text)
        };
        assert_eq!(check(&path(SEGMENTS), "x", 0), None);
        let expected = refused("parts in its path", SEGMENTS);
        assert_eq!(check(&path(SEGMENTS + 1), "x", 0), expected);
        assert_eq!(check(&query(PARAMETERS), "x", 0), None);
        let expected = refused("parameters in its query", PARAMETERS);
        assert_eq!(check(&query(PARAMETERS + 1), "x", 0), expected);
        for header in ["impersonate-group", "impersonate-extra-"] {
            assert_eq!(check("/", header, IMPERSONATED), None);
            let expected = refused("headers to impersonate", IMPERSONATED);
            assert_eq!(check("/", header, IMPERSONATED + 1), expected);
        }
        assert_eq!(check("/", "x", 1_000), None);
    }
}
