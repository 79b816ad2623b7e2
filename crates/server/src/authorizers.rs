//! The authorizers of the server, in the order in which they are asked. A new one is a file of its
//! own, its `mod` line and its line of [`built_in`].

mod default_roles;
mod node;
mod node_bootstrapper;
mod privileged_groups;
mod rbac;

use std::sync::Arc;

use crate::{
    auth::{Authorizer, AuthorizerChain},
    cache::watch_cache::WatchCache,
};

/// The authorizers of every server.
fn built_in(cache: Arc<WatchCache>) -> Vec<Arc<dyn Authorizer>> {
    vec![
        Arc::new(privileged_groups::PrivilegedGroups),
        Arc::new(node::NodeAuthorizer::new(Arc::clone(&cache))),
        Arc::new(node_bootstrapper::NodeBootstrapper),
        Arc::new(rbac::Rbac::new(&cache)),
        Arc::new(default_roles::DefaultRoles),
    ]
}

/// The chain of a server with this cache: the authorizers of its configuration first.
#[must_use]
pub(crate) fn chain(
    configured: Vec<Arc<dyn Authorizer>>,
    cache: Arc<WatchCache>,
) -> AuthorizerChain {
    AuthorizerChain::new(configured.into_iter().chain(built_in(cache)).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{
        auth::{Attributes, User, check_request},
        cache::watch_cache::WatchCache,
        http::request::parse_path,
    };

    async fn may(user: &User, verb: &str, path: &str) -> u16 {
        let target = parse_path(path);
        let attributes = Attributes::of_request(user, verb, &target, path, None);
        let chain = super::chain(Vec::new(), Arc::new(WatchCache::new(1)));
        let checked = check_request(&attributes, &chain.decide(&attributes).await);
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
}
