//! Roles and bindings as lines of text, and a small evaluator of them. It shares no code with the
//! server's.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Roles by `KIND NAME` (`KIND NAMESPACE/NAME`), and bindings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) roles: BTreeMap<String, Role>,
    pub(crate) bindings: BTreeSet<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Role {
    /// `aggregates=X`: it has the rules of all roles with `to=X`.
    pub(crate) attributes: Vec<String>,
    pub(crate) rules: Vec<String>,
}

/// What somebody wants to do.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) user: &'a str,
    pub(crate) groups: Vec<&'a str>,
    pub(crate) verb: &'a str,
    /// A path, or `GROUP RESOURCE[/SUBRESOURCE] [NAME]` with `-` for the core group.
    pub(crate) what: &'a str,
    pub(crate) namespace: &'a str,
}

impl<'a> Asked<'a> {
    /// Reads a line of `cases.txt`, and whether it is to be allowed.
    pub(crate) fn parse(line: &'a str) -> (Self, bool) {
        let (who, request) = line.split_once(": ").unwrap();
        let mut groups: Vec<&str> = who.split('+').collect();
        let user = groups.remove(0);
        groups.push(match user {
            "system:anonymous" => "system:unauthenticated",
            _ => "system:authenticated",
        });
        if user.starts_with("system:serviceaccount:") {
            groups.push("system:serviceaccounts");
        }
        let (request, answer) = request.rsplit_once(' ').unwrap();
        let (verb, what) = request.split_once(' ').unwrap();
        let (what, namespace) = what.split_once(" @").unwrap_or((what, ""));
        let asked = Self {
            user,
            groups,
            verb,
            what,
            namespace,
        };
        (asked, answer == "yes")
    }
}

impl Facts {
    /// Reads the form of `upstream.txt`.
    pub(crate) fn parse(text: &str) -> Self {
        let mut facts = Self::default();
        let mut current = String::new();
        let lines = text.lines();
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(rule) = line.strip_prefix("  ") {
                let role: &mut Role = facts.roles.get_mut(&current).unwrap();
                role.rules.push(rule.to_owned());
            } else if line.contains(" = ") {
                facts.bindings.insert(line.to_owned());
            } else {
                let mut words = line.split(' ');
                current = [words.next().unwrap(), words.next().unwrap()].join(" ");
                let attributes = words.map(str::to_owned).collect();
                let rules = Vec::new();
                facts
                    .roles
                    .insert(current.clone(), Role { attributes, rules });
            }
        }
        facts.expand_controllers();
        facts
    }

    /// Each controller's role is bound to its account.
    fn expand_controllers(&mut self) {
        let pattern = self.bindings.iter().find(|line| line.contains(":*"));
        let pattern = pattern.unwrap().clone();
        self.bindings.remove(&pattern);
        let names = self.roles.keys();
        let accounts = names.filter_map(|name| name.strip_prefix("ClusterRole system:controller:"));
        self.bindings
            .extend(accounts.map(|account| pattern.replace('*', account)));
    }

    /// Reads objects of the API.
    pub(crate) fn of(objects: &[Value]) -> Self {
        let mut facts = Self::default();
        for object in objects {
            let (kind, metadata) = (text(&object["kind"]), &object["metadata"]);
            let name = match text(&metadata["namespace"]) {
                "" => text(&metadata["name"]).to_owned(),
                namespace => format!("{namespace}/{}", text(&metadata["name"])),
            };
            if kind.ends_with("Binding") {
                let role = &object["roleRef"];
                let subjects: Vec<String> = items(&object["subjects"]).map(subject).collect();
                let (of, to) = (text(&role["kind"]), subjects.join(", "));
                let line = format!("{kind} {name} = {of} {}: {to}", text(&role["name"]));
                facts.bindings.insert(line.trim_end().to_owned());
            } else {
                let role = Role {
                    attributes: attributes(object),
                    rules: items(&object["rules"]).map(rule).collect(),
                };
                facts.roles.insert(format!("{kind} {name}"), role);
            }
        }
        facts
    }

    /// Whether a user may do something.
    pub(crate) fn allow(&self, asked: &Asked<'_>) -> bool {
        self.bindings.iter().any(|binding| {
            let (bound, given) = binding.split_once(" = ").unwrap();
            let (role, subjects) = given.rsplit_once(": ").unwrap_or((given, ""));
            let (kind, name) = bound.split_once(' ').unwrap();
            let namespace = match kind {
                "RoleBinding" => name.split_once('/').unwrap().0,
                _ => "",
            };
            let role = match role.strip_prefix("Role ") {
                Some(role) => format!("Role {namespace}/{role}"),
                None => role.to_owned(),
            };
            let is_place = namespace.is_empty()
                || (namespace == asked.namespace && !asked.what.starts_with('/'));
            is_place
                && subjects
                    .split(", ")
                    .any(|subject| is_subject(subject, asked))
                && self.rules(&role).iter().any(|rule| allows(rule, asked))
        })
    }

    /// The rules of a role, also those that it aggregates.
    fn rules(&self, role: &str) -> Vec<String> {
        let Some(role) = self.roles.get(role) else {
            return Vec::new();
        };
        let mut rules = role.rules.clone();
        for attribute in &role.attributes {
            if let Some(label) = attribute.strip_prefix("aggregates=") {
                let part = format!("to={label}");
                let parts = self.roles.iter();
                let parts = parts.filter(|(_, other)| other.attributes.contains(&part));
                rules.extend(parts.flat_map(|(name, _)| self.rules(name)));
            }
        }
        rules
    }
}

fn is_subject(subject: &str, asked: &Asked<'_>) -> bool {
    match subject.split_once(' ') {
        Some(("User", name)) => name == asked.user,
        Some(("Group", name)) => asked.groups.contains(&name),
        Some(("ServiceAccount", name)) => {
            let user = format!("system:serviceaccount:{}", name.replace('/', ":"));
            user == asked.user
        }
        _ => false,
    }
}

fn allows(rule: &str, asked: &Asked<'_>) -> bool {
    let has = |list: &str, item: &str| list.split(',').any(|word| word == item || word == "*");
    let words: Vec<&str> = rule.split(' ').collect();
    if let ["paths", paths, verbs] = words[..] {
        let matches = |path: &str| match path.strip_suffix('*') {
            Some(start) => asked.what.starts_with(start),
            None => asked.what == path,
        };
        return asked.what.starts_with('/')
            && has(verbs, asked.verb)
            && paths.split(',').any(matches);
    }
    let wanted: Vec<&str> = asked.what.split(' ').collect();
    let [group, resource, ref name @ ..] = wanted[..] else {
        return false;
    };
    let of_any = resource
        .split_once('/')
        .map(|(_, part)| format!("*/{part}"));
    has(words[0], group)
        && (has(words[1], resource) || of_any.is_some_and(|part| has(words[1], &part)))
        && has(words[2], asked.verb)
        && (words.len() == 3
            || name
                .iter()
                .any(|name| words[3].split(',').any(|w| w == *name)))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn subject(subject: &Value) -> String {
    let (kind, name) = (text(&subject["kind"]), text(&subject["name"]));
    match kind {
        "ServiceAccount" => format!("{kind} {}/{name}", text(&subject["namespace"])),
        _ => format!("{kind} {name}"),
    }
}

fn attributes(role: &Value) -> Vec<String> {
    let labels = role["metadata"]["labels"].as_object();
    let labels = labels.into_iter().flat_map(|labels| labels.keys());
    let to = labels.filter_map(|label| label.rsplit_once("aggregate-to-"));
    let to = to.map(|(_, label)| format!("to={label}"));
    let selectors = items(&role["aggregationRule"]["clusterRoleSelectors"]);
    let selected = selectors.flat_map(|selector| selector["matchLabels"].as_object().unwrap());
    let selected = selected.filter_map(|(label, _)| label.rsplit_once("aggregate-to-"));
    let aggregates = selected.map(|(_, label)| format!("aggregates={label}"));
    aggregates.chain(to).collect()
}

fn rule(rule: &Value) -> String {
    let words = |field: &str| {
        let list: Vec<&str> = items(&rule[field]).map(text).collect();
        let list = list.into_iter();
        let list: Vec<&str> = list
            .map(|word| if word.is_empty() { "-" } else { word })
            .collect();
        list.join(",")
    };
    let paths = words("nonResourceURLs");
    if !paths.is_empty() {
        return format!("paths {paths} {}", words("verbs"));
    }
    let line = format!(
        "{} {} {}",
        words("apiGroups"),
        words("resources"),
        words("verbs")
    );
    match words("resourceNames") {
        names if names.is_empty() => line,
        names => format!("{line} {names}"),
    }
}
