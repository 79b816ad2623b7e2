//! Tokens of service accounts in projected volumes, asked for anew before they expire.

use std::fs;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ServiceAccount, ServiceAccountTokenProjection};
use kube::{Api, api::PostParams};

use crate::{context::Context, files, pod::PodRef};

/// Where a pod's tokens come from.
pub(super) struct Tokens<'a> {
    pub(super) context: &'a Context,
    pub(super) pod: &'a PodRef,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    token: String,
    /// After this second a new one is asked for.
    renew: i64,
}

impl Tokens<'_> {
    /// A token that holds for a while yet.
    pub(super) async fn get(
        &self,
        wanted: &ServiceAccountTokenProjection,
    ) -> Result<String, String> {
        let now = jiff::Timestamp::now().as_second();
        let name = wanted.path.replace('/', "~");
        let path = self
            .context
            .paths
            .pod(&self.pod.uid)
            .join("tokens")
            .join(name);
        let kept: Option<Kept> = fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(kept) = &kept
            && now < kept.renew
        {
            return Ok(kept.token.clone());
        }
        match (self.ask(wanted, now).await, kept) {
            (Ok(fresh), _) => {
                let bytes = serde_json::to_vec(&fresh).map_err(|error| error.to_string())?;
                files::replace(&path, &bytes, 0o600).map_err(|error| error.to_string())?;
                Ok(fresh.token)
            }
            // An old token is better than none while the control plane is away.
            (Err(_), Some(kept)) => Ok(kept.token),
            (Err(error), None) => Err(format!("failed to fetch token: {error}")),
        }
    }

    async fn ask(&self, wanted: &ServiceAccountTokenProjection, now: i64) -> Result<Kept, String> {
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
        let answer = tokio::time::timeout(std::time::Duration::from_secs(10), call).await;
        let answer = answer.map_err(|_| "the API server does not answer".to_owned())?;
        let status = answer.map_err(words)?.status;
        let status = status.ok_or("the answer holds no token")?;
        // Renewed after four fifths of its life, as upstream.
        let life = status.expiration_timestamp.0.as_second() - now;
        Ok(Kept {
            token: status.token,
            renew: now + life * 4 / 5,
        })
    }
}

/// The server's words, without what the client adds.
fn words(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message,
        other => other.to_string(),
    }
}
