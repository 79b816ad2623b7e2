//! The token manager: service account tokens for projected volumes, renewed before they expire.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ServiceAccount, ServiceAccountTokenProjection};
use kube::{Api, api::PostParams};

use super::Occasion;
use crate::{context::Context, images::archive::digest, pod::PodRef};

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the start of a container waits for a new token if there is an old one.
const TIMEOUT_AT_START: Duration = Duration::from_secs(1);
/// The lifetime in seconds of a token whose pod asks for none; the API server's default.
const DEFAULT_LIFETIME: i64 = 3600;
/// A token is renewed after this many seconds, however long it is valid; the kubelet's `maxTTL`.
const MAX_AGE: i64 = 24 * 3600;

/// Requests the tokens of one pod, and saves them encrypted: a node must be able to start its pods
/// without the control plane.
pub(super) struct TokenManager<'a> {
    pub(super) context: &'a Context,
    pub(super) pod: &'a PodRef,
    pub(super) occasion: Occasion,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct CachedToken {
    token: String,
    /// When a new one is requested, in seconds since 1970.
    renew: i64,
}

impl TokenManager<'_> {
    /// A valid token: the saved one, or a new one if that is due for renewal.
    pub(super) async fn get(
        &self,
        wanted: &ServiceAccountTokenProjection,
    ) -> Result<String, String> {
        let sealed = &self.context.sealed;
        let (audience, seconds) = (wanted.audience.as_deref(), wanted.expiration_seconds);
        let key = format!("{:?} {:?}", audience.unwrap_or_default(), seconds);
        let key = digest(key.as_bytes()).replace("sha256:", "");
        let (uid, name) = (&self.pod.uid, format!("token/{}/{key}", self.pod.uid));
        let path = self.context.paths.pod(uid).join("tokens").join(key);
        let cached: Option<CachedToken> = sealed
            .read(&path, &name)
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let now = self.context.clock.now() / 1000;
        let timeout = match &cached {
            Some(cached) if now < cached.renew => return Ok(cached.token.clone()),
            Some(_) if self.occasion == Occasion::Start => TIMEOUT_AT_START,
            Some(_) | None => TIMEOUT,
        };
        match (self.request(wanted, timeout).await, cached) {
            (Ok(fresh), _) => {
                let saved = serde_json::to_vec(&fresh)
                    .map_err(std::io::Error::other)
                    .and_then(|bytes| sealed.replace(&path, &name, &bytes));
                if let Err(error) = saved {
                    tracing::warn!(path = %path.display(), %error, "cannot save a token");
                }
                Ok(fresh.token)
            }
            // The old token may still be valid while the API server cannot be reached.
            (Err(_), Some(cached)) => Ok(cached.token),
            (Err(error), None) => Err(format!("failed to fetch token: {error}")),
        }
    }

    async fn request(
        &self,
        wanted: &ServiceAccountTokenProjection,
        timeout: Duration,
    ) -> Result<CachedToken, String> {
        let account = self
            .pod
            .spec
            .service_account_name
            .as_deref()
            .unwrap_or("default");
        let client = self.context.client.clone();
        let api: Api<ServiceAccount> = Api::namespaced(client, &self.pod.namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: wanted.audience.clone().into_iter().collect(),
                expiration_seconds: wanted.expiration_seconds,
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(self.pod.name.clone()),
                    uid: Some(self.pod.uid.clone()),
                }),
            },
            ..TokenRequest::default()
        };
        let params = PostParams::default();
        let call = api.create_token_request(account, &params, &request);
        let response = tokio::time::timeout(timeout, call).await;
        let response = response.map_err(|_| "the API server did not respond in time".to_owned())?;
        let response = response.map_err(error_message)?;
        let status = response.status.ok_or("the response holds no token")?;
        // All of these are times of the server: this node's clock may be wrong.
        let expires = status.expiration_timestamp.0.as_second();
        let lifetime = response.spec.expiration_seconds;
        let lifetime = lifetime.unwrap_or(DEFAULT_LIFETIME);
        Ok(CachedToken {
            token: status.token,
            // After 80 % of its lifetime, as in the kubelet.
            renew: expires - lifetime + (lifetime * 4 / 5).min(MAX_AGE),
        })
    }
}

/// The message of the server without the client's prefix.
fn error_message(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message,
        other => other.to_string(),
    }
}
