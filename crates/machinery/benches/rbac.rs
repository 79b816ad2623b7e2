//! Benchmarks of RBAC with 1,000 bindings: decisions, and changes of bindings and roles.

use divan::{Bencher, black_box};
use pandaemon_machinery::rbac::{GROUP, Identity, Policy, Request};
use serde_json::{Value, json};

const BINDINGS: usize = 1000;

fn main() {
    divan::main();
}

/// Who is bound to what.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// Each user has one role in one of 100 namespaces, of 10 roles with 100 resources each.
    Users,
    /// One user has 1,000 roles with 10 resources each in the whole cluster.
    OneUser,
    /// All authenticated users have 1,000 roles with 100 resources each in one namespace.
    OneGroup,
}

const SHAPES: [Shape; 3] = [Shape::Users, Shape::OneUser, Shape::OneGroup];

/// A role with rules of ten resources each, one of which is `pods`.
fn role(number: usize, resources: usize) -> Value {
    let rules = (0..resources / 10).map(|rule| {
        let named = (0..10).map(|at| match (rule, at) {
            (0, 9) => "pods".to_owned(),
            _ => format!("things-{}", number * resources + rule * 10 + at),
        });
        json!({"verbs": ["get", "list", "watch"], "apiGroups": [""],
            "resources": named.collect::<Vec<_>>(), "resourceNames": [format!("n-{number}")]})
    });
    json!({"rules": rules.collect::<Vec<_>>()})
}

fn binding(role: usize, subject: &Value) -> Value {
    let role = json!({"apiGroup": GROUP, "kind": "ClusterRole", "name": format!("role-{role}")});
    json!({"roleRef": role, "subjects": [subject]})
}

fn policy(shape: Shape) -> Policy {
    let mut policy = Policy::default();
    let (roles, resources) = match shape {
        Shape::Users => (10, 100),
        Shape::OneUser => (BINDINGS, 10),
        Shape::OneGroup => (BINDINGS, 100),
    };
    for number in 0..roles {
        let role = role(number, resources);
        policy.set_role("", &format!("role-{number}"), Some(&role));
    }
    for number in 0..BINDINGS {
        let (namespace, subject) = match shape {
            Shape::Users => (
                format!("ns-{}", number % 100),
                json!({"kind": "User", "name": format!("user-{number}")}),
            ),
            Shape::OneUser => (String::new(), json!({"kind": "User", "name": "user-7"})),
            Shape::OneGroup => (
                "ns-7".into(),
                json!({"kind": "Group", "name": "system:authenticated"}),
            ),
        };
        let binding = binding(number % roles, &subject);
        policy.set_binding(&namespace, &format!("binding-{number}"), Some(&binding));
    }
    policy
}

fn decide(policy: &Policy, (resource, name): (&str, &str)) -> bool {
    let groups = ["dev", "ops", "system:authenticated"].map(str::to_owned);
    let who = Identity {
        name: "user-7",
        groups: &groups,
    };
    let request = Request::for_resource("get", "", (resource, ""), name);
    policy.decide(who, "ns-7", &request).is_ok()
}

/// Allowed by one role.
#[divan::bench(args = SHAPES)]
fn allow(bencher: Bencher<'_, '_>, shape: Shape) {
    let policy = policy(shape);
    let question = match shape {
        Shape::Users => ("pods", "n-7"),
        Shape::OneUser => ("things-5005", "n-500"),
        Shape::OneGroup => ("things-50005", "n-500"),
    };
    assert!(decide(&policy, question), "{shape:?}");
    bencher.bench_local(|| decide(black_box(&policy), black_box(question)));
}

/// Refused, as no role names the resource.
#[divan::bench(args = SHAPES)]
fn refuse(bencher: Bencher<'_, '_>, shape: Shape) {
    let policy = policy(shape);
    assert!(!decide(&policy, ("nodes", "")), "{shape:?}");
    bencher.bench_local(|| decide(black_box(&policy), black_box(("nodes", ""))));
}

/// Refused after a look at every role, as each names the resource and another object.
#[divan::bench(args = SHAPES)]
fn refuse_by_name(bencher: Bencher<'_, '_>, shape: Shape) {
    let policy = policy(shape);
    assert!(!decide(&policy, ("pods", "none")), "{shape:?}");
    bencher.bench_local(|| decide(black_box(&policy), black_box(("pods", "none"))));
}

/// A binding is replaced.
#[divan::bench(args = SHAPES)]
fn change_a_binding(bencher: Bencher<'_, '_>, shape: Shape) {
    let mut policy = policy(shape);
    let binding = binding(7, &json!({"kind": "User", "name": "user-7"}));
    bencher.bench_local(|| policy.set_binding("ns-7", "binding-7", Some(&binding)));
}

/// A role is replaced, which every tenth binding or one has.
#[divan::bench(args = SHAPES)]
fn change_a_role(bencher: Bencher<'_, '_>, shape: Shape) {
    let mut policy = policy(shape);
    let mut number = 7;
    bencher
        .with_inputs(|| {
            number += 1;
            role(number, 100)
        })
        .bench_local_refs(|role| policy.set_role("", "role-7", Some(role)));
}
