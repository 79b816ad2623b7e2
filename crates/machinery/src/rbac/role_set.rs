//! The roles that one subject has in one namespace, or in the whole cluster.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use super::{
    binding::{Binding, RoleRef},
    request::{self, Request},
    rule::{COMBINATIONS_MAX, PolicyRule},
};

/// Up to so many roles are looked at one by one. Most subjects have one or two, and an index of
/// each would cost more memory than the roles.
const FEW: usize = 8;

/// The rules of a role.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) rules: Vec<PolicyRule>,
    keys: OnceLock<Vec<u64>>,
}

impl Rules {
    pub(super) const fn new(rules: Vec<PolicyRule>) -> Self {
        let keys = OnceLock::new();
        Self { rules, keys }
    }

    /// Its keys in the index, sorted. Too many are none, and the role is looked at for every
    /// request.
    fn keys(&self) -> &[u64] {
        self.keys.get_or_init(|| {
            let counts = self.rules.iter().map(PolicyRule::combinations);
            if counts.fold(0_usize, usize::saturating_add) > COMBINATIONS_MAX {
                return Vec::new();
            }
            let mut keys: Vec<u64> = self.rules.iter().flat_map(keys).collect();
            keys.sort_unstable();
            keys.dedup();
            keys
        })
    }
}

/// The keys of a rule in the index.
fn keys(rule: &PolicyRule) -> Vec<u64> {
    let names = rule.resource_names.iter().map(|name| Some(name.as_str()));
    let names: Vec<Option<&str>> = match rule.resource_names.is_empty() {
        true => vec![None],
        false => names.collect(),
    };
    let mut keys = Vec::new();
    for verb in &rule.verbs {
        for group in &rule.api_groups {
            for resource in &rule.resources {
                let of_names = names
                    .iter()
                    .map(|name| request::key(verb, group, resource, *name));
                keys.extend(of_names);
            }
        }
        if !rule.non_resource_urls.is_empty() {
            keys.push(request::key_of_paths(verb));
        }
    }
    keys
}

/// A role that a subject has.
#[derive(Debug)]
pub(super) struct Held {
    /// Its rules; `None` if it does not exist.
    pub(super) rules: Option<Arc<Rules>>,
    /// The bindings by which the subject has it, by name.
    bindings: BTreeMap<String, Arc<Binding>>,
}

impl Held {
    fn allows(&self, request: &Request<'_>) -> Option<&Binding> {
        let rules = &self.rules.as_ref()?.rules;
        let binding = self.bindings.values().next()?;
        let mut rules = rules.iter();
        rules.any(|rule| rule.allows(request)).then_some(binding)
    }
}

/// The roles that one subject has in one namespace, or in the whole cluster.
#[derive(Debug, Default)]
pub(super) struct RoleSet {
    pub(super) roles: BTreeMap<Arc<RoleRef>, Held>,
    /// `None` as long as there are few roles.
    index: Option<Index>,
}

/// Roles by what their rules allow.
#[derive(Debug, Default)]
struct Index {
    by_key: BTreeMap<u64, Vec<Arc<RoleRef>>>,
    /// Those without keys.
    others: Vec<Arc<RoleRef>>,
}

impl RoleSet {
    pub(super) fn is_empty(&self) -> bool {
        self.roles.is_empty()
    }

    /// The first binding of a role that allows a request.
    pub(super) fn find(&self, request: &Request<'_>) -> Option<&Binding> {
        let Some(index) = &self.index else {
            return self.roles.values().find_map(|held| held.allows(request));
        };
        let keys = request.keys();
        let by_key = keys.iter().filter_map(|key| index.by_key.get(key));
        let mut roles = by_key.flatten().chain(&index.others);
        roles.find_map(|role| self.roles.get(role)?.allows(request))
    }

    /// Adds a binding of a role with these rules.
    pub(super) fn bind(
        &mut self,
        role: &Arc<RoleRef>,
        rules: Option<&Arc<Rules>>,
        binding: &Arc<Binding>,
    ) {
        let held = self.roles.entry(Arc::clone(role)).or_insert_with(|| Held {
            rules: None,
            bindings: BTreeMap::new(),
        });
        let name = binding.name.clone();
        held.bindings.insert(name, Arc::clone(binding));
        self.set_rules(role, rules);
    }

    /// Removes a binding of a role.
    pub(super) fn unbind(&mut self, role: &Arc<RoleRef>, binding: &Binding) {
        let Some(held) = self.roles.get_mut(role) else {
            return;
        };
        held.bindings.remove(&binding.name);
        if held.bindings.is_empty() {
            self.set_rules(role, None);
            self.roles.remove(role);
        }
    }

    /// The rules of a role have changed; `None` if it is gone.
    pub(super) fn set_rules(&mut self, role: &Arc<RoleRef>, rules: Option<&Arc<Rules>>) {
        let Some(held) = self.roles.get_mut(role) else {
            return;
        };
        let is_same = |before: &Arc<Rules>| rules.is_some_and(|rules| Arc::ptr_eq(before, rules));
        if held.rules.as_ref().is_some_and(is_same) {
            return;
        }
        let before = std::mem::replace(&mut held.rules, rules.cloned());
        if let Some(index) = &mut self.index {
            before.iter().for_each(|rules| index.remove(role, rules));
            rules.iter().for_each(|rules| index.add(role, rules));
        } else if self.roles.len() > FEW {
            let mut index = Index::default();
            for (role, held) in &self.roles {
                held.rules.iter().for_each(|rules| index.add(role, rules));
            }
            self.index = Some(index);
        }
    }
}

impl Index {
    fn add(&mut self, role: &Arc<RoleRef>, rules: &Rules) {
        for key in rules.keys() {
            let roles = self.by_key.entry(*key).or_default();
            roles.push(Arc::clone(role));
        }
        if rules.keys().is_empty() {
            self.others.push(Arc::clone(role));
        }
    }

    fn remove(&mut self, role: &Arc<RoleRef>, rules: &Rules) {
        for key in rules.keys() {
            let Some(roles) = self.by_key.get_mut(key) else {
                continue;
            };
            roles.retain(|known| known != role);
            if roles.is_empty() {
                self.by_key.remove(key);
            }
        }
        if rules.keys().is_empty() {
            self.others.retain(|known| known != role);
        }
    }
}
