//! The default roles of the server, with aggregation: the facts are upstream's, and so are the
//! decisions.

#[path = "default_roles/facts.rs"]
mod facts;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use self::facts::{Asked, Facts};
use super::control_plane::ControlPlane;

const GROUP: &str = "/apis/rbac.authorization.k8s.io/v1";
const UPSTREAM: &str = include_str!("default_roles/upstream.txt");
const CASES: &str = include_str!("default_roles/cases.txt");

/// The roles and bindings of the server.
async fn served(plane: &ControlPlane) -> Vec<Value> {
    let mut all = Vec::new();
    for (plural, kind) in [
        ("clusterroles", "ClusterRole"),
        ("clusterrolebindings", "ClusterRoleBinding"),
        ("roles", "Role"),
        ("rolebindings", "RoleBinding"),
    ] {
        let mut items = plane.items(&format!("{GROUP}/{plural}")).await;
        items.iter_mut().for_each(|item| item["kind"] = kind.into());
        all.extend(items);
    }
    all
}

/// Waits until `admin` has the rules of `edit` and `view`.
async fn aggregated(plane: &ControlPlane) {
    let has_all = |role: &Value| {
        let rules = role["rules"].as_array();
        rules.is_some_and(|rules| {
            let part = |resource: &str| {
                let mut rules = rules.iter();
                rules.any(|rule| rule["resources"].to_string().contains(resource))
            };
            part("rolebindings") && part("pods/exec") && part("endpointslices")
        })
    };
    plane
        .until(&format!("{GROUP}/clusterroles/admin"), has_all)
        .await;
}

fn is_ours(object: &Value) -> bool {
    let name = object["metadata"]["name"].as_str();
    name.is_some_and(|name| name.starts_with("system:pandaemon:"))
}

#[tokio::test]
async fn the_default_roles_and_bindings_are_those_of_upstream() {
    let plane = ControlPlane::start("clusterrole-aggregation").await;
    aggregated(&plane).await;
    let (ours, mut objects): (Vec<_>, Vec<_>) = served(&plane).await.into_iter().partition(is_ours);
    for object in &objects {
        let metadata = &object["metadata"];
        let label = &metadata["labels"]["kubernetes.io/bootstrapping"];
        let annotation = &metadata["annotations"]["rbac.authorization.kubernetes.io/autoupdate"];
        assert_eq!(
            (label, annotation),
            (&json!("rbac-defaults"), &json!("true")),
            "{metadata}"
        );
    }
    for object in &mut objects {
        if object["aggregationRule"].is_object() {
            object["rules"] = Value::Null;
        }
    }
    let (served, upstream) = (Facts::of(&objects), Facts::parse(UPSTREAM));
    for (name, role) in &upstream.roles {
        assert_eq!(served.roles.get(name), Some(role), "{name}");
    }
    assert_eq!(served.bindings, upstream.bindings);
    let names = |facts: &Facts| facts.roles.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&served), names(&upstream));
    let ours: BTreeSet<_> = ours
        .iter()
        .filter_map(|object| object["metadata"]["name"].as_str())
        .collect();
    let expected = [
        "certificate-controller",
        "daemon-set-controller",
        "extension-apiserver-authentication-reader",
        "kubelet-api-admin",
        "node-bootstrapper",
        "node-client-certificates",
        "own-node-client-certificates",
        "public-info-viewer",
    ]
    .map(|name| format!("system:pandaemon:{name}"));
    assert!(
        ours.into_iter().eq(&expected),
        "other rights than upstream's and those above"
    );
}

#[tokio::test]
async fn the_default_roles_allow_what_upstreams_allow() {
    let plane = ControlPlane::start("clusterrole-aggregation").await;
    aggregated(&plane).await;
    let mut upstream = Facts::parse(UPSTREAM);
    for (user, role) in [("ann", "admin"), ("ed", "edit"), ("vi", "view")] {
        let path = format!("{GROUP}/namespaces/default/rolebindings");
        plane
            .create(&path, binding("RoleBinding", user, role))
            .await;
        let line = format!("RoleBinding default/{user} = ClusterRole {role}: User {user}");
        upstream.bindings.insert(line);
    }
    let path = format!("{GROUP}/clusterrolebindings");
    plane
        .create(
            &path,
            binding("ClusterRoleBinding", "root", "cluster-admin"),
        )
        .await;
    let line = "ClusterRoleBinding root = ClusterRole cluster-admin: User root";
    upstream.bindings.insert(line.to_owned());
    let mut served = Facts::of(&served(&plane).await);
    for role in served.roles.values_mut() {
        // What the controller has written is to be enough.
        role.attributes.clear();
    }
    let cases = CASES
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    for case in cases {
        let (asked, expected) = Asked::parse(case);
        let asked = &asked;
        assert_eq!(upstream.allow(asked), expected, "upstream: {asked:?}");
        assert_eq!(
            served.allow(asked),
            expected,
            "the roles of the server: {asked:?}"
        );
        assert_eq!(
            review(&plane, asked).await,
            expected,
            "the server: {asked:?}"
        );
    }
}

#[tokio::test]
async fn a_labelled_role_is_part_of_view_edit_and_admin_until_it_goes() {
    let plane = ControlPlane::start("clusterrole-aggregation").await;
    aggregated(&plane).await;
    let rule = json!({ "apiGroups": ["x.io"], "resources": ["things"], "verbs": ["get"] });
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {
            "name": "things", "labels": { "rbac.authorization.k8s.io/aggregate-to-view": "true" },
        },
        "rules": [rule],
    });
    let roles = format!("{GROUP}/clusterroles");
    plane.create(&roles, role).await;
    let has_rule = |role: &Value| {
        let rules = role["rules"].as_array();
        rules.is_some_and(|rules| rules.contains(&rule))
    };
    for name in ["view", "edit", "admin"] {
        let role = plane.until(&format!("{roles}/{name}"), has_rule).await;
        let managers = role["metadata"]["managedFields"].as_array().unwrap();
        let mut owners = managers
            .iter()
            .filter(|manager| manager["fieldsV1"]["f:rules"].is_object());
        let owner = owners.next().unwrap();
        let owner = (&owner["manager"], &owner["operation"], owners.next());
        let expected = (
            &json!("clusterrole-aggregation-controller"),
            &json!("Apply"),
            None,
        );
        assert_eq!(owner, expected, "{name}");
    }
    plane.delete(&format!("{roles}/things"), json!({})).await;
    for name in ["view", "edit", "admin"] {
        plane
            .until(&format!("{roles}/{name}"), |role| !has_rule(role))
            .await;
    }
}

fn binding(kind: &str, user: &str, role: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": { "name": user },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [{ "kind": "User", "name": user }],
    })
}

/// What the server decides.
async fn review(plane: &ControlPlane, asked: &Asked<'_>) -> bool {
    let mut spec = json!({ "user": asked.user, "groups": asked.groups });
    let mut words = asked.what.split(' ');
    if asked.what.starts_with('/') {
        spec["nonResourceAttributes"] = json!({ "path": asked.what, "verb": asked.verb });
    } else {
        let group = words
            .next()
            .filter(|group| *group != "-")
            .unwrap_or_default();
        let (resource, part) = words.next().map_or(("", ""), |resource| {
            resource.split_once('/').unwrap_or((resource, ""))
        });
        spec["resourceAttributes"] = json!({
            "group": group, "version": "v1", "resource": resource, "subresource": part,
            "name": words.next().unwrap_or_default(), "namespace": asked.namespace,
            "verb": asked.verb,
        });
    }
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec,
    });
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let answer = plane.create(path, review).await;
    answer["status"]["allowed"] == true
}
