//! The audit policy: which requests are written down, and how much of each.
//! Upstream: `audit.k8s.io/v1` Policy, `apiserver/pkg/audit/policy`.

mod file;

use serde::{Deserialize, Serialize};

use crate::auth::Attributes;

/// How much of a request is written down.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(crate) enum Level {
    /// Not at all.
    #[default]
    None,
    /// Who, what and when, and the code of the response.
    Metadata,
    /// Also the body of the request.
    Request,
    /// Also the body of the response.
    RequestResponse,
}

/// When in the course of a request an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// The user is known, and the body is not yet read.
    RequestReceived,
    /// The head of a response is sent whose body takes long, such as that of a watch.
    ResponseStarted,
    /// The response is sent, or the client has gone.
    ResponseComplete,
    /// The handler panicked.
    Panic,
}

/// What a policy says about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict<'a> {
    pub level: Level,
    pub omit_stages: &'a [Stage],
    pub omit_managed_fields: bool,
}

/// A valid policy. The first rule that matches decides; without one, nothing is written down.
#[derive(Debug)]
pub(crate) struct Policy(Vec<Rule>);

/// Resources of one API group.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

#[derive(Debug)]
struct Rule {
    level: Level,
    omit_stages: Vec<Stage>,
    omit_managed_fields: bool,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    non_resource_urls: Vec<String>,
}

impl Policy {
    /// What is written down of a request.
    /// The content of what holds secrets is never written down.
    pub(crate) fn evaluate(&self, attributes: &Attributes<'_>, holds_secrets: bool) -> Verdict<'_> {
        let highest = match holds_secrets {
            true => Level::Metadata,
            false => Level::RequestResponse,
        };
        let rule = self.0.iter().find(|rule| rule.matches(attributes));
        match rule {
            Some(rule) => Verdict {
                level: rule.level.min(highest),
                omit_stages: &rule.omit_stages,
                omit_managed_fields: rule.omit_managed_fields,
            },
            None => Verdict {
                level: Level::None,
                omit_stages: &[],
                omit_managed_fields: false,
            },
        }
    }
}

impl Rule {
    /// Upstream: `ruleMatches`.
    fn matches(&self, attributes: &Attributes<'_>) -> bool {
        let has = |list: &[String], value: &str| list.iter().any(|entry| entry == value);
        let any = |list: &[String], value: &str| list.is_empty() || has(list, value);
        let user = attributes.user;
        let groups = &self.user_groups;
        if !any(&self.users, &user.name)
            || !(groups.is_empty() || user.groups.iter().any(|group| has(groups, group)))
            || !any(&self.verbs, attributes.verb)
        {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return attributes.is_resource_request
                && any(&self.namespaces, attributes.namespace)
                && (self.resources.is_empty()
                    || self.resources.iter().any(|one| one.matches(attributes)));
        }
        if !self.non_resource_urls.is_empty() {
            return !attributes.is_resource_request
                && self.non_resource_urls.iter().any(|url| {
                    let prefix = url.strip_suffix('*');
                    prefix.map_or(url == attributes.path, |p| attributes.path.starts_with(p))
                });
        }
        true
    }
}

impl GroupResources {
    /// Upstream: `ruleMatchesResource`.
    fn matches(&self, attributes: &Attributes<'_>) -> bool {
        let names = &self.resource_names;
        let is_named = names.is_empty() || names.iter().any(|name| name == attributes.name);
        self.group == attributes.api_group
            && (self.resources.is_empty()
                || (is_named
                    && self
                        .resources
                        .iter()
                        .any(|r| matches_resource(r, attributes))))
    }
}

fn matches_resource(pattern: &str, attributes: &Attributes<'_>) -> bool {
    let (resource, subresource) = (attributes.resource, attributes.subresource);
    match pattern.split_once('/') {
        None => pattern == "*" || (pattern == resource && subresource.is_empty()),
        Some(("*", sub)) => !subresource.is_empty() && sub == subresource,
        Some((name, "*")) => name == resource,
        Some((name, sub)) => name == resource && sub == subresource,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{auth::User, http::request::parse_path};

    const OURS: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
metadata: {name: ours}
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: None, users: [eve], verbs: [get]}
- {level: Metadata, userGroups: [ops], omitStages: [Panic], omitManagedFields: false}
- {level: Request, resources: [{group: "", resources: ["pods"], resourceNames: [p]}]}
- {level: RequestResponse, resources: [{group: "", resources: ["pods/*", "*/status"]}]}
- {level: Request, namespaces: [d], resources: [{group: apps}]}
- {level: None, nonResourceURLs: ["/healthz*", /version]}
- {level: RequestResponse, resources: [{group: ""}]}
- {level: Metadata}
"#;

    /// Checks lines of user, verb, path and expected level.
    fn check(policy: &Policy, lines: &str) {
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let words: Vec<_> = line.split_whitespace().collect();
            let groups: &[&str] = match words[0] {
                "ops" => &["ops"],
                "node" => &["system:nodes"],
                "controller" => &["system:serviceaccounts:kube-system"],
                _ => &[],
            };
            let groups: Vec<_> = groups.iter().map(|&group| group.to_owned()).collect();
            let (user, target) = (User::known(words[0], &groups), parse_path(words[2]));
            let attributes = Attributes::of_request(&user, words[1], &target, words[2], None);
            let found = policy.evaluate(&attributes, false).level;
            assert_eq!(format!("{found:?}"), words[3], "{line}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let lines = "
            eve get    /api/v1/namespaces/d/pods/p             None
            eve list   /api/v1/pods                            RequestResponse
            ops get    /version                                Metadata
            bob get    /api/v1/namespaces/d/pods/p             Request
            bob get    /api/v1/namespaces/d/pods/p/log         RequestResponse
            bob get    /api/v1/nodes/n/status                  RequestResponse
            bob get    /apis/apps/v1/namespaces/d/daemonsets/x Request
            bob get    /apis/apps/v1/namespaces/e/daemonsets/x Metadata
            bob get    /healthz/ping                           None
            bob get    /version                                None
            bob get    /version/x                              Metadata";
        check(&Policy::parse(OURS).unwrap(), lines);
    }

    #[test]
    fn options_of_a_rule_are_joined_with_those_of_the_policy() {
        let policy = Policy::parse(OURS).unwrap();
        let verdict = |groups: &[String], holds_secrets| {
            let user = User::known("o", groups);
            let attributes = Attributes::new(&user, "get");
            let found = policy.evaluate(&attributes, holds_secrets);
            (
                found.level,
                found.omit_managed_fields,
                found.omit_stages.len(),
            )
        };
        assert_eq!(verdict(&["ops".into()], false), (Level::Metadata, false, 2));
        assert_eq!(verdict(&[], false), (Level::RequestResponse, true, 1));
        assert_eq!(verdict(&[], true), (Level::Metadata, true, 1), "no secrets");
    }

    #[test]
    fn the_built_in_policy_records_people_and_not_the_clusters_own_work() {
        let lines = "
            bob        create /api/v1/namespaces/d/pods        Metadata
            bob        delete /api/v1/nodes/n                  Metadata
            bob        get    /api/v1/namespaces/d/pods/p      None
            bob        get    /api/v1/namespaces/d/pods/p/exec Metadata
            bob        get    /api/v1/namespaces/d/pods/p/log  None
            bob        list   /api/v1/secrets                  Metadata
            bob        get    /healthz                         None
            node       patch  /api/v1/nodes/a/status           None
            node       get    /api/v1/namespaces/d/secrets/s   None
            controller create /api/v1/namespaces/d/pods        None";
        check(&Policy::built_in().unwrap(), lines);
    }
}
