//! Rights that requests use and that roles give, as texts such as `patch apps/daemonsets/status`.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

use std::collections::BTreeSet;

use serde_json::Value;

/// The right that a request needs, as an authorizer sees it.
///
/// # Panics
/// When the path is none of a resource.
#[must_use]
pub fn right_of(method: &str, path: &str, query: &str) -> String {
    let mut parts = path.trim_start_matches('/').split('/').peekable();
    let group = match parts.next() {
        Some("apis") => parts.next().unwrap(),
        _ => "",
    };
    let _version = parts.next();
    if parts.peek() == Some(&"namespaces") {
        parts.nth(1);
    }
    let resource = parts.next().unwrap();
    let (name, sub) = (parts.next(), parts.next());
    let verb = match (method, name) {
        ("GET", _) if query.contains("watch=") => "watch",
        ("GET", Some(_)) => "get",
        ("GET", None) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", _) => "delete",
        other => panic!("{other:?}"),
    };
    let sub = sub.map(|sub| format!("/{sub}")).unwrap_or_default();
    format!("{verb} {group}/{resource}{sub}")
}

/// The rights that a role gives.
///
/// # Panics
/// When the role has no rules.
#[must_use]
pub fn rights_in(role: &Value) -> BTreeSet<String> {
    let mut granted = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        let texts = |field: &str| {
            let list = rule[field].as_array().unwrap().iter();
            list.map(|text| text.as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        for group in texts("apiGroups") {
            for resource in texts("resources") {
                let verbs = texts("verbs").into_iter();
                granted.extend(verbs.map(|verb| format!("{verb} {group}/{resource}")));
            }
        }
    }
    granted
}
