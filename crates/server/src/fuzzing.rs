//! Entry points of the fuzz targets in `fuzz/`: the readers of what clients and issuers of tokens
//! send.

use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use jsonwebtoken::jwk::JwkSet;
use pandaemon_machinery::{Kind, scheme};
use pandaemon_runtime::{files::private_dir, upgrade::upgrade_token};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde_json::Value;

use crate::{
    auth::{Attributes, User, bearer_token, front_proxy, impersonation, verb_of},
    authenticators::oidc::{config::AuthenticationConfiguration, signing_key},
    http::{
        negotiate,
        request::{self, Query, ResourcePath, Target},
    },
    jwt_provider,
    pki::{self, ServiceAccountKeys},
    registry::{
        delete::{DeleteAction, delete_action},
        options::{DeleteOptions, WriteOptions},
        read::ListOptions,
    },
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
    let _protocol = upgrade_token(&headers);
}

/// Reads the first line of a request, such as `GET /api/v1/pods?watch=true`: what it is about, and
/// the options of all verbs.
///
/// # Panics
/// If a path or a query that is written again is another one.
pub fn read_request_line(line: &str) {
    let (method, url) = line.split_once(' ').unwrap_or((line, ""));
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let (target, query) = (request::parse_path(path), Query::parse(Some(query)));
    assert_eq!(Query::parse(Some(&query.encode())), query);
    let Ok(method) = Method::from_bytes(method.as_bytes()) else {
        return;
    };
    let verb = match &target {
        Target::Resource(path) => request::verb(&method, path, &query),
        _ => None,
    };
    let name = verb_of(&method, &target, verb);
    let fields = request::field_selector(&name, &target, &query);
    let user = User::default();
    let _attributes = Attributes::of_request(&user, &name, &target, path, fields.as_ref());
    let _deletion = DeleteOptions::parse(&query, None);
    let Target::Resource(parts) = target else {
        return;
    };
    // A slash within a segment of the tail is not told from one between segments.
    if !path.to_ascii_lowercase().contains("%2f") {
        assert_eq!(
            request::parse_path(&written(&parts)),
            Target::Resource(parts.clone())
        );
    }
    if let Some(verb) = verb {
        let _write = WriteOptions::parse(verb, false, &query);
        let _apply = WriteOptions::parse(verb, true, &query);
    }
    let (group, version) = (&parts.group, &parts.version);
    if let Some(kind) = scheme::built_in().find_resource(group, version, &parts.resource) {
        let namespace = parts.namespace.as_deref().unwrap_or_default();
        for is_watch in [false, true] {
            let _list = ListOptions::parse(kind, namespace, &query, is_watch);
        }
    }
}

/// The path of a URL with these parts.
fn written(path: &ResourcePath) -> String {
    let group: &[&str] = match path.group.as_str() {
        "" => &["api"],
        group => &["apis", group],
    };
    let mut segments = [group, &[&path.version]].concat();
    segments.extend(path.watch_prefix.then_some("watch"));
    if let Some(namespace) = &path.namespace {
        segments.extend(["namespaces", namespace]);
    }
    segments.push(&path.resource);
    segments.extend(path.name.as_deref());
    segments.extend(path.subresource.as_deref());
    segments.extend(path.tail.split('/').filter(|part| !part.is_empty()));
    let encoded = segments
        .iter()
        .map(|part| percent_encode(part.as_bytes(), NON_ALPHANUMERIC));
    encoded.map(|part| format!("/{part}")).collect()
}

/// Plans the deletion of an object with these options (JSON, or null), again and again.
///
/// # Panics
/// If that goes on for ever.
pub fn plan_deletion(kind: &Kind, object: &Value, options: &Value) {
    let options = Some(options).filter(|options| !options.is_null());
    let Ok(options) = DeleteOptions::parse(&Query::default(), options) else {
        return;
    };
    let delete = |object: &Value| delete_action(kind, object, &options, Timestamp::UNIX_EPOCH);
    if let DeleteAction::Mark(once) = delete(object)
        && let DeleteAction::Mark(twice) = delete(&once)
    {
        assert_eq!(delete(&twice), DeleteAction::Keep);
    }
}

/// Reads an `AuthenticationConfiguration`, and whom its issuers take the owner of these claims (a
/// JSON object) for, if they have signed them.
///
/// # Panics
/// If a user is named that no claim names.
pub fn read_claims(configuration: &str, claims: &str) {
    let Ok(file) = AuthenticationConfiguration::parse(configuration, &[]) else {
        return;
    };
    let Ok(Value::Object(claims)) = serde_json::from_str(claims) else {
        return;
    };
    for issuer in &file.jwt {
        let Ok(user) = issuer.user(&claims) else {
            continue;
        };
        let mut texts = claims.values().filter_map(Value::as_str);
        assert!(texts.any(|text| user.name.ends_with(text)), "{user:?}");
    }
}

/// Looks for the key of a set (JSON) that has signed a token.
pub fn find_signing_key(keys: &str, token: &str) {
    jwt_provider::install();
    let keys = serde_json::from_str::<JwkSet>(keys);
    if let (Ok(keys), Ok(header)) = (keys, jsonwebtoken::decode_header(token)) {
        let _key = signing_key(&keys.keys, &header, token);
    }
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
