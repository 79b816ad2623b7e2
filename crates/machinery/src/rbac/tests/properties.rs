//! Properties of a policy after any changes.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{binding, group, user};
use crate::rbac::{Identity, Policy, PolicyRule, Request};

/// What a policy is compared with: upstream's way, binding by binding.
#[derive(Debug, Default)]
struct Model {
    roles: std::collections::BTreeMap<(String, String), Value>,
    bindings: std::collections::BTreeMap<(String, String), Value>,
}

impl Model {
    fn allows(&self, who: Identity<'_>, namespace: &str, request: &Request<'_>) -> bool {
        self.bindings.iter().any(|((of, _), binding)| {
            let applies = binding["subjects"]
                .as_array()
                .unwrap()
                .iter()
                .any(|subject| {
                    let name = subject["name"].as_str().unwrap();
                    match subject["kind"].as_str() {
                        Some("User") => name == who.name,
                        _ => who.groups.iter().any(|group| group == name),
                    }
                });
            let role = &binding["roleRef"];
            let place = if role["kind"] == "Role" {
                of.as_str()
            } else {
                ""
            };
            let key = (place.to_owned(), role["name"].as_str().unwrap().to_owned());
            let rules = self
                .roles
                .get(&key)
                .map(PolicyRule::of_role)
                .unwrap_or_default();
            applies
                && (of.is_empty() || of == namespace)
                && rules.iter().any(|rule| rule.allows(request))
        })
    }
}

/// How many names roles and bindings have.
const NAMES: usize = 30;
const NAMESPACES: [&str; 4] = ["", "d", "e", "f"];

/// A change of a role (`Some(rules)`) or a binding, of one of few names.
fn change() -> impl Strategy<Value = Change> {
    let resources = prop::sample::subsequence(vec!["a", "b", "a/x", "*/x", "*"], 0..2);
    let verbs = prop::sample::subsequence(vec!["get", "list", "*"], 1..2);
    let names = prop::sample::subsequence(vec!["n", "m"], 0..2);
    let role = (resources, verbs, names).prop_map(|(resources, verbs, names)| {
        let rules = [match resources.as_slice() {
            [] => json!({"verbs": verbs, "nonResourceURLs": ["/a/*"]}),
            _ => json!({"verbs": verbs, "apiGroups": ["", "*"], "resources": resources, "resourceNames": names}),
        }];
        json!({"rules": rules})
    });
    let subjects = prop::collection::vec((any::<bool>(), 0..2usize), 0..5);
    let bound = (subjects, any::<bool>(), 0..NAMES).prop_map(|(subjects, cluster, role)| {
        let subjects: Vec<Value> = subjects
            .iter()
            .map(|(is_user, at)| {
                if *is_user {
                    user(["u", "v"][*at])
                } else {
                    group(["g", "h"][*at])
                }
            })
            .collect();
        binding(
            ["Role", "ClusterRole"][usize::from(cluster)],
            &format!("r{role}"),
            &subjects,
        )
    });
    let object = prop_oneof![
        4 => role.prop_map(|role| (true, Some(role))),
        8 => bound.prop_map(|binding| (false, Some(binding))),
        1 => any::<bool>().prop_map(|is_role| (is_role, None)),
    ];
    (object, 0..3usize, 0..NAMES)
        .prop_map(|((is_role, object), namespace, name)| (is_role, namespace, name, object))
}

type Change = (bool, usize, usize, Option<Value>);

/// A policy and a model after these changes.
fn after(changes: Vec<Change>) -> (Policy, Model) {
    let (mut policy, mut model) = (Policy::default(), Model::default());
    for (is_role, namespace, name, object) in changes {
        let namespace = NAMESPACES[namespace];
        let mut object = object;
        if namespace.is_empty()
            && object
                .as_ref()
                .is_some_and(|o| o["roleRef"]["kind"] == "Role")
        {
            object = None;
        }
        let name = format!("r{name}");
        let all = match is_role {
            true => &mut model.roles,
            false => &mut model.bindings,
        };
        let key = (namespace.to_owned(), name.clone());
        match &object {
            Some(object) => all.insert(key, object.clone()),
            None => all.remove(&key),
        };
        match is_role {
            true => policy.set_role(namespace, &name, object.as_ref()),
            false => policy.set_binding(namespace, &name, object.as_ref()),
        }
    }
    (policy, model)
}

/// What the user `u` of the group `g` may do, of some requests in some namespaces.
fn rights(policy: &Policy) -> BTreeSet<(&'static str, usize)> {
    let groups = ["g".to_owned(), "none".to_owned()];
    let who = Identity {
        name: "u",
        groups: &groups,
    };
    let mut all = BTreeSet::new();
    for namespace in NAMESPACES {
        for (at, request) in requests().iter().enumerate() {
            if policy.decide(who, namespace, request).is_ok() {
                all.insert((namespace, at));
            }
        }
    }
    all
}

fn requests() -> Vec<Request<'static>> {
    let resources = [("a", ""), ("b", ""), ("a", "x"), ("b", "x"), ("c", "y")];
    let requests = resources.map(|resource| Request::for_resource("get", "", resource, "n"));
    let paths = ["/a/b", "/b"].map(|path| Request::for_path("list", path));
    requests.into_iter().chain(paths).collect()
}

/// Any JSON, with the fields of roles and bindings.
fn any_json() -> impl Strategy<Value = Value> {
    let fields = vec![
        "rules",
        "verbs",
        "apiGroups",
        "resources",
        "resourceNames",
        "nonResourceURLs",
        "roleRef",
        "subjects",
        "kind",
        "name",
        "apiGroup",
        "namespace",
    ];
    let texts = vec![
        "",
        "*",
        "*/*",
        "a/x",
        "/a/*",
        "get",
        "u",
        "g",
        "Role",
        "ClusterRole",
        "User",
        "Group",
        "r",
    ];
    let text = prop::sample::select(texts).prop_map(Value::from);
    let leaf =
        prop_oneof![8 => text, 1 => Just(Value::Null), 1 => any::<i8>().prop_map(Value::from)];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        let field = prop::sample::select(fields.clone()).prop_map(str::to_owned);
        let object = prop::collection::btree_map(field, inner.clone(), 0..6);
        prop_oneof![
            2 => object.prop_map(|fields| Value::Object(fields.into_iter().collect())),
            1 => prop::collection::vec(inner, 0..4).prop_map(Value::from),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the history, the index decides as a look at all bindings does, and keeps nothing of
    /// what is gone.
    #[test]
    fn the_index_decides_as_all_bindings_do(changes in prop::collection::vec(change(), 1..300)) {
        let (mut policy, model) = after(changes);
        let groups = ["g".to_owned(), "none".to_owned()];
        let who = Identity { name: "u", groups: &groups };
        for namespace in NAMESPACES {
            for request in &requests() {
                let found = policy.decide(who, namespace, request).is_ok();
                prop_assert_eq!(found, model.allows(who, namespace, request), "{:?}", request);
            }
        }
        for namespace in ["", "d", "e"] {
            for name in (0..NAMES).map(|name| format!("r{name}")) {
                policy.set_role(namespace, &name, None);
                policy.set_binding(namespace, &name, None);
            }
        }
        prop_assert_eq!(format!("{policy:?}"), format!("{:?}", Policy::default()));
    }

    /// Roles and bindings only give rights: one more rule, role or binding takes none away.
    #[test]
    fn adding_a_rule_never_removes_a_right(
        changes in prop::collection::vec(change(), 1..200),
        added in prop::collection::vec(change(), 1..10),
    ) {
        let (mut policy, mut model) = after(changes);
        let mut had = rights(&policy);
        for (is_role, namespace, name, object) in added {
            let (namespace, name) = (NAMESPACES[namespace], format!("r{name}"));
            let Some(mut object) = object else { continue };
            if namespace.is_empty() && object["roleRef"]["kind"] == "Role" {
                continue;
            }
            let key = (namespace.to_owned(), name.clone());
            // What is there stays, and gets the new rules or subjects.
            let (all, list) = match is_role {
                true => (&mut model.roles, "rules"),
                false => (&mut model.bindings, "subjects"),
            };
            if let Some(old) = all.get(&key) {
                let mut old = old.clone();
                let more = object[list].as_array_mut().unwrap();
                old[list].as_array_mut().unwrap().append(more);
                object = old;
            }
            all.insert(key, object.clone());
            match is_role {
                true => policy.set_role(namespace, &name, Some(&object)),
                false => policy.set_binding(namespace, &name, Some(&object)),
            }
            let has = rights(&policy);
            prop_assert!(had.is_subset(&has), "{:?} took {:?}", object, had.difference(&has));
            had = has;
        }
    }

    /// Whatever roles and bindings say, a decision agrees with the rules that are listed. The fuzz
    /// target `rbac_rules` does the same.
    #[test]
    fn a_decision_agrees_with_the_listed_rules(role in any_json(), binding in any_json()) {
        let mut policy = Policy::default();
        policy.set_role("", "r", Some(&role));
        policy.set_binding("", "b", Some(&binding));
        let groups = ["g".to_owned()];
        let who = Identity { name: "u", groups: &groups };
        let rules = policy.rules_for(who, "d").rules;
        for request in requests() {
            let allowed = policy.decide(who, "d", &request).is_ok();
            prop_assert_eq!(allowed, rules.iter().any(|rule| rule.allows(&request)));
        }
    }
}
