//! The file of a policy: reading and checking it.

use serde::Deserialize;

use super::{GroupResources, Level, Policy, Rule, Stage};

/// The names of stages, as errors list them.
const STAGES: [&str; 4] = [
    "RequestReceived",
    "ResponseStarted",
    "ResponseComplete",
    "Panic",
];
/// The names of levels, as errors list them (sorted).
const LEVELS: [&str; 4] = ["Metadata", "None", "Request", "RequestResponse"];

/// A policy as it is in its file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PolicyFile {
    api_version: String,
    kind: String,
    #[serde(default)]
    #[expect(dead_code, reason = "allowed in the file, and without a meaning")]
    metadata: serde_json::Value,
    #[serde(default)]
    rules: Vec<RuleFile>,
    #[serde(default)]
    omit_stages: Vec<String>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RuleFile {
    level: String,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    omit_stages: Vec<String>,
    omit_managed_fields: Option<bool>,
}

/// What is written down unless a policy says otherwise.
const DEFAULT: &str = include_str!("../default_policy.yaml");

impl Policy {
    /// The policy of a server that is given none: what people change, and what they read of
    /// Secrets and in containers.
    ///
    /// # Errors
    /// None: a test parses it.
    pub(crate) fn built_in() -> Result<Self, String> {
        Self::parse(DEFAULT)
    }

    /// Reads a policy file.
    ///
    /// # Errors
    /// What is wrong with it, one line for each fault.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let file: PolicyFile = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        if (file.api_version.as_str(), file.kind.as_str()) != ("audit.k8s.io/v1", "Policy") {
            return Err(format!(
                "it must have apiVersion: audit.k8s.io/v1 and kind: Policy, but has {:?} and {:?}",
                file.api_version, file.kind
            ));
        }
        if file.rules.is_empty() {
            return Err("it has no rules, so that nothing would be written down".to_owned());
        }
        let mut faults = Vec::new();
        check_stages(&file.omit_stages, "omitStages", &mut faults);
        for (index, rule) in file.rules.iter().enumerate() {
            check_rule(rule, &format!("rules[{index}]"), &mut faults);
        }
        if !faults.is_empty() {
            return Err(faults.join("\n"));
        }
        let rules = file.rules.into_iter().map(|rule| Rule {
            level: level(&rule.level).unwrap_or_default(),
            omit_stages: stages(file.omit_stages.iter().chain(&rule.omit_stages)),
            omit_managed_fields: rule.omit_managed_fields.unwrap_or(file.omit_managed_fields),
            users: rule.users,
            user_groups: rule.user_groups,
            verbs: rule.verbs,
            resources: rule.resources,
            namespaces: rule.namespaces,
            non_resource_urls: rule.non_resource_urls,
        });
        Ok(Self(rules.collect()))
    }
}

fn level(text: &str) -> Option<Level> {
    serde_json::from_value(text.into()).ok()
}

fn stages<'a>(names: impl Iterator<Item = &'a String>) -> Vec<Stage> {
    names
        .filter_map(|name| serde_json::from_value(name.as_str().into()).ok())
        .collect()
}

/// Upstream: `ValidatePolicy`.
fn check_rule(rule: &RuleFile, path: &str, faults: &mut Vec<String>) {
    if rule.level.is_empty() {
        faults.push(format!("{path}.level: Required value"));
    } else if level(&rule.level).is_none() {
        let supported = LEVELS.map(|level| format!("{level:?}")).join(", ");
        faults.push(format!(
            "{path}.level: Unsupported value: {:?}: supported values: {supported}",
            rule.level
        ));
    }
    for (index, url) in rule.non_resource_urls.iter().enumerate() {
        let mut fault = |why: &str| {
            faults.push(format!(
                "{path}.nonResourceURLs[{index}]: Invalid value: {url:?}: {why}"
            ));
        };
        if url != "*" && !url.starts_with('/') {
            fault("non-resource URL rules must begin with a '/' character");
        }
        if url.find('*').is_some_and(|at| at + 1 < url.len()) {
            fault("non-resource URL wildcards '*' must be the final character of the rule");
        }
    }
    for (index, of_group) in rule.resources.iter().enumerate() {
        if of_group.group.contains('/') {
            faults.push(format!(
                "{path}.resources[{index}].group: Invalid value: {:?}: a group has no version",
                of_group.group
            ));
        }
        if !of_group.resource_names.is_empty() && of_group.resources.is_empty() {
            faults.push(format!(
                "{path}.resources[{index}].resourceNames: Invalid value: {:?}: using resourceNames \
                 requires at least one resource",
                of_group.resource_names
            ));
        }
    }
    check_stages(&rule.omit_stages, &format!("{path}.omitStages"), faults);
    let is_about_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
    if !rule.non_resource_urls.is_empty() && is_about_resources {
        faults.push(format!(
            "{path}.nonResourceURLs: Invalid value: {:?}: rules cannot apply to both regular resources \
             and non-resource URLs",
            rule.non_resource_urls
        ));
    }
}

fn check_stages(names: &[String], path: &str, faults: &mut Vec<String>) {
    for (index, name) in names.iter().enumerate() {
        if !STAGES.contains(&name.as_str()) {
            faults.push(format!(
                "{path}[{index}]: Invalid value: {name:?}: allowed stages are {}",
                STAGES.join(",")
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_of_a_policy_is_named() {
        let policy = |rules: &str| {
            let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}");
            Policy::parse(&text).map(|_| ()).unwrap_err()
        };
        let table = [
            ("- {}", "rules[0].level: Required value"),
            (
                "- {level: All}",
                "rules[0].level: Unsupported value: \"All\": supported values: \"Metadata\", \"None\", \
                 \"Request\", \"RequestResponse\"",
            ),
            (
                "- {level: None, nonResourceURLs: [x]}",
                "rules[0].nonResourceURLs[0]: Invalid value: \"x\": non-resource URL rules must begin \
                 with a '/' character",
            ),
            (
                "- {level: None, nonResourceURLs: [/a*b]}",
                "rules[0].nonResourceURLs[0]: Invalid value: \"/a*b\": non-resource URL wildcards '*' \
                 must be the final character of the rule",
            ),
            (
                "- {level: None, nonResourceURLs: [/a], namespaces: [d]}",
                "rules[0].nonResourceURLs: Invalid value: [\"/a\"]: rules cannot apply to both regular \
                 resources and non-resource URLs",
            ),
            (
                "- {level: None, resources: [{resourceNames: [a]}]}",
                "rules[0].resources[0].resourceNames: Invalid value: [\"a\"]: using resourceNames requires \
                 at least one resource",
            ),
            (
                "- {level: None}\n- {level: None, omitStages: [Done]}",
                "rules[1].omitStages[0]: Invalid value: \"Done\": allowed stages are \
                 RequestReceived,ResponseStarted,ResponseComplete,Panic",
            ),
        ];
        for (rules, expected) in table {
            assert_eq!(policy(rules), expected);
        }
        assert!(policy("- {level: None, user: [a]}").contains("unknown field `user`"));
        let empty = Policy::parse("{apiVersion: audit.k8s.io/v1, kind: Policy}");
        assert!(empty.unwrap_err().starts_with("it has no rules"));
        let other = Policy::parse("{apiVersion: v1, kind: Pod}").unwrap_err();
        assert!(other.contains("but has \"v1\" and \"Pod\""), "{other}");
    }
}
