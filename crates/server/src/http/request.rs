//! Parsing of paths, verbs and queries. Pure.
//! Upstream: `k8s.io/apiserver/pkg/endpoints/request.RequestInfo`.

use std::num::{IntErrorKind, ParseIntError};

use http::Method;
use pandaemon_machinery::{Status, status::Result};
use pandaemon_types::FieldSelector;
use percent_encoding::percent_decode_str;

/// The verb of a request, as authorization and metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Verb {
    /// Read one object.
    Get,
    /// Read a collection.
    List,
    /// Watch a collection.
    Watch,
    /// Create an object.
    Create,
    /// Replace an object.
    Update,
    /// Change parts of an object.
    Patch,
    /// Delete one object.
    Delete,
    /// Delete the objects of a collection.
    DeleteCollection,
}

impl Verb {
    /// The name of the verb.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// A path below a group version, split into its parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ResourcePath {
    /// The API group, empty for the core group.
    pub group: String,
    /// The version, such as `v1`.
    pub version: String,
    /// The namespace, if the path names one.
    pub namespace: Option<String>,
    /// The plural name of the resource, such as `pods`.
    pub resource: String,
    /// The name of the object, if the path names one.
    pub name: Option<String>,
    /// The subresource, such as `status` or `log`.
    pub subresource: Option<String>,
    /// The rest of the path after the subresource, as in `proxy/metrics`.
    pub tail: String,
    /// Whether the path has the deprecated prefix `/watch/`.
    pub watch_prefix: bool,
}

impl ResourcePath {
    /// The namespace of the request for authorization. As upstream, a request to a Namespace is
    /// one in it.
    #[must_use]
    pub(crate) fn namespace_for_authorization(&self) -> &str {
        let namespace = match self.resource.as_str() {
            "namespaces" => self.namespace.as_ref().or(self.name.as_ref()),
            _ => self.namespace.as_ref(),
        };
        namespace.map(String::as_str).unwrap_or_default()
    }
}

/// The target of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The versions of the core group: `/api`.
    CoreVersions,
    /// The list of groups: `/apis`.
    Groups,
    /// A group: `/apis/apps`.
    Group(String),
    /// A group version: `/api/v1`, `/apis/apps/v1`.
    GroupVersion(String, String),
    /// A resource: a collection, an object or a subresource.
    Resource(ResourcePath),
    /// A non-resource path, such as `/healthz` or `/version`.
    Other,
}

/// Parses the path of a URL.
#[must_use]
pub(crate) fn parse_path(path: &str) -> Target {
    let mut segments: Vec<String> = path
        .split('/')
        .filter(|s| !s.is_empty())
        .map(decoded)
        .collect();
    let (group, version) = match segments.first().map(String::as_str) {
        Some("api") => match segments.len() {
            1 => return Target::CoreVersions,
            _ => (String::new(), segments.remove(1)),
        },
        Some("apis") => match segments.len() {
            1 => return Target::Groups,
            2 => return Target::Group(segments.remove(1)),
            _ => (segments.remove(1), segments.remove(1)),
        },
        _ => return Target::Other,
    };
    segments.remove(0);
    if segments.is_empty() {
        return Target::GroupVersion(group, version);
    }
    let watch_prefix = segments[0] == "watch" && segments.len() > 1;
    if watch_prefix {
        segments.remove(0);
    }
    Target::Resource(resource_path(group, version, segments, watch_prefix))
}

fn resource_path(
    group: String,
    version: String,
    segments: Vec<String>,
    watch_prefix: bool,
) -> ResourcePath {
    let in_namespace = group.is_empty() || segments.len() > 2;
    let is_own_subresource = matches!(
        segments.get(2).map(String::as_str),
        Some("status" | "finalize")
    );
    let mut rest = segments.into_iter();
    let mut path = ResourcePath {
        group,
        version,
        watch_prefix,
        ..ResourcePath::default()
    };
    let first = rest.next().unwrap_or_default();
    let names_namespace = first == "namespaces" && in_namespace;
    if names_namespace && rest.len() > 1 && !is_own_subresource {
        path.namespace = rest.next();
        path.resource = rest.next().unwrap_or_default();
    } else {
        path.resource = first;
    }
    path.name = rest.next();
    path.subresource = rest.next();
    path.tail = rest.collect::<Vec<_>>().join("/");
    path
}

fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// The verb of a request to a resource; `None` if the method is not allowed there.
#[must_use]
pub(crate) fn verb(method: &Method, path: &ResourcePath, query: &Query) -> Option<Verb> {
    let has_name = path.name.is_some();
    let watches = path.watch_prefix || query.flag("watch");
    Some(match *method {
        Method::GET | Method::HEAD if has_name => Verb::Get,
        Method::GET | Method::HEAD if watches => Verb::Watch,
        Method::GET | Method::HEAD => Verb::List,
        Method::POST if !has_name || path.subresource.is_some() => Verb::Create,
        Method::PUT if has_name => Verb::Update,
        Method::PATCH if has_name => Verb::Patch,
        Method::DELETE if has_name => Verb::Delete,
        Method::DELETE => Verb::DeleteCollection,
        _ => return None,
    })
}

/// The field selector that authorizers see. None for the deprecated paths `/watch/`, as upstream.
#[must_use]
pub(crate) fn field_selector(verb: &str, target: &Target, query: &Query) -> Option<FieldSelector> {
    let Target::Resource(path) = target else {
        return None;
    };
    if path.watch_prefix || !matches!(verb, "list" | "watch" | "deletecollection") {
        return None;
    }
    FieldSelector::parse(query.filled("fieldSelector")?).ok()
}

/// The parameters of a query, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the part of a URL after `?`.
    #[must_use]
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(text.unwrap_or_default().as_bytes());
        Self(
            pairs
                .map(|(k, v)| (k.into_owned(), v.into_owned()))
                .collect(),
        )
    }

    /// The first value of a parameter.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter, if it is not empty.
    #[must_use]
    pub(crate) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a boolean parameter is set: present and neither `false` nor `0`, as upstream.
    #[must_use]
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| !matches!(value.to_ascii_lowercase().as_str(), "false" | "0"))
    }

    /// The first value of a parameter that is a number; `None` if it is missing or empty.
    ///
    /// # Errors
    /// 400 for what is no number of 64 bits, with upstream's text.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>> {
        let Some(text) = self.filled(name) else {
            return Ok(None);
        };
        let parsed = text.parse().map(Some);
        parsed.map_err(|error| Status::bad_request(number_error("ParseInt", text, &error)))
    }

    /// All parameters, as (name, value).
    #[must_use]
    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// The parameters as the part of a URL after `?`.
    #[must_use]
    pub(crate) fn encode(&self) -> String {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.0)
            .finish()
    }
}

/// The error of Go's `strconv` package for a text that is no number of 64 bits.
#[must_use]
pub(crate) fn number_error(function: &str, text: &str, error: &ParseIntError) -> String {
    let why = match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.{function}: parsing {text:?}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_of_64_bits_as_upstream() {
        let number = |text: &str| {
            let query = Query::parse(Some(&format!("n={text}")));
            query
                .number("n")
                .map_err(|status| (status.code, status.message))
        };
        let refused = |text: &str, why: &str| {
            let message = format!("strconv.ParseInt: parsing {text:?}: {why}");
            assert_eq!(number(text), Err((400, message)));
        };
        assert_eq!(number(""), Ok(None));
        assert_eq!(number("9223372036854775807"), Ok(Some(i64::MAX)));
        assert_eq!(number("-9223372036854775808"), Ok(Some(i64::MIN)));
        refused("18446744073709551615", "value out of range");
        refused("-9223372036854775809", "value out of range");
        for text in ["1e9", "0x10", "1_000", "1.5", "x"] {
            refused(text, "invalid syntax");
        }
    }

    fn shown(path: &str) -> String {
        match parse_path(path) {
            Target::Resource(p) => format!(
                "{}/{} ns={} {} name={} sub={} tail={}{}",
                p.group,
                p.version,
                p.namespace.unwrap_or_default(),
                p.resource,
                p.name.unwrap_or_default(),
                p.subresource.unwrap_or_default(),
                p.tail,
                if p.watch_prefix { " watch" } else { "" }
            ),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn paths_are_parsed_as_upstream_does() {
        let table = [
            ("/api", "CoreVersions"),
            ("/api/", "CoreVersions"),
            ("/apis", "Groups"),
            ("/apis/apps", "Group(\"apps\")"),
            ("/api/v1", "GroupVersion(\"\", \"v1\")"),
            ("/apis/apps/v1/", "GroupVersion(\"apps\", \"v1\")"),
            ("/api/v1/pods", "/v1 ns= pods name= sub= tail="),
            ("/api/v1/namespaces", "/v1 ns= namespaces name= sub= tail="),
            (
                "/api/v1/namespaces/a",
                "/v1 ns= namespaces name=a sub= tail=",
            ),
            (
                "/api/v1/namespaces/a/status",
                "/v1 ns= namespaces name=a sub=status tail=",
            ),
            (
                "/api/v1/namespaces/a/finalize",
                "/v1 ns= namespaces name=a sub=finalize tail=",
            ),
            (
                "/api/v1/namespaces/a/pods",
                "/v1 ns=a pods name= sub= tail=",
            ),
            (
                "/api/v1/namespaces/a/pods/p/log",
                "/v1 ns=a pods name=p sub=log tail=",
            ),
            (
                "/api/v1/nodes/n/proxy/a/b",
                "/v1 ns= nodes name=n sub=proxy tail=a/b",
            ),
            (
                "/apis/apps/v1/namespaces/a/daemonsets/d",
                "apps/v1 ns=a daemonsets name=d sub= tail=",
            ),
            (
                "/apis/apps/v1/watch/daemonsets",
                "apps/v1 ns= daemonsets name= sub= tail= watch",
            ),
            (
                "/api/v1/namespaces/a/services/s%3Ax",
                "/v1 ns=a services name=s:x sub= tail=",
            ),
            ("/healthz", "Other"),
            ("/", "Other"),
        ];
        for (path, expected) in table {
            assert_eq!(shown(path), expected, "{path}");
        }
    }

    #[test]
    fn verbs_depend_on_method_and_name() {
        let table = [
            ("GET", "/api/v1/pods", "", Some(Verb::List)),
            ("GET", "/api/v1/pods", "watch=true", Some(Verb::Watch)),
            ("GET", "/api/v1/pods", "watch=0", Some(Verb::List)),
            ("GET", "/api/v1/nodes/n", "", Some(Verb::Get)),
            ("POST", "/api/v1/pods", "", Some(Verb::Create)),
            ("POST", "/api/v1/nodes/n", "", None),
            (
                "POST",
                "/api/v1/namespaces/a/pods/p/binding",
                "",
                Some(Verb::Create),
            ),
            ("PUT", "/api/v1/nodes", "", None),
            ("PUT", "/api/v1/nodes/n", "", Some(Verb::Update)),
            ("PATCH", "/api/v1/nodes/n", "", Some(Verb::Patch)),
            ("DELETE", "/api/v1/nodes/n", "", Some(Verb::Delete)),
            ("DELETE", "/api/v1/nodes", "", Some(Verb::DeleteCollection)),
            ("TRACE", "/api/v1/nodes", "", None),
        ];
        for (method, path, query, expected) in table {
            let Target::Resource(resource) = parse_path(path) else {
                panic!("{path}")
            };
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(
                verb(&method, &resource, &Query::parse(Some(query))),
                expected,
                "{method} {path}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_paths_do_not_panic(path in "/?(api|apis)?(/[a-z%2/]{0,8}){0,7}") {
            let _ = parse_path(&path);
        }
    }
}
