//! The objects that are made of the tables.

use serde_json::{Value, json};

use super::rule::{RBAC, Rule};

/// The namespace of the accounts of controllers, and of most roles of a namespace.
pub(super) const SYSTEM: &str = "kube-system";

/// Who gets a role.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject {
    Group(&'static str),
    User(&'static str),
    /// A service account of `kube-system`.
    Account(&'static str),
}

impl Subject {
    fn to_value(self) -> Value {
        match self {
            Self::Group(name) => json!({"apiGroup": RBAC, "kind": "Group", "name": name}),
            Self::User(name) => json!({"apiGroup": RBAC, "kind": "User", "name": name}),
            Self::Account(name) => {
                json!({"kind": "ServiceAccount", "name": name, "namespace": SYSTEM})
            }
        }
    }
}

fn object(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
            "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
        },
    })
}

pub(super) fn cluster_role(name: &str, rules: &[Rule]) -> Value {
    let mut role = object("ClusterRole", name);
    role["rules"] = rules.iter().map(|rule| rule.to_value()).collect();
    role
}

/// A ClusterRole that has the rules of all ClusterRoles with the label of [`aggregated_to`].
pub(super) fn aggregate(name: &str) -> Value {
    let mut role = object("ClusterRole", name);
    let label = json!({label_of(name): "true"});
    role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": label}]});
    role
}

/// The same ClusterRole, with the label by which its rules become part of `admin`, `edit` or
/// `view`.
pub(super) fn aggregated_to(name: &str, mut role: Value) -> Value {
    role["metadata"]["labels"][label_of(name)] = "true".into();
    role
}

fn label_of(name: &str) -> String {
    format!("rbac.authorization.k8s.io/aggregate-to-{name}")
}

/// A binding of a ClusterRole for all namespaces.
pub(super) fn cluster_role_binding(name: &str, role: &str, to: &[Subject]) -> Value {
    binding(object("ClusterRoleBinding", name), "ClusterRole", role, to)
}

pub(super) fn role(namespace: &str, name: &str, rules: &[Rule]) -> Value {
    let mut role = object("Role", name);
    role["metadata"]["namespace"] = namespace.into();
    role["rules"] = rules.iter().map(|rule| rule.to_value()).collect();
    role
}

/// A binding of a Role of the same namespace.
pub(super) fn role_binding(namespace: &str, name: &str, role: &str, to: &[Subject]) -> Value {
    let mut object = object("RoleBinding", name);
    object["metadata"]["namespace"] = namespace.into();
    binding(object, "Role", role, to)
}

fn binding(mut object: Value, kind: &str, role: &str, subjects: &[Subject]) -> Value {
    object["roleRef"] = json!({"apiGroup": RBAC, "kind": kind, "name": role});
    if !subjects.is_empty() {
        object["subjects"] = subjects.iter().map(|subject| subject.to_value()).collect();
    }
    object
}
