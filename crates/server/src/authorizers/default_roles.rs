//! The rights that all users have. Upstream: the roles `system:public-info-viewer`,
//! `system:discovery` and `system:basic-user`.

use crate::auth::{AUTHENTICATED, Attributes, Authorizer, Decision, DecisionFuture};

/// Allows public paths to all users, and discovery and reviews of oneself to authenticated ones.
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
        && (is_public(path) || (is_discovery(path) && user.is_in(AUTHENTICATED)))
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
