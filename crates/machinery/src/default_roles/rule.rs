//! The rules of the tables. Upstream: `rbacv1helpers.PolicyRuleBuilder`.

use serde_json::{Map, Value};

pub(super) const READ: &str = "get list watch";
pub(super) const WRITE: &str = "create delete deletecollection patch update";
pub(super) const READ_WRITE: &str = "create delete deletecollection get list patch update watch";
pub(super) const READ_UPDATE: &str = "get list patch update watch";

pub(super) const CORE: &str = "";
pub(super) const ADMISSION: &str = "admissionregistration.k8s.io";
pub(super) const APPS: &str = "apps";
pub(super) const AUTHENTICATION: &str = "authentication.k8s.io";
pub(super) const AUTHORIZATION: &str = "authorization.k8s.io";
pub(super) const AUTOSCALING: &str = "autoscaling";
pub(super) const BATCH: &str = "batch";
pub(super) const CERTIFICATES: &str = "certificates.k8s.io";
pub(super) const COORDINATION: &str = "coordination.k8s.io";
pub(super) const DISCOVERY: &str = "discovery.k8s.io";
pub(super) const EVENTS: &str = "events.k8s.io";
pub(super) const EXTENSIONS: &str = "extensions";
pub(super) const NETWORKING: &str = "networking.k8s.io";
pub(super) const NODE: &str = "node.k8s.io";
pub(super) const POLICY: &str = "policy";
pub(super) const RBAC: &str = "rbac.authorization.k8s.io";
pub(super) const RESOURCE: &str = "resource.k8s.io";
pub(super) const STORAGE: &str = "storage.k8s.io";

/// A rule of a role. Lists are words that are separated by spaces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    verbs: &'static str,
    groups: &'static [&'static str],
    resources: &'static str,
    names: &'static str,
    urls: &'static str,
}

/// Allows verbs on resources of API groups.
pub(super) const fn allow(
    verbs: &'static str,
    groups: &'static [&'static str],
    resources: &'static str,
) -> Rule {
    Rule {
        verbs,
        groups,
        resources,
        names: "",
        urls: "",
    }
}

/// Allows to read paths that are no resources.
pub(super) const fn allow_paths(urls: &'static str) -> Rule {
    Rule {
        urls,
        ..allow("get", &[], "")
    }
}

/// Allows to record events, as nearly all components do.
pub(super) const fn record_events() -> Rule {
    allow("create patch update", &[CORE, EVENTS], "events")
}

impl Rule {
    /// The same, for objects of these names only.
    pub(super) const fn names(self, names: &'static str) -> Self {
        Self { names, ..self }
    }

    /// The same, with other verbs.
    pub(super) const fn verbs(self, verbs: &'static str) -> Self {
        Self { verbs, ..self }
    }

    /// The rule as the field of an object. Its lists are sorted, as upstream's.
    pub(super) fn to_value(self) -> Value {
        let words = |text: &'static str| text.split_ascii_whitespace().collect::<Vec<_>>();
        let lists = [
            ("apiGroups", self.groups.to_vec()),
            ("resources", words(self.resources)),
            ("resourceNames", words(self.names)),
            ("nonResourceURLs", words(self.urls)),
            ("verbs", words(self.verbs)),
        ];
        let mut rule = Map::new();
        for (field, mut list) in lists {
            if !list.is_empty() {
                list.sort_unstable();
                rule.insert(field.to_owned(), list.into());
            }
        }
        rule.into()
    }
}
