//! Objects that give rights to others.

use serde_json::Value;

use super::rule::PolicyRule;
use crate::json_fields::ReadFields;

/// The rights that an object gives to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Those of a role.
    Rules {
        /// The rules of the role.
        rules: Vec<PolicyRule>,
        /// Whether a controller adds the rules of other roles.
        aggregates: bool,
    },
    /// Those of the role that a binding refers to.
    Role {
        /// The API group of the role.
        group: String,
        /// The kind of the role.
        kind: String,
        /// The name of the role.
        name: String,
    },
}

impl Grant {
    /// What a Role or ClusterRole gives.
    pub(crate) fn of_role(role: &Value) -> Self {
        let selectors = role["aggregationRule"].items("clusterRoleSelectors");
        Self::Rules {
            rules: PolicyRule::of_role(role),
            aggregates: !selectors.is_empty(),
        }
    }

    /// What a RoleBinding or ClusterRoleBinding gives.
    pub(crate) fn of_binding(binding: &Value) -> Self {
        let role = &binding["roleRef"];
        Self::Role {
            group: role.text("apiGroup").to_owned(),
            kind: role.text("kind").to_owned(),
            name: role.text("name").to_owned(),
        }
    }
}
