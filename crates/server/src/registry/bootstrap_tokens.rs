//! Bootstrap tokens: Secrets with which machines ask for the certificates of a node.
//! Upstream: `plugin/pkg/auth/authenticator/token/bootstrap`, `cluster-bootstrap/util/secrets`,
//! `pkg/controller/bootstrap/tokencleaner.go`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use pandaemon_machinery::status::Result;
use serde_json::Value;

use super::{Registry, kinds, meta, options::DeleteOptions};
use crate::{
    auth::{BOOTSTRAP_USER, BOOTSTRAPPERS, NODE_NAME, User},
    cache::watch_cache::{WatchCache, key},
    pki::constant_time_eq,
};

/// The namespace of the Secrets.
const NAMESPACE: &str = "kube-system";
/// What precedes the ID in the name of a Secret.
const PREFIX: &str = "bootstrap-token-";
/// The type of the Secrets.
const TYPE: &str = "bootstrap.kubernetes.io/token";
/// The key of the name of the only node that the token is for. Ours.
const NODE_KEY: &str = "node-name";
/// The longest name of an extra group after its prefix.
const MAX_GROUP: usize = 256;

/// The user of the bootstrap token with this ID and secret.
///
/// # Errors
/// Why the token is refused, without the secret.
pub(crate) fn find_user(
    cache: &WatchCache,
    id: &str,
    secret: &str,
    now: Timestamp,
) -> Result<User, String> {
    let name = format!("{PREFIX}{id}");
    let kind = kinds::secrets().map_err(|status| status.message)?;
    let secrets = cache.of(kind);
    let found = secrets.and_then(|secrets| secrets.get(&key(kind, NAMESPACE, &name)));
    let found = found.ok_or("there is no such bootstrap token")?;
    let value = found.value().map_err(|error| error.to_string())?;
    user(&value, id, secret, now).map_err(|why| format!("bootstrap token {id:?} {why}"))
}

impl Registry {
    /// Deletes bootstrap tokens that have expired.
    ///
    /// # Errors
    /// The status of a failed deletion.
    pub(crate) async fn expire_bootstrap_tokens(&self, now: Timestamp) -> Result<()> {
        let kind = kinds::secrets()?;
        let secrets = self.cache.of(kind).into_iter();
        let secrets = secrets.flat_map(|cache| cache.every());
        for secret in secrets {
            let is_expired = secret.namespace() == NAMESPACE
                && secret.name().starts_with(PREFIX)
                && secret.value().is_ok_and(|value| {
                    meta::text_at(&value, &["type"]) == TYPE && has_expired(&value, now)
                });
            if !is_expired {
                continue;
            }
            let call = self.internal_call(kind, NAMESPACE, secret.name());
            match self.delete(&call, &DeleteOptions::default()).await {
                Err(status) if status.code != 404 => return Err(status),
                _ => tracing::info!(secret = secret.name(), "deleted an expired bootstrap token"),
            }
        }
        Ok(())
    }
}

/// A field of the data, as text; empty if it does not exist.
fn data(secret: &Value, key: &str) -> String {
    let text = meta::text_at(secret, &["data", key]);
    let bytes = STANDARD.decode(text).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

/// Whether the time of expiration is over, or cannot be read.
fn has_expired(secret: &Value, now: Timestamp) -> bool {
    match &*data(secret, "expiration") {
        "" => false,
        text => text.parse::<Timestamp>().map_or(true, |at| at <= now),
    }
}

/// The user of a token; the reason for a person if it is refused. Pure.
fn user(value: &Value, id: &str, secret: &str, now: Timestamp) -> Result<User, String> {
    if meta::is_terminating(value) {
        return Err("is deleted and awaiting removal".into());
    }
    if meta::text_at(value, &["type"]) != TYPE {
        return Err(format!("has invalid type, expected {TYPE}"));
    }
    let known = data(value, "token-secret");
    if known.is_empty() || !constant_time_eq(&known, secret) {
        return Err("has another secret".into());
    }
    if data(value, "token-id") != id {
        return Err("has invalid value for key token-id".into());
    }
    if has_expired(value, now) {
        return Err("has expired".into());
    }
    if data(value, "usage-bootstrap-authentication") != "true" {
        return Err("is not marked usage-bootstrap-authentication=true".into());
    }
    let mut groups = vec![BOOTSTRAPPERS.to_owned()];
    let extra = data(value, "auth-extra-groups");
    for group in extra.split(',').filter(|_| !extra.is_empty()) {
        if !is_bootstrap_group(group) {
            return Err("has invalid value for key auth-extra-groups".into());
        }
        groups.push(group.to_owned());
    }
    groups.sort_unstable();
    groups.dedup();
    let mut user = User::known(&format!("{BOOTSTRAP_USER}{id}"), &groups);
    let node = data(value, NODE_KEY);
    if !node.is_empty() {
        user.extra.insert(NODE_NAME.to_owned(), vec![node]);
    }
    Ok(user)
}

/// Whether a token may put its user in this group: `system:bootstrappers:[a-z0-9:-]*[a-z0-9]`.
fn is_bootstrap_group(group: &str) -> bool {
    let name = group.strip_prefix("system:bootstrappers:");
    name.is_some_and(|name| {
        let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        name.len() <= MAX_GROUP
            && name.ends_with(is_letter)
            && name.chars().all(|c| is_letter(c) || matches!(c, ':' | '-'))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_are_checked_as_upstream_does() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let token = |changes: &[(&str, &str)]| {
            let mut value = json!({"type": TYPE, "metadata": {}, "data": {}});
            let base = [
                ("token-id", "abcdef"),
                ("token-secret", "0123456789abcdef"),
                ("usage-bootstrap-authentication", "true"),
            ];
            for (key, text) in base.iter().chain(changes) {
                value["data"][*key] = STANDARD.encode(text).into();
            }
            value
        };
        let found =
            |changes: &[(&str, &str)]| user(&token(changes), "abcdef", "0123456789abcdef", now);
        let plain = found(&[]).unwrap();
        assert_eq!(plain.name, "system:bootstrap:abcdef");
        assert_eq!(
            plain.groups,
            ["system:bootstrappers", "system:authenticated"]
        );
        let bound = found(&[("node-name", "n1"), ("expiration", "2026-01-01T00:00:01Z")]);
        assert_eq!(bound.unwrap().extra[NODE_NAME], ["n1"]);
        let grouped = found(&[("auth-extra-groups", "system:bootstrappers:a:b-1")]).unwrap();
        assert!(grouped.is_in("system:bootstrappers:a:b-1"));
        let refused = [
            ("token-secret", "0123456789abcdeg"),
            ("token-secret", ""),
            ("token-id", "other1"),
            ("expiration", "2026-01-01T00:00:00Z"),
            ("expiration", "tomorrow"),
            ("usage-bootstrap-authentication", "false"),
            ("auth-extra-groups", "system:masters"),
            ("auth-extra-groups", "system:bootstrappers:a,system:nodes"),
            ("auth-extra-groups", "system:bootstrappers:"),
        ];
        for change in refused {
            assert!(found(&[change]).is_err(), "{change:?}");
        }
        let mut other = token(&[]);
        other["type"] = "Opaque".into();
        assert!(user(&other, "abcdef", "0123456789abcdef", now).is_err());
    }
}
