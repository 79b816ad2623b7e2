//! Rules of roles.

use std::fmt;

use serde_json::Value;

use super::request::{ALL, Request, Target};
use crate::{go_text::quote, json_fields::ReadFields};

/// A rule of a role (upstream's `PolicyRule`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PolicyRule {
    /// The verbs that it allows; `*` for all.
    pub verbs: Vec<String>,
    /// The API groups of its resources; `*` for all.
    pub api_groups: Vec<String>,
    /// The resources, such as `pods`, `pods/log`, `*/scale` or `*`.
    pub resources: Vec<String>,
    /// The names of the objects; none for all objects.
    pub resource_names: Vec<String>,
    /// The paths that are no resources, such as `/metrics` or `/healthz/*`.
    pub non_resource_urls: Vec<String>,
}

impl PolicyRule {
    /// The rule in a role.
    #[must_use]
    pub fn read(rule: &Value) -> Self {
        let texts = |field: &str| {
            let items = rule.items(field).iter().filter_map(Value::as_str);
            items.map(str::to_owned).collect()
        };
        Self {
            verbs: texts("verbs"),
            api_groups: texts("apiGroups"),
            resources: texts("resources"),
            resource_names: texts("resourceNames"),
            non_resource_urls: texts("nonResourceURLs"),
        }
    }

    /// The rules of a Role or ClusterRole.
    #[must_use]
    pub fn of_role(role: &Value) -> Vec<Self> {
        role.items("rules").iter().map(Self::read).collect()
    }

    /// Whether it allows a request (upstream's `RuleAllows`).
    #[must_use]
    pub fn allows(&self, request: &Request<'_>) -> bool {
        has(&self.verbs, request.verb)
            && match &request.target {
                Target::Path(path) => self.non_resource_urls.iter().any(|url| matches(url, path)),
                Target::Resource {
                    api_group, name, ..
                } => {
                    has(&self.api_groups, api_group)
                        && (self.resource_names.is_empty()
                            || self.resource_names.iter().any(|known| known == name))
                        && request.resources().any(|wanted| {
                            let mut named = self.resources.iter();
                            named.any(|resource| resource == wanted)
                        })
                }
            }
    }
}

/// The texts of lists that have more combinations than this are not combined: a role could be so
/// written that they fill the memory.
pub(super) const COMBINATIONS_MAX: usize = 10_000;

impl PolicyRule {
    /// How many verbs on resources, names and paths it allows.
    pub(super) fn combinations(&self) -> usize {
        let lists = [&self.verbs, &self.api_groups, &self.resources];
        let of_lists = |product: usize, list: &&Vec<String>| product.saturating_mul(list.len());
        let resources = lists.iter().fold(1, of_lists);
        let names = self.resource_names.len().max(1);
        let paths = self
            .verbs
            .len()
            .saturating_mul(self.non_resource_urls.len());
        resources.saturating_mul(names).saturating_add(paths)
    }
}

/// Whether a list has an item, or `*`.
pub(super) fn has(list: &[String], item: &str) -> bool {
    list.iter().any(|known| known == item || known == ALL)
}

/// Whether a path is the one of a rule, or below it if that ends in `*`.
pub(super) fn matches(url: &str, path: &str) -> bool {
    url == path || (url.ends_with(ALL) && path.starts_with(url.trim_end_matches(ALL)))
}

/// As upstream shows it in refusals: `{APIGroups:["apps"], Resources:["daemonsets"],
/// Verbs:["get" "list"]}` (`CompactString`).
impl fmt::Display for PolicyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let set = fields.iter().filter(|(_, list)| !list.is_empty());
        let texts: Vec<String> = set
            .map(|(name, list)| format!("{name}:{}", quoted(list)))
            .collect();
        write!(f, "{{{}}}", texts.join(", "))
    }
}

/// A list in the format `%q`, such as `["a" "b"]`.
pub(super) fn quoted(list: &[String]) -> String {
    let texts: Vec<String> = list.iter().map(|text| quote(text)).collect();
    format!("[{}]", texts.join(" "))
}
