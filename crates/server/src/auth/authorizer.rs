//! Authorization: which user may use which verb on which resource.

use pandaemon_machinery::{Status, status::Result};

use super::{
    authenticator::unauthorized,
    user::{MASTERS, User},
};
use crate::request::{ResourcePath, Verb};

/// What a request does to what. Upstream: `authorizer.Attributes`.
#[derive(Debug, Clone)]
pub(crate) struct Attributes<'a> {
    /// The verb of the request.
    pub verb: Verb,
    /// The resource; `None` for non-resource paths such as `/version`.
    pub resource: Option<&'a ResourcePath>,
    /// The path of the URL.
    pub path: &'a str,
}

/// Paths that users without credentials may read (upstream's `system:public-info-viewer`).
fn is_public(path: &str) -> bool {
    ["/healthz", "/livez", "/readyz"].iter().any(|p| {
        path.strip_prefix(p)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }) || matches!(path, "/version" | "/version/" | "/cacerts")
}

/// Checks whether the user may do this. All authorization decisions are made here.
///
/// # Errors
/// 401 for a user without credentials, 403 for any other.
pub(crate) fn authorize(user: &User, attributes: &Attributes<'_>) -> Result<()> {
    if user.is_in(MASTERS) || (is_public(attributes.path) && attributes.verb == Verb::Get) {
        return Ok(());
    }
    if let Some(node) = user.node() {
        return match attributes.resource {
            None => Ok(()),
            Some(resource) if node_may(node, attributes.verb, resource) => Ok(()),
            Some(_) => Err(forbidden(user, attributes)),
        };
    }
    if user.is_in("system:unauthenticated") {
        return Err(unauthorized());
    }
    let may = match attributes.resource {
        None => is_discovery(attributes.path) && attributes.verb == Verb::Get,
        Some(resource) => is_review_of_self(attributes.verb, resource),
    };
    may.then_some(()).ok_or_else(|| forbidden(user, attributes))
}

/// The discovery paths, which every authenticated user may read (upstream's `system:discovery`).
fn is_discovery(path: &str) -> bool {
    ["/api", "/apis", "/openapi"].iter().any(|p| {
        path.strip_prefix(p)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Reviews of the own identity and rights, open to authenticated users (upstream's
/// `system:basic-user`).
fn is_review_of_self(verb: Verb, resource: &ResourcePath) -> bool {
    verb == Verb::Create
        && resource.subresource.is_none()
        && matches!(
            (resource.group.as_str(), resource.resource.as_str()),
            (
                "authorization.k8s.io",
                "selfsubjectaccessreviews" | "selfsubjectrulesreviews"
            ) | ("authentication.k8s.io", "selfsubjectreviews")
        )
}

/// The rights of a node agent: it reads what its pods need, and writes its Node, its Lease and its
/// pods. Upstream: the node authorizer. The admission plugin `NodeRestriction` checks the rest.
fn node_may(node: &str, verb: Verb, resource: &ResourcePath) -> bool {
    let reads = matches!(verb, Verb::Get | Verb::List | Verb::Watch);
    let own_name = resource.name.as_deref().is_none_or(|name| name == node);
    match (resource.group.as_str(), resource.resource.as_str()) {
        ("", "nodes") => reads || (own_name && verb != Verb::DeleteCollection),
        ("coordination.k8s.io", "leases") => reads || own_name,
        ("", "pods") => reads || verb != Verb::DeleteCollection,
        ("" | "events.k8s.io", "events") => true,
        ("", "serviceaccounts") => reads || resource.subresource.as_deref() == Some("token"),
        ("authentication.k8s.io" | "authorization.k8s.io", _) => true,
        ("certificates.k8s.io", _) => reads || verb == Verb::Create,
        _ => reads,
    }
}

fn forbidden(user: &User, attributes: &Attributes<'_>) -> Box<Status> {
    let Some(resource) = attributes.resource else {
        let text = format!(
            "forbidden: User {:?} cannot {} path {:?}",
            user.name,
            attributes.verb.as_str(),
            attributes.path
        );
        return Status::failure(403, "Forbidden", text);
    };
    let plural = &resource.resource;
    let full = match resource.group.as_str() {
        "" => plural.clone(),
        group => format!("{plural}.{group}"),
    };
    let part = match &resource.subresource {
        None => plural.clone(),
        Some(sub) => format!("{plural}/{sub}"),
    };
    let place = match &resource.namespace {
        Some(namespace) => format!("in the namespace {namespace:?}"),
        None => "at the cluster scope".to_owned(),
    };
    let name = resource
        .name
        .as_ref()
        .map(|n| format!(" {n:?}"))
        .unwrap_or_default();
    let text = format!(
        "{full}{name} is forbidden: User {:?} cannot {} resource {:?} in API group {:?} {place}",
        user.name,
        attributes.verb.as_str(),
        part,
        resource.group
    );
    Status::failure(403, "Forbidden", text).with_details(pandaemon_machinery::status::Details {
        name: resource.name.clone().unwrap_or_default(),
        group: resource.group.clone(),
        kind: plural.clone(),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Target, parse_path};

    fn may(user: &User, verb: Verb, path: &str) -> u16 {
        let target = parse_path(path);
        let resource = match &target {
            Target::Resource(resource) => Some(resource),
            _ => None,
        };
        authorize(
            user,
            &Attributes {
                verb,
                resource,
                path,
            },
        )
        .err()
        .map_or(200, |status| status.code)
    }

    #[test]
    fn rights_of_administrators_nodes_users_and_anonymous() {
        let node = User::known("system:node:a", &["system:nodes".into()]);
        let bob = User::known("bob", &[]);
        let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let table = [
            (User::admin(), Verb::Delete, "/api/v1/nodes/b", 200),
            (User::anonymous(), Verb::Get, "/version", 200),
            (User::anonymous(), Verb::Get, "/readyz/ping", 200),
            (User::anonymous(), Verb::Get, "/readyzz", 401),
            (User::anonymous(), Verb::Get, "/metrics", 401),
            (User::anonymous(), Verb::List, "/api/v1/pods", 401),
            (node.clone(), Verb::Patch, "/api/v1/nodes/a/status", 200),
            (node.clone(), Verb::Patch, "/api/v1/nodes/b/status", 403),
            (node.clone(), Verb::Create, "/api/v1/nodes", 200),
            (
                node.clone(),
                Verb::Get,
                "/api/v1/namespaces/d/secrets/s",
                200,
            ),
            (
                node.clone(),
                Verb::Update,
                "/api/v1/namespaces/d/secrets/s",
                403,
            ),
            (node, Verb::Get, "/apis", 200),
            (bob.clone(), Verb::Get, "/apis/apps/v1", 200),
            (bob.clone(), Verb::Get, "/apish", 403),
            (bob.clone(), Verb::Get, "/metrics", 403),
            (bob.clone(), Verb::Get, "/api/v1/pods", 403),
            (bob.clone(), Verb::Create, reviews, 200),
            (bob, Verb::List, reviews, 403),
        ];
        for (user, verb, path, expected) in table {
            assert_eq!(
                may(&user, verb, path),
                expected,
                "{} {verb:?} {path}",
                user.name
            );
        }
    }

    #[test]
    fn forbidden_messages_match_upstream() {
        let table = [
            (
                Verb::Get,
                "/api/v1/namespaces/d/pods/p/log",
                "pods \"p\" is forbidden: User \"bob\" cannot get resource \"pods/log\" in API group \"\" \
                 in the namespace \"d\"",
            ),
            (
                Verb::List,
                "/apis/apps/v1/daemonsets",
                "daemonsets.apps is forbidden: User \"bob\" cannot list resource \"daemonsets\" in API group \
                 \"apps\" at the cluster scope",
            ),
            (
                Verb::Get,
                "/metrics",
                "forbidden: User \"bob\" cannot get path \"/metrics\"",
            ),
        ];
        for (verb, path, expected) in table {
            let target = parse_path(path);
            let resource = match &target {
                Target::Resource(resource) => Some(resource),
                _ => None,
            };
            let attributes = Attributes {
                verb,
                resource,
                path,
            };
            let refusal = authorize(&User::known("bob", &[]), &attributes).unwrap_err();
            assert_eq!(refusal.message, expected);
        }
    }
}
