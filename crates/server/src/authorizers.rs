//! The authorizers of the server, in the order in which they are asked. A new one is a file of its
//! own, its `mod` line and its line of [`built_in`].

mod node;
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
        Arc::new(rbac::Rbac::new(&cache)),
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
    async fn administrators_may_do_everything_and_others_nothing_without_roles() {
        let bob = User::known("bob", &[]);
        let table = [
            (User::admin(), "delete", "/api/v1/nodes/b", 200),
            (User::admin(), "impersonate", "/api/v1/users/bob", 200),
            (User::admin(), "*", "/api/v1/pods", 200),
            (User::admin(), "post", "/metrics", 200),
            (User::anonymous(), "get", "/version", 401),
            (User::anonymous(), "list", "/api/v1/pods", 401),
            (bob.clone(), "get", "/version", 403),
            (bob, "list", "/api/v1/pods", 403),
        ];
        for (user, verb, path, expected) in table {
            let found = may(&user, verb, path).await;
            assert_eq!(found, expected, "{} {verb} {path}", user.name);
        }
    }
}
