//! Connections that are upgraded: what a request asks for.

use http::{HeaderMap, header};

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

#[cfg(test)]
mod tests {
    use super::*;

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
