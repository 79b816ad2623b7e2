//! What authorizers are asked about.

use std::borrow::Cow;

use http::Method;
use pandaemon_types::FieldSelector;

use super::user::User;
use crate::{
    backup,
    http::request::{Target, Verb},
};

/// What a user wants to do. Texts are empty where the request has none.
/// Upstream: `authorizer.Attributes`.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// The user who asks.
    pub user: &'a User,
    /// The verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`,
    /// or any other word, such as `impersonate`. For non-resource paths the HTTP method in lower
    /// case.
    pub verb: &'a str,
    /// The namespace of the object.
    pub namespace: &'a str,
    /// The API group of the resource.
    pub api_group: &'a str,
    /// The API version of the resource.
    pub api_version: &'a str,
    /// The plural name of the resource, such as `pods`.
    pub resource: &'a str,
    /// The subresource, such as `status`.
    pub subresource: &'a str,
    /// The name of the object; of a list or watch the one that its field selector requires.
    pub name: &'a str,
    /// The field selector of a list, watch or deletion of a collection. `None` if there is none, or
    /// one that cannot be parsed.
    pub field_selector: Option<&'a FieldSelector>,
    /// Whether this is about a resource, not about a path such as `/version`.
    pub is_resource_request: bool,
    /// The path of the URL.
    pub path: &'a str,
}

impl<'a> Attributes<'a> {
    /// The attributes of a resource request that names no resource yet.
    pub(crate) const fn new(user: &'a User, verb: &'a str) -> Self {
        Self {
            user,
            verb,
            namespace: "",
            api_group: "",
            api_version: "",
            resource: "",
            subresource: "",
            name: "",
            field_selector: None,
            is_resource_request: true,
            path: "",
        }
    }

    /// Whether the request lasts as long as its client wants. Upstream:
    /// `BasicLongRunningRequestCheck` with the values of kube-apiserver. A backup is as long as the
    /// store is large.
    #[must_use]
    pub(crate) fn is_long_running(&self) -> bool {
        self.verb == "watch"
            || matches!(
                self.subresource,
                "attach" | "exec" | "log" | "portforward" | "proxy"
            )
            || self.path == backup::PATH
    }

    /// The attributes of a request to a path, with the field selector of its query.
    pub(crate) fn of_request(
        user: &'a User,
        verb: &'a str,
        target: &'a Target,
        path: &'a str,
        field_selector: Option<&'a FieldSelector>,
    ) -> Self {
        let new = Self {
            path,
            ..Self::new(user, verb)
        };
        let Target::Resource(resource) = target else {
            return Self {
                is_resource_request: false,
                ..new
            };
        };
        let name = match (resource.name.as_deref(), verb) {
            (None, "list" | "watch") => field_selector.and_then(selected_name),
            (name, _) => name,
        };
        Self {
            namespace: resource.namespace_for_authorization(),
            api_group: &resource.group,
            api_version: &resource.version,
            resource: &resource.resource,
            subresource: resource.subresource.as_deref().unwrap_or_default(),
            name: name.unwrap_or_default(),
            field_selector,
            ..new
        }
    }
}

/// The name of the only object that a selector can select, if it may be one.
/// Upstream: `RequiresExactMatch` and `IsValidPathSegmentName`.
fn selected_name(selector: &FieldSelector) -> Option<&str> {
    let name = selector.exact("metadata.name")?;
    let is_segment = !matches!(name, "." | "..") && !name.contains(['/', '%']);
    is_segment.then_some(name)
}

/// The verb of a request for authorization. A method that is not allowed there has one, too.
/// Upstream: `RequestInfo.Verb`.
#[must_use]
pub(crate) fn verb_of<'a>(method: &'a Method, target: &Target, verb: Option<Verb>) -> Cow<'a, str> {
    Cow::Borrowed(match (target, verb) {
        (Target::Resource(_), Some(verb)) => verb.as_str(),
        (Target::Resource(_), None) => match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            _ => "",
        },
        _ => match *method {
            Method::GET => "get",
            Method::HEAD => "head",
            Method::POST => "post",
            Method::PUT => "put",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => return Cow::Owned(method.as_str().to_ascii_lowercase()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{self, Query, parse_path};

    #[test]
    fn authorization_verbs_are_those_of_upstream() {
        let table = [
            ("GET", "/api/v1/pods", "list"),
            ("HEAD", "/api/v1/nodes/n", "get"),
            ("DELETE", "/api/v1/nodes", "deletecollection"),
            ("POST", "/api/v1/nodes/n", "create"),
            ("PUT", "/api/v1/nodes", "update"),
            ("PATCH", "/api/v1/nodes", "patch"),
            ("TRACE", "/api/v1/nodes", ""),
            ("GET", "/version", "get"),
            ("HEAD", "/apis", "head"),
            ("POST", "/version", "post"),
            ("TRACE", "/version", "trace"),
        ];
        for (method, path, expected) in table {
            let target = parse_path(path);
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let verb = match &target {
                Target::Resource(resource) => request::verb(&method, resource, &Query::default()),
                _ => None,
            };
            let found = verb_of(&method, &target, verb);
            assert_eq!(found, expected, "{method} {path}");
        }
    }

    #[test]
    fn the_name_of_a_list_or_watch_is_that_of_its_field_selector() {
        let user = User::known("bob", &[]);
        let name = "metadata.name=a";
        let table = [
            ("list", "/api/v1/nodes", name, "a", true),
            ("watch", "/api/v1/nodes", "metadata.name==a", "a", true),
            (
                "watch",
                "/api/v1/pods",
                "spec.nodeName=n,metadata.name=a",
                "a",
                true,
            ),
            ("list", "/api/v1/nodes", "metadata.name!=a", "", true),
            ("list", "/api/v1/nodes", "metadata.name=", "", true),
            ("list", "/api/v1/nodes", "metadata.name=..", "", true),
            ("list", "/api/v1/nodes", "metadata.name=a/b", "", true),
            ("list", "/api/v1/nodes", "metadata.name=a%2f", "", true),
            ("list", "/api/v1/nodes", "metadata.name", "", false),
            ("list", "/api/v1/nodes", "", "", false),
            ("deletecollection", "/api/v1/nodes", name, "", true),
            ("list", "/api/v1/watch/nodes", name, "", false),
            ("get", "/api/v1/nodes/b", name, "b", false),
            ("create", "/api/v1/nodes", name, "", false),
        ];
        for (verb, path, text, expected, has_selector) in table {
            let target = parse_path(path);
            let query = format!("fieldSelector={}", text.replace('%', "%25"));
            let selector = request::field_selector(verb, &target, &Query::parse(Some(&query)));
            let attributes = Attributes::of_request(&user, verb, &target, path, selector.as_ref());
            let found = (attributes.name, attributes.field_selector.is_some());
            assert_eq!(found, (expected, has_selector), "{verb} {path} {text}");
        }
    }
}
