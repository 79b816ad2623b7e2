//! The token manager: service account tokens for projected volumes, renewed before they expire.

use std::{fs, time::Duration};

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ServiceAccount, ServiceAccountTokenProjection};
use kube::{Api, api::PostParams};

use super::Occasion;
use crate::{context::Context, files, pod::PodRef};

/// Requests the tokens of one pod.
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

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the start of a container waits for a new token if there is an old one.
const TIMEOUT_AT_START: Duration = Duration::from_secs(1);

impl TokenManager<'_> {
    /// A valid token: the saved one, or a new one if that is due for renewal.
    pub(super) async fn get(
        &self,
        wanted: &ServiceAccountTokenProjection,
    ) -> Result<String, String> {
        let now = self.context.clock.now() / 1000;
        let name = wanted.path.replace('/', "~");
        let path = self
            .context
            .paths
            .pod(&self.pod.uid)
            .join("tokens")
            .join(name);
        let cached: Option<CachedToken> = fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(cached) = &cached
            && now < cached.renew
        {
            return Ok(cached.token.clone());
        }
        let timeout = match &cached {
            Some(_) if self.occasion == Occasion::Start => TIMEOUT_AT_START,
            Some(_) | None => TIMEOUT,
        };
        match (self.request(wanted, now, timeout).await, cached) {
            (Ok(fresh), _) => {
                let bytes = serde_json::to_vec(&fresh).map_err(|error| error.to_string())?;
                files::replace(&path, &bytes, 0o600).map_err(|error| error.to_string())?;
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
        now: i64,
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
        let status = response.map_err(error_message)?.status;
        let status = status.ok_or("the response holds no token")?;
        // Renewed after 80 % of its lifetime, as in the kubelet.
        let lifetime = status.expiration_timestamp.0.as_second() - now;
        Ok(CachedToken {
            token: status.token,
            renew: now + lifetime * 4 / 5,
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
