//! The WebSocket side of exec and attach: Kubernetes' remote command protocol, versions 4 and 5.
//!
//! The first byte of a message is the number of its channel. Version 5 adds a message that closes a
//! channel; without it a command never sees the end of its input.

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{HttpError, HttpResponse};

/// The channels of the protocol.
pub(super) const STDIN: u8 = 0;
pub(super) const STDOUT: u8 = 1;
pub(super) const STDERR: u8 = 2;
pub(super) const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// The names of the protocol versions.
pub(super) const V5: &str = "v5.channel.k8s.io";
pub(super) const V4: &str = "v4.channel.k8s.io";

/// A message from the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Input for the command.
    Stdin(Bytes),
    /// The input has ended.
    StdinEnd,
    /// The terminal's new size: width and height.
    Resize(u32, u32),
}

/// A handshake that can be accepted.
#[derive(Debug)]
pub(super) struct Handshake {
    protocol: &'static str,
    accept: HeaderValue,
}

/// Checks the client's part of a handshake. Of these protocols the first one counts that the client
/// offers.
///
/// # Errors
/// 400 if it cannot be accepted.
pub(super) fn check(
    headers: &HeaderMap,
    protocols: &[&'static str],
) -> Result<Handshake, HttpError> {
    let bad = |message: &str| (StatusCode::BAD_REQUEST, message.to_owned());
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .ok_or_else(|| bad("Upgrade request required"))?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| bad("the Sec-WebSocket-Key header is invalid"))?;
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let offered: Vec<&str> = offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let protocol = protocols.iter().find(|one| offered.contains(one));
    let protocol = protocol.ok_or_else(|| bad("none of the offered protocols is supported"))?;
    Ok(Handshake { protocol, accept })
}

impl Handshake {
    /// Accepts the handshake: the response, and the future connection.
    pub(super) fn accept(self, request: &mut Request<Incoming>) -> (HttpResponse, OnUpgrade) {
        let upgrade = hyper::upgrade::on(request);
        let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(self.protocol),
        );
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        (response, upgrade)
    }
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Completes the upgrade and splits the connection.
pub(super) async fn open(upgrade: OnUpgrade) -> Result<(Sender, Receiver), hyper::Error> {
    let stream = TokioIo::new(upgrade.await?);
    let socket: Socket = server_side(stream).await;
    let (sink, stream) = socket.split();
    Ok((Sender(sink), Receiver(stream)))
}

/// The largest message of a client in bytes: it is kept until it is complete. kubectl copies input
/// by 32 KB, and SPDY frames of port-forward have as much.
const MAX_MESSAGE: usize = 1 << 20;

/// The server's side of a WebSocket connection over this stream.
pub(super) async fn server_side<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
) -> WebSocketStream<S> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await
}

/// A close frame with code 1000.
pub(super) fn normal() -> CloseFrame {
    CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    }
}

/// The direction to the client.
pub(super) struct Sender(SplitSink<Socket, Message>);

/// The direction from the client.
pub(super) struct Receiver(SplitStream<Socket>);

impl Sender {
    /// Sends bytes on a channel; false if the client has disconnected.
    pub(super) async fn send(&mut self, channel: u8, bytes: &[u8]) -> bool {
        let mut message = BytesMut::with_capacity(bytes.len() + 1);
        message.put_u8(channel);
        message.put_slice(bytes);
        self.0.send(Message::Binary(message.freeze())).await.is_ok()
    }

    /// Sends the final status and closes the connection.
    pub(super) async fn finish(mut self, status: &Value) {
        let _ = self.send(ERROR, status.to_string().as_bytes()).await;
        self.close().await;
    }

    /// Closes the connection.
    pub(super) async fn close(mut self) {
        // Clients report any close but a normal one as a broken connection.
        let _ = self.0.send(Message::Close(Some(normal()))).await;
        let _ = self.0.close().await;
    }
}

impl Receiver {
    /// The next message of the client; `None` once it has disconnected.
    pub(super) async fn next(&mut self) -> Option<Input> {
        loop {
            match self.0.next().await? {
                Ok(Message::Binary(bytes)) => {
                    if let Some(input) = parse(bytes) {
                        return Some(input);
                    }
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => (),
            }
        }
    }
}

fn parse(mut message: Bytes) -> Option<Input> {
    if message.is_empty() {
        return None;
    }
    let rest = message.split_off(1);
    match message[0] {
        STDIN => Some(Input::Stdin(rest)),
        CLOSE => (rest.first() == Some(&STDIN)).then_some(Input::StdinEnd),
        RESIZE => {
            let size: Value = serde_json::from_slice(&rest).ok()?;
            let side = |name: &str| u32::try_from(size.get(name)?.as_u64()?).ok();
            Some(Input::Resize(side("Width")?, side("Height")?))
        }
        _ => None,
    }
}

/// The final status of a command that ended with this exit code.
pub(super) fn ended(code: u32) -> Value {
    if code == 0 {
        return json!({ "metadata": {}, "status": "Success" });
    }
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "reason": "NonZeroExitCode",
        "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
    })
}

/// The final status of a command that could not be run.
pub(super) fn failed(message: &str) -> Value {
    json!({
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "InternalError",
        "details": { "causes": [{ "message": message }] },
        "code": 500,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::{
        WebSocketStream,
        tungstenite::{Error, Message, protocol::Role},
    };

    use super::{Input, MAX_MESSAGE, ended, parse, server_side};

    #[tokio::test]
    async fn a_message_that_is_too_large_ends_the_connection() {
        for (length, is_read) in [(MAX_MESSAGE, true), (MAX_MESSAGE + 1, false)] {
            let (near, far) = tokio::io::duplex(1 << 16);
            let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
            let mut server = server_side(far).await;
            let send = client.send(Message::Binary(vec![0; length].into()));
            let read = tokio::select! {
                read = server.next() => read.unwrap(),
                _ = send => server.next().await.unwrap(),
            };
            assert_eq!(read.is_ok(), is_read, "{length}");
            assert!(is_read || matches!(read, Err(Error::Capacity(_))));
        }
    }

    #[test]
    fn messages_are_parsed_by_channel() {
        let stdin = parse(Bytes::from_static(b"\0hello"));
        assert_eq!(stdin, Some(Input::Stdin(Bytes::from_static(b"hello"))));
        assert_eq!(parse(Bytes::from_static(b"\xff\0")), Some(Input::StdinEnd));
        assert_eq!(parse(Bytes::from_static(b"\xff\x01")), None);
        let resize = parse(Bytes::from_static(b"\x04{\"Width\":80,\"Height\":24}"));
        assert_eq!(resize, Some(Input::Resize(80, 24)));
        assert_eq!(parse(Bytes::from_static(b"")), None);
    }

    #[test]
    fn an_exit_code_other_than_zero_is_reported_as_cause() {
        assert_eq!(ended(0)["status"], "Success");
        assert_eq!(ended(3)["details"]["causes"][0]["message"], "3");
    }
}
