//! Who asks, and what they may do.

use http::{HeaderMap, header, request::Parts};
use pandaemon_machinery::{Status, status::Result};

use crate::{
    pki::Tokens,
    request::{ResourcePath, Verb},
};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// `pandaemon-admin`, `system:node:NAME`, `system:anonymous`
    pub name: String,
    /// `system:masters`, `system:nodes`
    pub groups: Vec<String>,
}

const MASTERS: &str = "system:masters";
const NODES: &str = "system:nodes";

impl User {
    /// Somebody with these groups, who has shown who they are.
    #[must_use]
    pub fn known(name: &str, groups: &[String]) -> Self {
        let mut groups = groups.to_vec();
        groups.push("system:authenticated".into());
        Self {
            name: name.into(),
            groups,
        }
    }

    /// Somebody an administrator acts as: without groups, a service account and the anonymous user get
    /// those that they always have.
    #[must_use]
    pub fn impersonated(name: &str, mut groups: Vec<String>) -> Self {
        if name == "system:anonymous" {
            return Self::anonymous();
        }
        let account = name.strip_prefix("system:serviceaccount:");
        if let (Some((namespace, _)), true) =
            (account.and_then(|a| a.split_once(':')), groups.is_empty())
        {
            groups.push("system:serviceaccounts".into());
            groups.push(format!("system:serviceaccounts:{namespace}"));
        }
        Self::known(name, &groups)
    }

    /// The administrator.
    #[must_use]
    pub fn admin() -> Self {
        Self::known("pandaemon-admin", &[MASTERS.into()])
    }

    /// The server itself.
    #[must_use]
    pub fn server() -> Self {
        Self::known("system:apiserver", &[MASTERS.into()])
    }

    /// Somebody who did not say who they are.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".into(),
            groups: vec!["system:unauthenticated".into()],
        }
    }

    /// Whether they are in a group.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The node that this user is.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.is_in(NODES)
            .then(|| self.name.strip_prefix("system:node:"))
            .flatten()
    }
}

/// What the TLS handshake (or the in-process caller) says about the caller; a request extension.
#[derive(Debug, Clone, Default)]
pub struct Caller(pub Option<User>);

/// The token after `Bearer `.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Compares secrets in a time that does not depend on where they differ.
#[must_use]
pub fn same_secret(a: &str, b: &str) -> bool {
    let differing = a
        .bytes()
        .zip(b.bytes())
        .fold(0, |acc, (x, y)| acc | (x ^ y));
    a.len() == b.len() && differing == 0
}

/// Finds out who asks.
///
/// # Errors
/// 401 for a token that nobody gave out.
pub fn authenticate(parts: &Parts, tokens: &Tokens) -> Result<User> {
    if let Some(Caller(Some(user))) = parts.extensions.get::<Caller>() {
        return Ok(user.clone());
    }
    match bearer(&parts.headers) {
        None => Ok(User::anonymous()),
        Some(token) => tokens.user(token).ok_or_else(unauthorized),
    }
}

/// 401.
#[must_use]
pub fn unauthorized() -> Box<Status> {
    Status::failure(401, "Unauthorized", "Unauthorized")
}

/// What is to be done to what.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    /// The verb.
    pub verb: Verb,
    /// The resource; `None` for paths such as `/version`.
    pub resource: Option<&'a ResourcePath>,
    /// The path.
    pub path: &'a str,
}

/// Paths that anybody may read.
fn is_public(path: &str) -> bool {
    ["/healthz", "/livez", "/readyz"].iter().any(|p| {
        path.strip_prefix(p)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }) || matches!(path, "/version" | "/version/" | "/cacerts")
}

/// Whether the user may do it. The one place where rights are decided.
///
/// # Errors
/// 401 for somebody unknown, 403 otherwise.
pub fn authorize(user: &User, attributes: &Attributes<'_>) -> Result<()> {
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

/// Paths that tell what there is (upstream's `system:discovery`).
fn is_discovery(path: &str) -> bool {
    ["/api", "/apis", "/openapi"].iter().any(|p| {
        path.strip_prefix(p)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Anybody known may ask who they are and what they may do (upstream's `system:basic-user`).
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

/// What a node may do: read what its pods need, write about itself and its pods.
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
    fn rights_by_user() {
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
    fn refusals_in_upstreams_words() {
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
            let asked = Attributes {
                verb,
                resource,
                path,
            };
            let refusal = authorize(&User::known("bob", &[]), &asked).unwrap_err();
            assert_eq!(refusal.message, expected);
        }
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(same_secret("abc", "abc"));
        assert!(!same_secret("abc", "abd"));
        assert!(!same_secret("abc", "ab"));
    }
}
