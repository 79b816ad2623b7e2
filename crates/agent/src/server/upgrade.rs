//! What a client's connection is to be upgraded to. It is checked before anything is done for it.

use http::{Request, StatusCode};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use pandaemon_runtime::upgrade::upgrade_token;

use super::{
    HttpError,
    socket::{self, Handshake},
};

/// An upgrade that can be made.
pub(super) enum Upgrade {
    /// To SPDY/3.1. Which protocol is spoken inside is agreed upon with the runtime.
    Spdy,
    /// To a WebSocket.
    WebSocket(Handshake),
}

/// The upgrade that the client asks for; of WebSockets the first of these protocols that the client
/// offers.
///
/// # Errors
/// 400 if there is none.
pub(super) fn check(
    request: &Request<Incoming>,
    protocols: &[&'static str],
) -> Result<Upgrade, HttpError> {
    let token = upgrade_token(request.headers());
    // There is none with HTTP/1.0.
    let can_be_made = request.extensions().get::<OnUpgrade>().is_some();
    match token.as_deref().filter(|_| can_be_made) {
        Some("spdy/3.1") => Ok(Upgrade::Spdy),
        Some("websocket") => socket::check(request.headers(), protocols).map(Upgrade::WebSocket),
        _ => Err((
            StatusCode::BAD_REQUEST,
            "Upgrade request required".to_owned(),
        )),
    }
}
