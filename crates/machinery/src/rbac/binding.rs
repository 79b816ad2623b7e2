//! Bindings of roles to subjects.

use serde_json::Value;

use crate::{go_text::quote, json_fields::ReadFields};

/// Who asks: a user name and its groups.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// The user name.
    pub name: &'a str,
    /// The names of the groups it is in.
    pub groups: &'a [String],
}

/// A Role, or, without a namespace, a ClusterRole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoleRef {
    /// The namespace; empty for a ClusterRole.
    pub namespace: String,
    /// The name of the role in its namespace or the cluster.
    pub name: String,
}

impl RoleRef {
    /// The kind of object that it refers to.
    const fn kind(&self) -> &'static str {
        match self.namespace.is_empty() {
            true => "ClusterRole",
            false => "Role",
        }
    }

    /// The error for a role that does not exist, as upstream's informers have it.
    pub(super) fn not_found(&self) -> String {
        let resource = self.kind().to_lowercase();
        format!(
            "{resource}.{} {} not found",
            super::GROUP,
            quote(&self.name)
        )
    }
}

/// A user or group that has the role of a binding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    User(String),
    Group(String),
}

/// A RoleBinding, or, without a namespace, a ClusterRoleBinding.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) role: RoleRef,
    /// The subjects that can be, with what upstream calls them.
    pub(super) subjects: Vec<(Subject, String)>,
}

impl Binding {
    /// Reads a binding; none of a role of another kind or group.
    pub(super) fn read(namespace: &str, name: &str, binding: &Value) -> Option<Self> {
        let role = &binding["roleRef"];
        let role_namespace = match (role.text("apiGroup"), role.text("kind")) {
            (super::GROUP, "ClusterRole") => "",
            (super::GROUP, "Role") if !namespace.is_empty() => namespace,
            _ => return None,
        };
        let subjects = binding.items("subjects").iter();
        Some(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            role: RoleRef {
                namespace: role_namespace.to_owned(),
                name: role.text("name").to_owned(),
            },
            subjects: subjects
                .filter_map(|subject| read_subject(namespace, subject))
                .collect(),
        })
    }

    /// The binding and the subject that it applies to, as upstream's reasons have them.
    pub(super) fn describe(&self, who: Identity<'_>) -> String {
        let applies = |subject: &Subject| match subject {
            Subject::User(name) => name == who.name,
            Subject::Group(name) => who.groups.contains(name),
        };
        let subject = self.subjects.iter().find(|(subject, _)| applies(subject));
        let subject = subject.map_or("", |(_, shown)| shown.as_str());
        let (kind, name) = match self.namespace.as_str() {
            "" => ("ClusterRoleBinding", self.name.clone()),
            namespace => ("RoleBinding", format!("{}/{namespace}", self.name)),
        };
        let (role_kind, role) = (self.role.kind(), quote(&self.role.name));
        format!("{kind} {} of {role_kind} {role} to {subject}", quote(&name))
    }
}

fn read_subject(namespace: &str, subject: &Value) -> Option<(Subject, String)> {
    let (kind, name) = (subject.text("kind"), subject.text("name"));
    let shown = |name: &str| format!("{kind} {}", quote(name));
    match kind {
        "User" => Some((Subject::User(name.to_owned()), shown(name))),
        "Group" => Some((Subject::Group(name.to_owned()), shown(name))),
        "ServiceAccount" => {
            let namespace = match subject.text("namespace") {
                "" => namespace,
                given => given,
            };
            let user = format!("system:serviceaccount:{namespace}:{name}");
            let shown = shown(&format!("{name}/{namespace}"));
            (!namespace.is_empty()).then_some((Subject::User(user), shown))
        }
        _ => None,
    }
}
