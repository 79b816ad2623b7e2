//! FlowSchemas: which requests one matches. Upstream: `flowcontrol/rule.go`.

use serde::Deserialize;

/// What the name of a user of a service account begins with.
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// What a FlowSchema sees of a request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The name of the user.
    pub user: &'a str,
    /// The groups of the user.
    pub groups: &'a [String],
    /// The verb, as authorization names it.
    pub verb: &'a str,
    /// Whether the path is one of a resource.
    pub is_resource_request: bool,
    /// The API group of the resource.
    pub api_group: &'a str,
    /// The plural name of the resource.
    pub resource: &'a str,
    /// The subresource, or an empty text.
    pub subresource: &'a str,
    /// The namespace, or an empty text.
    pub namespace: &'a str,
    /// The path of the URL.
    pub path: &'a str,
}

/// A FlowSchema: the fields that decide. Missing fields are empty, as in the objects of the API.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct FlowSchema {
    pub(crate) metadata: Metadata,
    pub(crate) spec: Spec,
}

/// Name and UID of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Metadata {
    pub name: String,
    pub uid: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Spec {
    pub priority_level_configuration: Metadata,
    pub matching_precedence: i32,
    pub distinguisher_method: Option<DistinguisherMethod>,
    pub rules: Vec<Rule>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct DistinguisherMethod {
    #[serde(rename = "type")]
    pub by: Distinguisher,
}

/// What makes requests of one schema different flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Distinguisher {
    ByUser,
    ByNamespace,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Rule {
    subjects: Vec<Subject>,
    resource_rules: Vec<ResourceRule>,
    non_resource_rules: Vec<NonResourceRule>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Subject {
    user: Option<Named>,
    group: Option<Named>,
    service_account: Option<Account>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Account {
    namespace: String,
    name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ResourceRule {
    verbs: Vec<String>,
    api_groups: Vec<String>,
    resources: Vec<String>,
    namespaces: Vec<String>,
    cluster_scope: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NonResourceRule {
    verbs: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
}

impl FlowSchema {
    /// What the schema is called in references and metrics.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// For the headers of responses.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.metadata.uid
    }

    /// The name of its priority level.
    #[must_use]
    pub fn level(&self) -> &str {
        &self.spec.priority_level_configuration.name
    }

    /// Whether a request is one of this schema.
    pub(crate) fn matches(&self, request: &Request<'_>) -> bool {
        self.spec.rules.iter().any(|rule| rule.matches(request))
    }

    /// What tells the flow of a request from others of this schema.
    pub(crate) fn distinguisher<'a>(&self, request: &Request<'a>) -> &'a str {
        match self.spec.distinguisher_method.map(|method| method.by) {
            Some(Distinguisher::ByUser) => request.user,
            Some(Distinguisher::ByNamespace) => request.namespace,
            None => "",
        }
    }
}

impl Rule {
    fn matches(&self, request: &Request<'_>) -> bool {
        if !self.subjects.iter().any(|subject| subject.matches(request)) {
            return false;
        }
        match request.is_resource_request {
            true => self.resource_rules.iter().any(|rule| rule.matches(request)),
            false => self
                .non_resource_rules
                .iter()
                .any(|rule| rule.matches(request)),
        }
    }
}

impl Subject {
    fn matches(&self, request: &Request<'_>) -> bool {
        if let Some(user) = &self.user {
            return user.name == "*" || user.name == request.user;
        }
        if let Some(group) = &self.group {
            return group.name == "*" || request.groups.contains(&group.name);
        }
        let account = self.service_account.as_ref();
        account.is_some_and(|account| account.is(request.user))
    }
}

impl Account {
    fn is(&self, user: &str) -> bool {
        let account = user.strip_prefix(SERVICE_ACCOUNT_PREFIX);
        let Some((namespace, name)) = account.and_then(|account| account.split_once(':')) else {
            return false;
        };
        namespace == self.namespace && (self.name == "*" || self.name == name)
    }
}

impl ResourceRule {
    fn matches(&self, request: &Request<'_>) -> bool {
        has(&self.verbs, |verb| verb == request.verb)
            && has(&self.resources, |resource| is_resource(resource, request))
            && has(&self.api_groups, |group| group == request.api_group)
            && match request.namespace {
                "" => self.cluster_scope,
                namespace => has(&self.namespaces, |known| known == namespace),
            }
    }
}

impl NonResourceRule {
    fn matches(&self, request: &Request<'_>) -> bool {
        let is_path = |url: &str| {
            let prefix = url.strip_suffix('*').unwrap_or(url);
            let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
            let rest = request.path.strip_prefix(prefix);
            url == request.path || rest.is_some_and(|rest| rest.starts_with('/'))
        };
        has(&self.verbs, |verb| verb == request.verb) && has(&self.non_resource_urls, is_path)
    }
}

/// Whether a list is `*` or has a fitting text.
fn has(list: &[String], fits: impl Fn(&str) -> bool) -> bool {
    matches!(list, [only] if only == "*") || list.iter().any(|text| fits(text))
}

/// Whether a rule's resource, `pods` or `pods/status`, is that of a request.
fn is_resource(resource: &str, request: &Request<'_>) -> bool {
    match resource.split_once('/') {
        Some((resource, subresource)) => {
            (resource, subresource) == (request.resource, request.subresource)
        }
        None => request.subresource.is_empty() && resource == request.resource,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A request for a resource, or for a path.
    fn request<'a>(
        user: &'a str,
        groups: &'a [String],
        verb: &'a str,
        what: &'a str,
    ) -> Request<'a> {
        let is_resource_request = !what.starts_with('/');
        let mut parts = what.split(' ');
        let mut part = || match is_resource_request {
            true => parts.next().unwrap_or_default(),
            false => "",
        };
        Request {
            user,
            groups,
            verb,
            is_resource_request,
            api_group: part().trim_matches('-'),
            resource: part(),
            subresource: part().trim_matches('-'),
            namespace: part(),
            path: what,
        }
    }

    #[test]
    fn requests_match_by_subject_and_rule() {
        let subject = |subject: Value| json!([subject]);
        let user = subject(json!({"kind": "User", "user": {"name": "ann"}}));
        let everybody = subject(json!({"kind": "User", "user": {"name": "*"}}));
        let group = subject(json!({"kind": "Group", "group": {"name": "ops"}}));
        let account = |name: &str| {
            let account = json!({"namespace": "ns", "name": name});
            subject(json!({"kind": "ServiceAccount", "serviceAccount": account}))
        };
        let pods = json!({"resourceRules": [{"verbs": ["get", "list"], "apiGroups": [""],
            "resources": ["pods", "pods/log"], "namespaces": ["a", "b"]}]});
        let all = json!({"resourceRules": [{"verbs": ["*"], "apiGroups": ["*"],
            "resources": ["*"], "namespaces": ["*"], "clusterScope": true}]});
        let in_namespaces = json!({"resourceRules": [{"verbs": ["*"], "apiGroups": ["*"],
            "resources": ["*"], "namespaces": ["*"]}]});
        let health = json!({"nonResourceRules": [{"verbs": ["get"],
            "nonResourceURLs": ["/healthz", "/livez/*"]}]});
        let robot = "system:serviceaccount:ns:robot";
        let table = [
            (&user, &pods, "ann", "get", "- pods - a", true),
            (&user, &pods, "bob", "get", "- pods - a", false),
            (&everybody, &pods, "bob", "get", "- pods - a", true),
            (&group, &pods, "bob", "get", "- pods - a", true),
            (&account("robot"), &pods, robot, "get", "- pods - a", true),
            (&account("*"), &pods, robot, "get", "- pods - a", true),
            (&account("other"), &pods, robot, "get", "- pods - a", false),
            (
                &account("*"),
                &pods,
                "system:serviceaccount:ns2:r",
                "get",
                "- pods - a",
                false,
            ),
            (&account("*"), &pods, "ann", "get", "- pods - a", false),
            (&user, &pods, "ann", "delete", "- pods - a", false),
            (&user, &pods, "ann", "get", "- pods log a", true),
            (&user, &pods, "ann", "get", "- pods exec a", false),
            (&user, &pods, "ann", "get", "- pods - c", false),
            (&user, &pods, "ann", "list", "- pods -", false),
            (&user, &pods, "ann", "get", "apps pods - a", false),
            (&user, &all, "ann", "list", "apps daemonsets -", true),
            (&user, &all, "ann", "get", "/healthz", false),
            (&user, &in_namespaces, "ann", "list", "- pods - c", true),
            (&user, &in_namespaces, "ann", "list", "- nodes -", false),
            (&user, &health, "ann", "get", "/healthz", true),
            (&user, &health, "ann", "get", "/healthz/etcd", true),
            (&user, &health, "ann", "get", "/healthzy", false),
            (&user, &health, "ann", "get", "/livez/x", true),
            (&user, &health, "ann", "get", "/livezy", false),
            (&user, &health, "ann", "get", "- pods - a", false),
        ];
        for (subjects, rule, name, verb, what, expected) in table {
            let mut rule = rule.clone();
            rule["subjects"] = subjects.clone();
            let schema = json!({"metadata": {"name": "s"}, "spec": {"rules": [rule]}});
            let schema = FlowSchema::deserialize(schema).unwrap();
            let groups = ["ops".to_owned()];
            let request = request(name, &groups, verb, what);
            assert_eq!(schema.matches(&request), expected, "{schema:?} {request:?}");
        }
    }
}
