//! The tokens of service accounts. Upstream: `pkg/serviceaccount/jwt.go` and `claims.go`.

mod last_used;
mod metrics;

use std::{fmt, sync::Arc};

use futures::future::Either;
use jiff::{SignedDuration, Timestamp};
use pandaemon_machinery::{KindRef, Status, status};
use pandaemon_types::Labels as _;
use serde::Deserialize;

use self::last_used::Use;
pub(super) use self::metrics::TokenMetrics;
use crate::{
    auth::{
        TokenAuthenticator, TokenError, TokenFuture, TokenInfo, TokenResult, User, known,
        service_account,
    },
    cache::object::Object,
    registry::{Registry, kinds},
    service_accounts::{Claims, KubernetesClaims, LegacyClaims, ObjectRef, TokenIssuer},
};

/// How far clocks may differ, and how long a token is valid after its object should be gone.
const LEEWAY: SignedDuration = SignedDuration::from_mins(1);

/// What the keys of `extra` begin with.
const EXTRA: &str = "authentication.kubernetes.io/";

/// The label of a Secret whose token counts no more. Upstream's clean-up of unused Secrets sets it.
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// Knows the tokens that the server has issued for service accounts, as long as the account, and
/// what the token is bound to, exist.
#[derive(Debug)]
pub(super) struct ServiceAccountTokens {
    pub(super) issuer: Arc<TokenIssuer>,
    pub(super) registry: Arc<Registry>,
    pub(super) metrics: TokenMetrics,
}

impl TokenAuthenticator for ServiceAccountTokens {
    fn authenticate_token<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> TokenFuture<'a> {
        let mut used = None;
        let result = self.authenticate(token, audiences, Timestamp::now(), &mut used);
        match used {
            None => known(result),
            // Once a day.
            Some(used) => Either::Right(Box::pin(async move {
                used.record(&self.registry).await;
                result
            })),
        }
    }
}

/// Why an object does not hold up a token.
fn invalid(why: impl Into<String>) -> TokenError {
    TokenError::Invalid(why.into())
}

fn invalidated() -> TokenError {
    invalid("service account token has been invalidated")
}

impl ServiceAccountTokens {
    /// The user of a token. `used` is set if its Secret is to be labelled.
    fn authenticate(
        &self,
        token: &str,
        audiences: &[String],
        now: Timestamp,
        used: &mut Option<Use>,
    ) -> TokenResult {
        let claims = self.issuer.verify(token)?;
        if claims.aud.is_empty() {
            self.metrics.count_legacy();
        }
        let own = match &*claims.aud {
            [] => &self.issuer.options.api_audiences,
            named => named,
        };
        let wanted = own.iter().filter(|own| audiences.contains(own));
        let common: Vec<String> = wanted.cloned().collect();
        if common.is_empty() {
            return Err(invalid(format!(
                "token audiences {} is invalid for the target audiences {}",
                Quoted(own),
                Quoted(audiences)
            )));
        }
        let user = match (&claims.kubernetes, &claims.legacy) {
            (Some(bound), _) => {
                check_times(&claims, now)?;
                self.check_objects(bound, now)?;
                self.metrics.count(bound.warnafter, now);
                user_of(bound, claims.credential_id())
            }
            (None, Some(legacy)) => {
                let secret = self.check_secret(&claims, legacy, token)?;
                *used = Use::of(&secret, Existing::read(&secret)?.uid, now);
                check_label(&secret, legacy)?;
                user(&legacy.namespace, &legacy.account, &legacy.account_uid)
            }
            (None, None) => return Err(TokenError::Unknown),
        };
        Ok(TokenInfo {
            user,
            audiences: common,
        })
    }

    /// Checks that account, Secret, pod and node exist, and are those that the token names.
    fn check_objects(&self, claims: &KubernetesClaims, now: Timestamp) -> Result<(), TokenError> {
        let (namespace, account) = (&*claims.namespace, &claims.serviceaccount);
        let found = self.account(namespace, &account.name)?;
        if found.uid != account.uid {
            return Err(invalid(format!(
                "service account UID ({}) does not match claim ({})",
                found.uid, account.uid
            )));
        }
        if found.is_over(now) {
            return Err(invalid(format!(
                "service account {namespace}/{} has been deleted",
                account.name
            )));
        }
        let check = |kind: status::Result<&KindRef>, namespace, wanted: &ObjectRef, names| {
            let object = kind
                .ok()
                .and_then(|k| self.find(k, namespace, &wanted.name));
            let found = Existing::read(object.as_deref().ok_or_else(invalidated)?)?;
            let (word, claim) = names;
            match found.uid == wanted.uid {
                true if found.is_over(now) => Err(invalidated()),
                true => Ok(()),
                false => Err(invalid(format!(
                    "{word} UID ({}) does not match service account {claim} ref claim ({})",
                    found.uid, wanted.uid
                ))),
            }
        };
        if let Some(secret) = &claims.secret {
            check(kinds::secrets(), namespace, secret, ("secret", "secret"))?;
        }
        match (&claims.pod, &claims.node) {
            (Some(pod), _) => check(kinds::pods(), namespace, pod, ("pod", "pod")),
            (None, Some(node)) => check(kinds::nodes(), "", node, ("node", "node")),
            (None, None) => Ok(()),
        }
    }

    /// Checks that a legacy token is that of its Secret, and that its account exists. Returns the
    /// Secret.
    fn check_secret(
        &self,
        claims: &Claims,
        legacy: &LegacyClaims,
        token: &str,
    ) -> Result<Arc<Object>, TokenError> {
        let (namespace, account) = (&*legacy.namespace, &*legacy.account);
        if claims.sub != service_account::user_name(namespace, account) {
            return Err(invalid("sub claim is invalid"));
        }
        let gone = || invalid("Token has been invalidated");
        let secret = kinds::secrets().ok();
        let secret = secret.and_then(|kind| self.find(kind, namespace, &legacy.secret));
        let secret = secret.filter(|secret| !secret.is_terminating());
        let secret = secret.ok_or_else(gone)?;
        if !holds(&secret, token) {
            return Err(invalid("Token does not match server's copy"));
        }
        let found = self.account(namespace, account)?;
        if found.deletion_timestamp.is_some() {
            return Err(invalid(format!(
                "ServiceAccount {namespace}/{account} has been deleted"
            )));
        }
        if found.uid != legacy.account_uid {
            return Err(invalid(format!(
                "ServiceAccount UID ({}) does not match claim ({})",
                found.uid, legacy.account_uid
            )));
        }
        Ok(secret)
    }

    fn account(&self, namespace: &str, name: &str) -> Result<Existing, TokenError> {
        let kind = kinds::service_accounts().map_err(|status| invalid(status.message))?;
        let account = self.find(kind, namespace, name);
        let missing = || invalid(Status::not_found(kind, name).message);
        Existing::read(&*account.ok_or_else(missing)?)
    }

    fn find(&self, kind: &KindRef, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.registry.find(kind, namespace, name)
    }
}

/// The texts as Go prints a list of strings with `%q`.
struct Quoted<'a>(&'a [String]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(|text| format!("{text:?}")).collect();
        write!(f, "[{}]", texts.join(" "))
    }
}

/// What is looked at of an object that exists.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Existing {
    #[serde(default)]
    uid: String,
    /// When it should be gone.
    #[serde(default)]
    deletion_timestamp: Option<Timestamp>,
}

impl Existing {
    fn read(object: &Object) -> Result<Self, TokenError> {
        object
            .metadata()
            .map_err(|error| invalid(error.to_string()))
    }

    /// Whether it should be gone for longer than [`LEEWAY`].
    fn is_over(&self, now: Timestamp) -> bool {
        let age = self.deletion_timestamp.map(|end| now.duration_since(end));
        age.is_some_and(|age| age > LEEWAY)
    }
}

fn check_times(claims: &Claims, now: Timestamp) -> Result<(), TokenError> {
    let (now, leeway) = (now.as_second(), LEEWAY.as_secs());
    let is_future = |time: Option<i64>| time.is_some_and(|time| time > now + leeway);
    if is_future(claims.nbf) {
        return Err(invalid("service account token is not valid yet"));
    }
    if claims.exp.is_none_or(|end| end < now - leeway) {
        return Err(invalid("service account token has expired"));
    }
    match is_future(claims.iat) {
        true => Err(invalid("service account token is issued in the future")),
        false => Ok(()),
    }
}

/// Checks that the token of a Secret is not marked as invalid.
fn check_label(secret: &Object, legacy: &LegacyClaims) -> Result<(), TokenError> {
    if secret.label(INVALID_SINCE).unwrap_or_default().is_empty() {
        return Ok(());
    }
    let LegacyClaims {
        namespace,
        secret,
        account,
        ..
    } = legacy;
    Err(invalid(format!(
        "the token in secret {namespace}/{secret} for service account {namespace}/{account} has been marked invalid. \
         Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the \
         '{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
    )))
}

/// Whether a Secret contains this token.
fn holds(secret: &Object, token: &str) -> bool {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let stored = secret.value().ok();
    let stored = stored.as_ref().and_then(|s| s["data"]["token"].as_str());
    stored.is_some_and(|stored| crate::pki::constant_time_eq(stored, &STANDARD.encode(token)))
}

/// The user of a service account. Upstream: `ServiceAccountInfo.UserInfo`.
fn user(namespace: &str, name: &str, uid: &str) -> User {
    User {
        uid: uid.to_owned(),
        ..User::known(
            &service_account::user_name(namespace, name),
            &service_account::groups(namespace),
        )
    }
}

fn user_of(claims: &KubernetesClaims, credential_id: Option<String>) -> User {
    let account = &claims.serviceaccount;
    let mut user = user(&claims.namespace, &account.name, &account.uid);
    let mut add = |key: &str, value: String| {
        if !value.is_empty() {
            user.extra.insert(format!("{EXTRA}{key}"), vec![value]);
        }
    };
    add("credential-id", credential_id.unwrap_or_default());
    if let Some(pod) = &claims.pod {
        add("pod-name", pod.name.clone());
        add("pod-uid", pod.uid.clone());
    }
    if let Some(node) = &claims.node {
        add("node-name", node.name.clone());
        add("node-uid", node.uid.clone());
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn times_are_compared_with_a_minute_of_leeway() {
        let times = |issued: i64, begins: i64, ends: Option<i64>| Claims {
            iat: Some(issued),
            nbf: Some(begins),
            exp: ends,
            ..Claims::default()
        };
        let table = [
            (times(900, 900, Some(1100)), ""),
            (times(1060, 1060, Some(940)), ""),
            (
                times(900, 900, Some(939)),
                "service account token has expired",
            ),
            (times(900, 900, None), "service account token has expired"),
            (
                times(900, 1061, Some(1100)),
                "service account token is not valid yet",
            ),
            (
                times(1061, 900, Some(1100)),
                "service account token is issued in the future",
            ),
        ];
        for (claims, expected) in table {
            let found = check_times(&claims, at(1000)).err();
            let found = found.map(|error| error.to_string());
            assert_eq!(found.unwrap_or_default(), expected);
        }
    }

    #[test]
    fn an_object_counts_for_a_minute_after_it_should_be_gone() {
        let existing = |end| Existing {
            uid: String::new(),
            deletion_timestamp: end,
        };
        for (end, expected) in [
            (None, false),
            (Some(2000), false),
            (Some(940), false),
            (Some(939), true),
        ] {
            assert_eq!(existing(end.map(at)).is_over(at(1000)), expected, "{end:?}");
        }
    }
}
