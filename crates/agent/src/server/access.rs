//! Who may do what at the kubelet server. As in a kubelet with webhook authentication and
//! authorization, the control plane decides: a TokenReview says whose a bearer token is, a
//! SubjectAccessReview whether a user may. While the control plane cannot be asked, requests whose
//! answer is not known from the last seconds are refused.

mod attributes;
mod cache;
mod client_certificate;

use std::time::Duration;

use http::{HeaderMap, Method, header};
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};
use sha2::{Digest as _, Sha256};

use self::{attributes::Attributes, cache::ReviewCache};
use crate::clock::Clock;

pub(super) use client_certificate::ClientCertificate;

/// How long the user of a token is known.
const TOKEN_TTL: Duration = Duration::from_secs(10);
/// How long is known that a token is not valid.
const INVALID_TOKEN_TTL: Duration = Duration::from_secs(2);
/// How long is known that a user may.
const ALLOWED_TTL: Duration = Duration::from_secs(10);
/// How long is known that a user may not.
const DENIED_TTL: Duration = Duration::from_secs(5);
/// Timeout of one review.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks the control plane about requests, and remembers the answers for seconds.
pub(super) struct Access {
    client: Client,
    clock: Clock,
    node: String,
    /// The users of tokens, by hash; `None` for one that is not valid.
    users: ReviewCache<Option<UserInfo>>,
    /// Whether a user may, by the hash of the question.
    decisions: ReviewCache<bool>,
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No credentials, or none that are valid.
    Unauthorized,
    /// The user may not.
    Forbidden(String),
    /// The control plane cannot be asked.
    Unavailable(&'static str),
}

impl Access {
    pub(super) fn new(client: Client, clock: Clock, node: &str) -> Self {
        Self {
            client,
            clock,
            node: node.to_owned(),
            users: ReviewCache::default(),
            decisions: ReviewCache::default(),
        }
    }

    /// Whether the client of this connection may send a request with this method, path and header.
    ///
    /// # Errors
    /// If it may not, or that cannot be found out.
    pub(super) async fn check(
        &self,
        certificate: Option<&ClientCertificate>,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        let now = self.clock.now();
        let user = match (certificate, bearer_token(headers)) {
            (Some(certificate), _) if !certificate.is_expired(now) => certificate.user.clone(),
            (_, Some(token)) => self.user_of(token).await?,
            _ => return Err(Refusal::Unauthorized),
        };
        let attributes = Attributes::of(method, path);
        for subresource in attributes.subresources {
            if self.may(&user, attributes.verb, subresource).await? {
                return Ok(());
            }
        }
        Err(Refusal::Forbidden(format!(
            "Forbidden (user={}, verb={}, resource=nodes, subresource(s)=[{}])",
            user.username.unwrap_or_default(),
            attributes.verb,
            attributes.subresources.join(" ")
        )))
    }

    async fn user_of(&self, token: &str) -> Result<UserInfo, Refusal> {
        let (key, now) = (Sha256::digest(token.as_bytes()).into(), self.clock.now());
        if let Some(known) = self.users.get(&key, now) {
            return known.ok_or(Refusal::Unauthorized);
        }
        let spec = TokenReviewSpec {
            token: Some(token.to_owned()),
            audiences: None,
        };
        let review = TokenReview {
            spec,
            ..TokenReview::default()
        };
        let text = "the API server cannot be asked whose the token is; try again later";
        let reviewed = self.ask(review, text).await?;
        let status = reviewed.status.unwrap_or_default();
        let user = status
            .user
            .filter(|_| status.authenticated == Some(true))
            .filter(|user| user.username.as_ref().is_some_and(|name| !name.is_empty()));
        let ttl = match user {
            Some(_) => TOKEN_TTL,
            None => INVALID_TOKEN_TTL,
        };
        self.users.insert(key, user.clone(), now, ttl);
        user.ok_or(Refusal::Unauthorized)
    }

    async fn may(&self, user: &UserInfo, verb: &str, subresource: &str) -> Result<bool, Refusal> {
        let attributes = ResourceAttributes {
            verb: Some(verb.to_owned()),
            version: Some("v1".to_owned()),
            resource: Some("nodes".to_owned()),
            subresource: Some(subresource.to_owned()),
            name: Some(self.node.clone()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: user.username.clone(),
            uid: user.uid.clone(),
            groups: user.groups.clone(),
            extra: user.extra.clone(),
            resource_attributes: Some(attributes),
            non_resource_attributes: None,
        };
        let text = "the API server cannot be asked whether the user may do this; try again later";
        let question = serde_json::to_vec(&spec).map_err(|_| Refusal::Unavailable(text))?;
        let (key, now) = (Sha256::digest(question).into(), self.clock.now());
        if let Some(known) = self.decisions.get(&key, now) {
            return Ok(known);
        }
        let review = SubjectAccessReview {
            spec,
            ..SubjectAccessReview::default()
        };
        let reviewed = self.ask(review, text).await?;
        let status = reviewed.status.unwrap_or_default();
        let allowed = status.allowed && status.denied != Some(true);
        let ttl = if allowed { ALLOWED_TTL } else { DENIED_TTL };
        self.decisions.insert(key, allowed, now, ttl);
        Ok(allowed)
    }

    /// Sends a review. What went wrong is for the log only: the client may be anybody.
    async fn ask<K>(&self, review: K, text: &'static str) -> Result<K, Refusal>
    where
        K: kube::Resource<DynamicType = ()> + serde::Serialize + serde::de::DeserializeOwned,
        K: Clone + std::fmt::Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let params = PostParams::default();
        let call = api.create(&params, &review);
        match tokio::time::timeout(REVIEW_TIMEOUT, call).await {
            Ok(Ok(reviewed)) => Ok(reviewed),
            Ok(Err(error)) => {
                tracing::warn!(%error, "refused a request to the kubelet server: {text}");
                Err(Refusal::Unavailable(text))
            }
            Err(_elapsed) => {
                tracing::warn!(
                    "refused a request to the kubelet server: {text} (no answer within {REVIEW_TIMEOUT:?})"
                );
                Err(Refusal::Unavailable(text))
            }
        }
    }
}

/// The bearer token of a request, if it has one.
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::bearer_token;

    #[test]
    fn a_bearer_token_is_read_from_the_header() {
        for (value, expected) in [
            ("Bearer a.b", Some("a.b")),
            ("bearer  a ", Some("a")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Basic a", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("Authorization", HeaderValue::from_static(value));
            assert_eq!(bearer_token(&headers), expected, "{value:?}");
        }
        assert_eq!(bearer_token(&HeaderMap::new()), None);
    }
}
