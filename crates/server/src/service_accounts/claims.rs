//! The claims of tokens. Upstream: `pkg/serviceaccount/claims.go` and `legacy.go`.

use serde::{Deserialize, Serialize};

/// The issuer of the tokens in Secrets of type `kubernetes.io/service-account-token`.
pub(crate) const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// An object that a token names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectRef {
    /// The name of the object.
    pub name: String,
    /// Its UID; empty for the node of a pod that does not exist.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// The claim `kubernetes.io`: the account, and what the token is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KubernetesClaims {
    /// The namespace of the account, the pod and the Secret.
    pub namespace: String,
    /// The service account that the token is for.
    pub serviceaccount: ObjectRef,
    /// The pod to which the token is bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<ObjectRef>,
    /// The Secret to which it is bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ObjectRef>,
    /// The node of its pod, or, without a pod, the node to which it is bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<ObjectRef>,
    /// When a client should have read a newer token, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// The claims of a token in a Secret of type `kubernetes.io/service-account-token`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LegacyClaims {
    /// The namespace of the account and the Secret.
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    pub namespace: String,
    /// The name of the Secret.
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    pub secret: String,
    /// The name of the account.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    pub account: String,
    /// The UID of the account.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    pub account_uid: String,
}

/// The claims of a token. Times are in seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The audiences; empty for those of the API server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aud: Vec<String>,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// When it was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// The URL of the cluster that has signed it.
    pub iss: String,
    /// The ID of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The account and what the token is bound to; `None` for legacy tokens.
    #[serde(
        rename = "kubernetes.io",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub kubernetes: Option<KubernetesClaims>,
    /// The same for legacy tokens.
    #[serde(flatten)]
    pub legacy: Option<LegacyClaims>,
    /// When it becomes valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// The user name of the account.
    #[serde(default)]
    pub sub: String,
}

impl Claims {
    /// The ID of the token, as users and the audit log have it. Upstream: `CredentialIDForJTI`.
    pub(crate) fn credential_id(&self) -> Option<String> {
        self.jti.as_ref().map(|id| format!("JTI={id}"))
    }
}
