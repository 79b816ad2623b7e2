//! The authorizers of the server, in the order in which they are asked. A new one is a file of its
//! own, its `mod` line and its line of [`built_in`].

mod default_roles;
mod node;
mod privileged_groups;

use std::sync::Arc;

use crate::auth::{Authorizer, AuthorizerChain};

/// The authorizers of every server.
fn built_in() -> Vec<Arc<dyn Authorizer>> {
    vec![
        Arc::new(privileged_groups::PrivilegedGroups),
        Arc::new(node::NodeAuthorizer),
        Arc::new(default_roles::DefaultRoles),
    ]
}

/// The chain of a server: those of its configuration first.
#[must_use]
pub(crate) fn chain(configured: Vec<Arc<dyn Authorizer>>) -> AuthorizerChain {
    AuthorizerChain::new(configured.into_iter().chain(built_in()).collect())
}

#[cfg(test)]
mod tests {
    use crate::{
        auth::{Attributes, User},
        http::request::parse_path,
    };

    async fn may(user: &User, verb: &str, path: &str) -> u16 {
        let target = parse_path(path);
        let attributes = Attributes::of_request(user, verb, &target, path);
        let checked = super::chain(Vec::new()).check_request(&attributes).await;
        checked.err().map_or(200, |status| status.code)
    }

    #[tokio::test]
    async fn rights_of_administrators_users_and_anonymous() {
        let bob = User::known("bob", &[]);
        let builder = User::known("builder", &["system:serviceaccounts".into()]);
        let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let table = [
            (User::admin(), "delete", "/api/v1/nodes/b", 200),
            (User::admin(), "impersonate", "/api/v1/users/bob", 200),
            (User::admin(), "*", "/api/v1/pods", 200),
            (User::anonymous(), "get", "/version", 200),
            (User::anonymous(), "head", "/version", 200),
            (User::anonymous(), "post", "/version", 401),
            (User::anonymous(), "get", "/readyz/ping", 200),
            (User::anonymous(), "get", "/readyzz", 401),
            (User::anonymous(), "get", "/metrics", 401),
            (User::anonymous(), "get", "/apis", 401),
            (User::anonymous(), "list", "/api/v1/pods", 401),
            (User::anonymous(), "create", reviews, 401),
            (bob.clone(), "get", "/apis/apps/v1", 200),
            (bob.clone(), "head", "/apis/apps/v1", 200),
            (bob.clone(), "delete", "/apis/apps/v1", 403),
            (bob.clone(), "get", "/apish", 403),
            (bob.clone(), "get", "/metrics", 403),
            (bob.clone(), "get", "/api/v1/pods", 403),
            (bob.clone(), "impersonate", "/api/v1/users/eve", 403),
            (bob.clone(), "create", reviews, 200),
            (bob.clone(), "*", reviews, 403),
            (bob.clone(), "list", reviews, 403),
            (bob, "get", "/openid/v1/jwks", 403),
            (builder.clone(), "get", "/openid/v1/jwks", 200),
            (builder.clone(), "get", "/openid/v1/jwks/x", 403),
            (
                builder.clone(),
                "get",
                "/.well-known/openid-configuration/",
                200,
            ),
            (builder, "get", "/api/v1/pods", 403),
        ];
        for (user, verb, path, expected) in table {
            let found = may(&user, verb, path).await;
            assert_eq!(found, expected, "{} {verb} {path}", user.name);
        }
    }

    #[tokio::test]
    async fn rights_of_nodes() {
        let node = User::known("system:node:a", &["system:nodes".into()]);
        let table = [
            ("get", "/apis", 200),
            ("patch", "/api/v1/nodes/a/status", 200),
            ("patch", "/api/v1/nodes/b/status", 403),
            ("create", "/api/v1/nodes", 200),
            ("impersonate", "/api/v1/nodes/a", 403),
            ("*", "/api/v1/nodes/a", 403),
            ("deletecollection", "/api/v1/namespaces/d/pods", 403),
            ("get", "/api/v1/namespaces/d/secrets/s", 200),
            ("update", "/api/v1/namespaces/d/secrets/s", 403),
            ("create", "/api/v1/namespaces/d/events", 200),
            (
                "create",
                "/api/v1/namespaces/d/serviceaccounts/s/token",
                200,
            ),
            ("impersonate", "/api/v1/namespaces/d/serviceaccounts/s", 403),
            ("create", "/apis/authentication.k8s.io/v1/tokenreviews", 200),
            (
                "impersonate",
                "/apis/authentication.k8s.io/v1/userextras/x",
                403,
            ),
            ("impersonate", "/api/v1/users/bob", 403),
            ("escalate", "/api/v1/namespaces/d/events/e", 403),
        ];
        for (verb, path, expected) in table {
            assert_eq!(may(&node, verb, path).await, expected, "{verb} {path}");
        }
    }
}
