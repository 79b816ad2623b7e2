//! Decisions, rules and refusals.

mod properties;

use serde_json::{Value, json};

use super::{rule::COMBINATIONS_MAX, *};

/// Roles and bindings of a cluster with two namespaces.
fn policy() -> Policy {
    let mut policy = Policy::default();
    let roles = [
        (
            "",
            "reader",
            json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]}]),
        ),
        (
            "",
            "scaler",
            json!([{"verbs": ["update"], "apiGroups": ["*"], "resources": ["*/scale"]}]),
        ),
        (
            "",
            "paths",
            json!([{"verbs": ["get"], "nonResourceURLs": ["/metrics", "/logs/*"]}]),
        ),
        (
            "",
            "all",
            json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
                   {"verbs": ["*"], "nonResourceURLs": ["*"]}]),
        ),
        (
            "d",
            "one",
            json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]}]),
        ),
    ];
    for (namespace, name, rules) in roles {
        policy.set_role(namespace, name, Some(&json!({"rules": rules})));
    }
    let bindings = [
        ("", "readers", "ClusterRole", "reader", user("ann")),
        ("d", "readers", "ClusterRole", "reader", group("dev")),
        (
            "d",
            "robot",
            "Role",
            "one",
            json!({"kind": "ServiceAccount", "name": "bot"}),
        ),
        (
            "e",
            "robot",
            "ClusterRole",
            "scaler",
            json!({"kind": "ServiceAccount", "name": "bot", "namespace": "d"}),
        ),
        ("", "paths", "ClusterRole", "paths", group("ops")),
        ("e", "paths", "ClusterRole", "paths", user("bob")),
        ("", "admins", "ClusterRole", "all", group("admins")),
        ("", "lost", "ClusterRole", "gone", user("eve")),
        ("d", "lost", "Role", "gone", user("eve")),
    ];
    for (namespace, name, kind, role, subject) in bindings {
        policy.set_binding(namespace, name, Some(&binding(kind, role, &[subject])));
    }
    policy
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "name": name, "apiGroup": GROUP})
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "name": name, "apiGroup": GROUP})
}

fn binding(kind: &str, role: &str, subjects: &[Value]) -> Value {
    json!({"roleRef": {"apiGroup": GROUP, "kind": kind, "name": role}, "subjects": subjects})
}

/// Asks in the form `USER[+GROUP] VERB NAMESPACE RESOURCE[/PART][.GROUP][:NAME]`, or with a path in
/// place of namespace and resource.
fn ask(policy: &Policy, question: &str) -> Result<String, String> {
    let words: Vec<&str> = question.split(' ').collect();
    let (name, groups) = words[0].split_once('+').unwrap_or((words[0], ""));
    let groups = [groups.to_owned()];
    let who = Identity {
        name,
        groups: &groups,
    };
    let verb = words[1];
    if let [_, _, path] = words.as_slice() {
        return policy.decide(who, "", &Request::for_path(verb, path));
    }
    let (resource, name) = words[3].split_once(':').unwrap_or((words[3], ""));
    let (resource, api_group) = resource.split_once('.').unwrap_or((resource, ""));
    let resource = resource.split_once('/').unwrap_or((resource, ""));
    let namespace = words[2].trim_matches('-');
    policy.decide(
        who,
        namespace,
        &Request::for_resource(verb, api_group, resource, name),
    )
}

#[test]
fn decisions_are_those_of_upstream() {
    let policy = policy();
    let account = "system:serviceaccount:d:bot";
    let table = [
        ("ann get - pods", true),
        ("ann get d pods:p", true),
        ("ann list x pods/log", true),
        ("ann get d pods/exec", false),
        ("ann create d pods", false),
        ("ann get d pods.apps", false),
        ("ann get - nodes", false),
        ("x+dev get d pods", true),
        ("x+dev get e pods", false),
        ("x+dev get - pods", false),
        ("dev get d pods", false),
        ("x+ann get d pods", false),
        ("SA get d secrets:a", true),
        ("SA get d secrets:b", false),
        ("SA get d secrets", false),
        ("SA get e secrets:a", false),
        ("SA update e deployments/scale.apps:x", true),
        ("SA update e deployments.apps:x", false),
        ("SA update d deployments/scale.apps:x", false),
        ("x+ops get /metrics", true),
        ("x+ops get /logs/a/b", true),
        ("x+ops get /logs", false),
        ("x+ops head /metrics", false),
        ("x+ops get /metrics/x", false),
        ("bob get /metrics", false),
        ("x+admins impersonate - users:ann", true),
        ("x+admins any d anything/at.all:x", true),
        ("x+admins post /anything", true),
    ];
    for (question, expected) in table {
        let asked = question.replace("SA", account);
        let found = ask(&policy, &asked);
        assert_eq!(found.is_ok(), expected, "{question}: {found:?}");
    }
}

#[test]
fn reasons_are_those_of_upstream() {
    let mut policy = policy();
    let two = [group("dev"), user("ann")];
    policy.set_binding("d", "both", Some(&binding("Role", "one", &two)));
    let account = "system:serviceaccount:d:bot";
    let table = [
        (
            "ann get d pods",
            Ok(
                "RBAC: allowed by ClusterRoleBinding \"readers\" of ClusterRole \"reader\" to User \"ann\"",
            ),
        ),
        (
            "x+dev get d pods",
            Ok(
                "RBAC: allowed by RoleBinding \"readers/d\" of ClusterRole \"reader\" to Group \"dev\"",
            ),
        ),
        (
            "SA get d secrets:a",
            Ok(
                "RBAC: allowed by RoleBinding \"robot/d\" of Role \"one\" to ServiceAccount \"bot/d\"",
            ),
        ),
        (
            "SA update e x/scale",
            Ok(
                "RBAC: allowed by RoleBinding \"robot/e\" of ClusterRole \"scaler\" to ServiceAccount \"bot/d\"",
            ),
        ),
        // The first subject that applies is named.
        (
            "ann+dev get d secrets:a",
            Ok("RBAC: allowed by RoleBinding \"both/d\" of Role \"one\" to Group \"dev\""),
        ),
        ("ann get - nodes", Err("")),
        (
            "eve get - pods",
            Err("RBAC: clusterrole.rbac.authorization.k8s.io \"gone\" not found"),
        ),
        (
            "eve get d pods",
            Err(
                "RBAC: [clusterrole.rbac.authorization.k8s.io \"gone\" not found, \
                 role.rbac.authorization.k8s.io \"gone\" not found]",
            ),
        ),
    ];
    for (question, expected) in table {
        let found = ask(&policy, &question.replace("SA", account));
        let found = found.as_deref().map_err(String::as_str);
        assert_eq!(found, expected, "{question}");
    }
}

#[test]
fn changes_of_roles_and_bindings_count_at_once() {
    let mut policy = policy();
    let of_eve = |policy: &Policy| ask(policy, "eve get d nodes");
    assert!(of_eve(&policy).is_err());
    let nodes = json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"]}]});
    policy.set_role("d", "gone", Some(&nodes));
    assert!(of_eve(&policy).is_ok(), "the bound role was created");
    policy.set_role("d", "gone", Some(&json!({})));
    assert!(of_eve(&policy).is_err(), "it lost its rules");
    policy.set_role("d", "gone", Some(&nodes));
    policy.set_binding("d", "lost", Some(&binding("Role", "gone", &[user("ann")])));
    assert!(of_eve(&policy).is_err(), "its binding has another subject");
    assert!(ask(&policy, "ann get d nodes").is_ok());
    policy.set_binding("d", "lost", None);
    assert!(ask(&policy, "ann get d nodes").is_err());
}

#[test]
fn rules_of_a_user_are_those_of_the_cluster_and_the_namespace() {
    let policy = policy();
    let groups = ["dev".to_owned()];
    let who = |name: &'static str| Identity {
        name,
        groups: &groups,
    };
    let shown = |resolved: Resolved| {
        let rules = resolved.rules.iter().map(ToString::to_string);
        (rules.collect::<Vec<_>>(), resolved.errors)
    };
    let reader =
        r#"{APIGroups:[""], Resources:["pods" "pods/log"], Verbs:["get" "list"]}"#.to_owned();
    // By two bindings, once.
    let (rules, errors) = shown(policy.rules_for(who("ann"), "d"));
    assert_eq!((rules, errors), (vec![reader], vec![]));
    let (rules, errors) = shown(policy.rules_for(who("bob"), ""));
    assert_eq!((rules, errors), (vec![], vec![]));
    let (_, errors) = shown(policy.rules_for(who("eve"), "d"));
    assert_eq!(errors.len(), 2);
}

fn rules(list: &Value) -> Vec<PolicyRule> {
    PolicyRule::of_role(&json!({"rules": list}))
}

#[test]
fn rights_that_are_not_held_are_not_given() {
    let held = json!([
        {"verbs": ["get", "list"], "apiGroups": ["", "apps"], "resources": ["pods", "*/scale"]},
        {"verbs": ["*"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a", "b"]},
        {"verbs": ["get"], "nonResourceURLs": ["/logs/*"]},
    ]);
    let table = [
        (json!([]), ""),
        (
            json!([{"verbs": ["list"], "apiGroups": ["apps"], "resources": ["pods", "x/scale"]}]),
            "",
        ),
        (
            json!([{"verbs": ["delete"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["b"]}]),
            "",
        ),
        (
            json!([{"verbs": ["get"], "nonResourceURLs": ["/logs/a", "/logs/a/*"]}]),
            "",
        ),
        (
            json!([{"verbs": ["get", "watch", "patch"], "apiGroups": ["", "x"], "resources": ["pods"]}]),
            "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"watch\" \"patch\"]}\n\
             {APIGroups:[\"x\"], Resources:[\"pods\"], Verbs:[\"get\" \"watch\" \"patch\"]}",
        ),
        (
            json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]),
            "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}",
        ),
        (
            json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["c"]}]),
            "{APIGroups:[\"\"], Resources:[\"secrets\"], ResourceNames:[\"c\"], Verbs:[\"get\"]}",
        ),
        (
            json!([{"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]}]),
            "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"*\"]}",
        ),
        (
            json!([{"verbs": ["get"], "nonResourceURLs": ["/logs", "*"]}]),
            "{NonResourceURLs:[\"*\"], Verbs:[\"get\"]}\n{NonResourceURLs:[\"/logs\"], Verbs:[\"get\"]}",
        ),
    ];
    let groups = ["dev".to_owned(), "system:authenticated".to_owned()];
    let who = Identity {
        name: "ann",
        groups: &groups,
    };
    let held = Resolved {
        rules: rules(&held),
        errors: Vec::new(),
    };
    for (given, missing) in table {
        let found = confirm_no_escalation(who, &held, &rules(&given));
        let expected = match missing {
            "" => Ok(()),
            missing => Err(format!(
                "user \"ann\" (groups=[\"dev\" \"system:authenticated\"]) is attempting to grant RBAC \
                 permissions not currently held:\n{missing}"
            )),
        };
        assert_eq!(found, expected, "{given}");
    }
    let all = Resolved {
        rules: full_authority(),
        errors: vec!["a".into()],
    };
    assert_eq!(confirm_no_escalation(who, &all, &full_authority()), Ok(()));
    let many: Vec<String> = (0..=COMBINATIONS_MAX).map(|at| at.to_string()).collect();
    let many = rules(&json!([{"verbs": ["get"], "apiGroups": ["x"], "resources": many}]));
    assert_eq!(
        confirm_no_escalation(who, &all, &many),
        Ok(()),
        "held as a whole"
    );
    let none = Resolved {
        errors: vec!["a".into()],
        ..Resolved::default()
    };
    // Of 100 rules with 9,261 parts each, five are taken apart.
    let texts: Vec<String> = (0..21).map(|at| at.to_string()).collect();
    let rule = json!({"verbs": texts, "apiGroups": texts, "resources": texts});
    let refused = confirm_no_escalation(who, &none, &rules(&json!(vec![rule; 100]))).unwrap_err();
    assert!(
        refused.ends_with("\nand 342 more; resolution errors: [a]"),
        "{refused}"
    );
    // What is not compared counts as not held: 9,000 rules are compared with 1,001, 20,000 are not.
    let other = json!({"verbs": ["get"], "apiGroups": ["y"], "resources": ["pods"]});
    let mut held = rules(&json!(vec![other; 1_000]));
    held.extend(full_authority());
    let held = Resolved {
        rules: held,
        errors: Vec::new(),
    };
    let one =
        |at: usize| json!({"verbs": ["get"], "apiGroups": ["x"], "resources": [at.to_string()]});
    let given = |count| rules(&(0..count).map(one).collect());
    assert_eq!(confirm_no_escalation(who, &held, &given(9_000)), Ok(()));
    confirm_no_escalation(who, &held, &given(20_000)).unwrap_err();
    let refused = confirm_no_escalation(who, &none, &full_authority()).unwrap_err();
    assert!(refused.ends_with("; resolution errors: [a]"), "{refused}");
}

#[test]
fn roles_with_too_many_combinations_for_the_index_count() {
    let mut policy = Policy::default();
    let many: Vec<String> = (0..=COMBINATIONS_MAX).map(|at| at.to_string()).collect();
    for name in (0..20).map(|at| at.to_string()) {
        let resources = if name == "7" { json!(many) } else { json!([]) };
        let role =
            json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": resources}]});
        policy.set_role("", &name, Some(&role));
        let binding = binding("ClusterRole", &name, &[user("ann")]);
        policy.set_binding("", &name, Some(&binding));
    }
    assert!(ask(&policy, "ann get d 10000").is_ok());
    assert!(ask(&policy, "ann get d 10001").is_err());
    policy.set_role("", "7", None);
    assert!(ask(&policy, "ann get d 10000").is_err());
}
