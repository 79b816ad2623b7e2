//! Entry points of the fuzz targets in `fuzz/`: the readers of what clients send before anyone
//! knows who they are.

use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use pandaemon_runtime::files::private_dir;

use crate::{
    auth::{bearer_token, front_proxy, impersonation},
    handlers::proxy,
    http::negotiate,
    pki::{self, ServiceAccountKeys},
    service_accounts::{ServiceAccountOptions, TokenIssuer},
};

/// Reads the headers of a request, one a line: impersonation, credentials, media types, upgrades.
pub fn read_headers(lines: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let at = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(at.unwrap_or(line.len()));
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let _user = impersonation::requested(&headers);
    let _proxied = front_proxy::user(front_proxy::ALLOWED_NAMES[0], &headers);
    let _token = bearer_token(&headers);
    let _form = negotiate::accepted(&headers);
    let _version = negotiate::aggregated_discovery(&headers);
    let _media = negotiate::body_media(&headers);
    let _protocol = proxy::upgrade_token(&headers);
}

/// Verifies the tokens of service accounts.
#[derive(Debug)]
pub struct WebTokens(TokenIssuer);

impl WebTokens {
    /// With the keys of a data directory, which are made if there are none.
    ///
    /// # Errors
    /// If they cannot be read or made.
    pub fn open(data: &Path) -> Result<Self, pki::Error> {
        let path = data.join("pki");
        private_dir(&path).map_err(|source| pki::Error::File {
            action: "create",
            path,
            source,
        })?;
        let keys = ServiceAccountKeys::open(data, Timestamp::now())?;
        Ok(Self(TokenIssuer::new(
            keys,
            ServiceAccountOptions::default(),
        )))
    }

    /// Whether one of the keys has signed this token. Nobody has got one of them.
    #[must_use]
    pub fn accepts(&self, token: &str) -> bool {
        self.0.verify(token).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    /// A line as it may be sent: a known name or any, and any value.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        let names = vec![
            "impersonate-user",
            "impersonate-group",
            "impersonate-uid",
            "impersonate-extra-%ff",
            "x-remote-user",
            "x-remote-group",
            "x-remote-extra-%ff",
            "authorization",
            "accept",
            "content-type",
            "upgrade",
            "connection",
        ];
        let name = prop_oneof![
            prop::sample::select(names).prop_map(str::to_owned),
            "[a-z%-]{0,9}"
        ];
        let known =
            "(application/(json|yaml|vnd.kubernetes.protobuf)|Bearer |[;,=*/q.0-9a-z]){0,8}";
        let value = prop_oneof![
            known.prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..40)
        ];
        (name, value).prop_map(|(name, value)| [name.as_bytes(), b":", &value].concat())
    }

    proptest! {
        #[test]
        fn no_headers_panic(lines in prop::collection::vec(line(), 0..8)) {
            read_headers(&lines.join(&b'\n'));
        }

        #[test]
        fn what_nobody_has_signed_is_no_token(
            header in "[ -~]{0,60}", claims in "[ -~]{0,60}", bytes in prop::collection::vec(any::<u8>(), 64),
        ) {
            thread_local!(static TOKENS: (tempfile::TempDir, WebTokens) = {
                let data = tempfile::tempdir().unwrap();
                let tokens = WebTokens::open(data.path()).unwrap();
                (data, tokens)
            });
            let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            let issuer = "{\"iss\":\"https://kubernetes.default.svc.cluster.local\"}";
            for header in [&*header, "{\"alg\":\"ES256\"}", "{\"alg\":\"none\"}"] {
                for claims in [&*claims, issuer] {
                    let token = format!("{}.{}.{}", text(header.as_bytes()), text(claims.as_bytes()), text(&bytes));
                    TOKENS.with(|(_, tokens)| assert!(!tokens.accepts(&token), "{token}"));
                }
            }
        }
    }
}
