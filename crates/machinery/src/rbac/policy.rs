//! All roles and bindings, indexed by subject, namespace and resource.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use super::{
    binding::{Binding, Identity, RoleRef, Subject},
    request::Request,
    role_set::{RoleSet, Rules},
    rule::PolicyRule,
};

/// All roles and bindings. A decision looks only at the roles of the user and its groups, and of
/// those only at the ones that name the resource, if there are many. A write of a binding costs as
/// much as the binding is long, one of a role as much as it has bindings.
#[derive(Debug, Default)]
pub struct Policy {
    /// Also those that do not exist and have a binding.
    roles: BTreeMap<Arc<RoleRef>, Role>,
    /// By namespace (empty for the cluster) and name.
    bindings: BTreeMap<(String, String), Arc<Binding>>,
    users: BySubject,
    groups: BySubject,
}

/// The roles of subjects: name of the subject, namespace of the bindings.
type BySubject = BTreeMap<String, BTreeMap<String, RoleSet>>;

#[derive(Debug, Default)]
struct Role {
    /// `None` if it does not exist.
    rules: Option<Arc<Rules>>,
    /// Its bindings, by namespace and name.
    bindings: BTreeMap<(String, String), Arc<Binding>>,
}

/// The rules that a user has, and the errors of roles that do not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The rules: those of the whole cluster first.
    pub rules: Vec<PolicyRule>,
    /// An error for each role that the user is bound to and that does not exist.
    pub errors: Vec<String>,
}

impl Policy {
    /// Sets or removes a Role, or, without a namespace, a ClusterRole.
    pub fn set_role(&mut self, namespace: &str, name: &str, role: Option<&Value>) {
        let reference = Arc::new(RoleRef {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        });
        let rules = role.map(|role| Arc::new(Rules::new(PolicyRule::of_role(role))));
        let known = self.roles.entry(Arc::clone(&reference)).or_default();
        known.rules.clone_from(&rules);
        for binding in known.bindings.values() {
            for (subject, _) in &binding.subjects {
                let sets = match subject {
                    Subject::User(name) => self.users.get_mut(name),
                    Subject::Group(name) => self.groups.get_mut(name),
                };
                if let Some(set) = sets.and_then(|sets| sets.get_mut(&binding.namespace)) {
                    set.set_rules(&reference, rules.as_ref());
                }
            }
        }
        self.forget_unused(&reference);
    }

    /// Sets or removes a RoleBinding, or, without a namespace, a ClusterRoleBinding.
    pub fn set_binding(&mut self, namespace: &str, name: &str, binding: Option<&Value>) {
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(before) = self.bindings.remove(&key) {
            self.unbind(&key, &before);
        }
        let binding = binding.and_then(|binding| Binding::read(namespace, name, binding));
        if let Some(binding) = binding {
            self.bind(key, &Arc::new(binding));
        }
    }

    fn bind(&mut self, key: (String, String), binding: &Arc<Binding>) {
        let reference = Arc::new(binding.role.clone());
        let role = self.roles.entry(Arc::clone(&reference)).or_default();
        role.bindings.insert(key.clone(), Arc::clone(binding));
        for (subject, _) in &binding.subjects {
            let (sets, name) = match subject {
                Subject::User(name) => (&mut self.users, name),
                Subject::Group(name) => (&mut self.groups, name),
            };
            let sets = sets.entry(name.clone()).or_default();
            let set = sets.entry(binding.namespace.clone()).or_default();
            set.bind(&reference, role.rules.as_ref(), binding);
        }
        self.bindings.insert(key, Arc::clone(binding));
    }

    fn unbind(&mut self, key: &(String, String), binding: &Binding) {
        let reference = Arc::new(binding.role.clone());
        for (subject, _) in &binding.subjects {
            let (all, name) = match subject {
                Subject::User(name) => (&mut self.users, name),
                Subject::Group(name) => (&mut self.groups, name),
            };
            let Some(sets) = all.get_mut(name) else {
                continue;
            };
            if let Some(set) = sets.get_mut(&binding.namespace) {
                set.unbind(&reference, binding);
                if set.is_empty() {
                    sets.remove(&binding.namespace);
                }
            }
            if sets.is_empty() {
                all.remove(name);
            }
        }
        if let Some(role) = self.roles.get_mut(&reference) {
            role.bindings.remove(key);
        }
        self.forget_unused(&reference);
    }

    /// Forgets a role that neither exists nor is bound.
    fn forget_unused(&mut self, reference: &Arc<RoleRef>) {
        let role = self.roles.get(reference);
        if role.is_some_and(|role| role.rules.is_none() && role.bindings.is_empty()) {
            self.roles.remove(reference);
        }
    }

    /// The roles of a user and its groups: those of the whole cluster, then those of the namespace,
    /// if it is not empty.
    fn sets<'p>(
        &'p self,
        who: Identity<'p>,
        namespace: &'p str,
    ) -> impl Iterator<Item = &'p RoleSet> {
        let namespaces = std::iter::once("").chain(Some(namespace).filter(|n| !n.is_empty()));
        namespaces.flat_map(move |namespace| {
            let user = self.users.get(who.name);
            let groups = who.groups.iter().filter_map(|name| self.groups.get(name));
            let all = user.into_iter().chain(groups);
            all.filter_map(move |sets| sets.get(namespace))
        })
    }

    /// Whether a user may do something in a namespace, which is empty for the whole cluster.
    /// Returns the reason as upstream has it.
    ///
    /// # Errors
    /// If it may not; with the roles that do not exist, or an empty text.
    pub fn decide(
        &self,
        who: Identity<'_>,
        namespace: &str,
        request: &Request<'_>,
    ) -> Result<String, String> {
        let mut sets = self.sets(who, namespace);
        if let Some(binding) = sets.find_map(|set| set.find(request)) {
            return Ok(format!("RBAC: allowed by {}", binding.describe(who)));
        }
        let errors = missing_roles(self.sets(who, namespace));
        Err(match errors.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        })
    }

    /// The rules that a user has in a namespace, which is empty for the whole cluster.
    #[must_use]
    pub fn rules_for(&self, who: Identity<'_>, namespace: &str) -> Resolved {
        let mut seen = BTreeSet::new();
        let mut rules = Vec::new();
        for (role, held) in self.sets(who, namespace).flat_map(|set| &set.roles) {
            if let Some(of_role) = &held.rules
                && seen.insert(role)
            {
                rules.extend_from_slice(&of_role.rules);
            }
        }
        Resolved {
            rules,
            errors: missing_roles(self.sets(who, namespace)),
        }
    }
}

/// The errors of roles that do not exist, each once.
fn missing_roles<'p>(sets: impl Iterator<Item = &'p RoleSet>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let missing = sets.flat_map(|set| &set.roles).filter(|(role, held)| {
        // Only missing roles are looked up.
        held.rules.is_none() && seen.insert(*role)
    });
    missing.map(|(role, _)| role.not_found()).collect()
}
