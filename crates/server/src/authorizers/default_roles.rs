//! The rights that all users, and all service accounts, have. Upstream: the roles
//! `system:public-info-viewer`, `system:discovery`, `system:basic-user` and
//! `system:service-account-issuer-discovery`.

use crate::{
    auth::{
        AUTHENTICATED, Attributes, Authorizer, Decision, DecisionFuture,
        service_account::SERVICE_ACCOUNTS,
    },
    service_accounts::openid::{CONFIGURATION_PATH, JWKS_PATH},
};

/// Allows public paths to all users, discovery and reviews of oneself to authenticated ones, and the
/// public keys to service accounts.
#[derive(Debug)]
pub(super) struct DefaultRoles;

impl Authorizer for DefaultRoles {
    fn authorize<'a>(&'a self, attributes: &'a Attributes<'_>) -> DecisionFuture<'a> {
        let may = match attributes.is_resource_request {
            true => is_review_of_self(attributes),
            false => may_read(attributes),
        };
        Decision::allow_if(may).into()
    }
}

fn may_read(attributes: &Attributes<'_>) -> bool {
    let (user, path) = (attributes.user, attributes.path);
    matches!(attributes.verb, "get" | "head")
        && (is_public(path)
            || (is_discovery(path) && user.is_in(AUTHENTICATED))
            || (is_issuer_discovery(path) && user.is_in(SERVICE_ACCOUNTS)))
}

/// Paths that users without credentials may read (upstream's `system:public-info-viewer`).
fn is_public(path: &str) -> bool {
    is_below(path, &["/healthz", "/livez", "/readyz"])
        || matches!(path, "/version" | "/version/" | "/cacerts")
}

/// The discovery paths, which every authenticated user may read (upstream's `system:discovery`).
fn is_discovery(path: &str) -> bool {
    is_below(path, &["/api", "/apis", "/openapi"])
}

/// The paths of the keys that verify tokens of service accounts, which those may read (upstream's
/// `system:service-account-issuer-discovery`).
fn is_issuer_discovery(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    matches!(path, CONFIGURATION_PATH | JWKS_PATH)
}

/// Whether a path is one of these or below one.
fn is_below(path: &str, roots: &[&str]) -> bool {
    let mut rests = roots.iter().filter_map(|root| path.strip_prefix(root));
    rests.any(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Reviews of the own identity and rights, open to authenticated users (upstream's
/// `system:basic-user`).
fn is_review_of_self(attributes: &Attributes<'_>) -> bool {
    attributes.verb == "create"
        && attributes.subresource.is_empty()
        && attributes.user.is_in(AUTHENTICATED)
        && matches!(
            (attributes.api_group, attributes.resource),
            (
                "authorization.k8s.io",
                "selfsubjectaccessreviews" | "selfsubjectrulesreviews"
            ) | ("authentication.k8s.io", "selfsubjectreviews")
        )
}
