//! Requests of a node against the plugin alone, without a server.

mod nodes;
mod pods;

use std::sync::Arc;

use pandaemon_machinery::{KindRef, scheme};
use parking_lot::Mutex;
use serde_json::json;

use super::{super::plugin::Cluster, *};
use crate::{
    auth::{self, Authorizer, AuthorizerChain, Decision, DecisionFuture, User},
    cache::{fixture, watch_cache::WatchCache},
};

/// A request of the node `a` in the namespace `d`.
struct Case<'a> {
    operation: Operation,
    /// The resource, such as `pods/status`.
    resource: &'a str,
    name: &'a str,
    old: &'a Value,
    new: &'a Value,
}

/// Allows the right that it is made with, and nothing else.
#[derive(Debug)]
struct Right(&'static str, &'static str);

impl Authorizer for Right {
    fn authorize<'a>(&'a self, attributes: &'a auth::Attributes<'_>) -> DecisionFuture<'a> {
        let found = (attributes.verb, attributes.resource);
        Decision::allow_if(found == (self.0, self.1)).into()
    }
}

fn kind(plural: &str) -> &'static KindRef {
    let mut kinds = scheme::built_in().kinds().iter();
    kinds.find(|kind| kind.plural == plural).unwrap()
}

/// A cluster of the node `a` and of the pods `own` and `other`.
fn cluster() -> WatchCache {
    let cache = WatchCache::new(1);
    let node = json!({"metadata": {"name": "a", "uid": "uid-a"}});
    fixture::put(&cache, kind("nodes"), &node);
    for (name, node) in [("own", "a"), ("other", "b")] {
        fixture::put(&cache, kind("pods"), &pod(name, node));
    }
    cache
}

fn pod(name: &str, node: &str) -> Value {
    let token = json!({"serviceAccountToken": {"path": "t", "audience": "vault"}});
    let own = json!({"serviceAccountToken": {"path": "t"}});
    json!({
        "metadata": {"name": name, "namespace": "d", "uid": format!("uid-{name}")},
        "spec": {"nodeName": node, "volumes": [{"projected": {"sources": [token, own]}}]},
    })
}

/// Why the request is refused; `None` if it is not.
fn refused(cache: &WatchCache, user: &User, case: &Case<'_>) -> Option<String> {
    let (plural, subresource) = case.resource.split_once('/').unwrap_or((case.resource, ""));
    let kind = kind(plural);
    let rules = NodeRestriction.rules();
    let mut rules = rules.iter();
    let rule = rules.find(|rule| rule.matches(case.operation, kind, subresource))?;
    let right: Arc<dyn Authorizer> =
        Arc::new(Right("request-serviceaccounts-token-audience", "ok"));
    let namespace = match plural {
        "nodes" => "",
        "leases" => "kube-node-lease",
        _ => "d",
    };
    let attributes = Attributes {
        operation: case.operation,
        kind,
        namespace,
        name: case.name,
        subresource,
        user,
        old_object: Some(case.old),
        dry_run: false,
        plugin: NodeRestriction.name(),
        rule,
        cluster: Cluster {
            scheme: scheme::built_in(),
            cache,
        },
        authorizers: Some(&AuthorizerChain::new(vec![right])),
        warnings: &Mutex::default(),
        annotations: &Default::default(),
        counted: &Default::default(),
    };
    let mut new = case.new.clone();
    let outcome = futures::executor::block_on(NodeRestriction.admit(attributes, &mut new));
    assert_eq!(&new, case.new, "it changes nothing");
    let message = outcome.err()?.message;
    let why = message.split_once(" is forbidden: ");
    Some(why.map_or(message.as_str(), |(_, why)| why).to_owned())
}

fn node_agent() -> User {
    User::known("system:node:a", &["system:nodes".into()])
}

/// Checks requests of the node `a`: each is an object and why the request is refused.
fn check_all<'a>(
    (operation, resource, name): (Operation, &str, &str),
    old: &Value,
    table: impl IntoIterator<Item = (Value, Option<&'a str>)>,
) {
    for (new, expected) in table {
        let case = Case {
            operation,
            resource,
            name,
            old,
            new: &new,
        };
        let found = refused(&cluster(), &node_agent(), &case);
        assert_eq!(found.as_deref(), expected, "{operation:?} {resource} {new}");
    }
}

/// The object with another value at a pointer, whose parent exists.
fn with(object: &Value, pointer: &str, value: Value) -> Value {
    let mut object = object.clone();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let field = field.replace("~1", "/");
    object.pointer_mut(parent).unwrap()[field] = value;
    object
}

#[test]
fn a_node_gets_tokens_that_are_bound_to_its_pods() {
    let request = json!({"spec": {
        "audiences": ["vault"],
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "own", "uid": "uid-own"},
    }});
    let bound = |field: &str, value: &str| {
        with(
            &request,
            &format!("/spec/boundObjectRef/{field}"),
            value.into(),
        )
    };
    let audiences = |list: Value| with(&request, "/spec/audiences", list);
    let unbound = Some("node requested token not bound to a pod");
    check_all(
        (Operation::Create, "serviceaccounts/token", "sa"),
        &Value::Null,
        [
            (request.clone(), None),
            (audiences(Value::Null), None),
            (with(&request, "/spec/boundObjectRef", Value::Null), unbound),
            (bound("apiVersion", "v2"), unbound),
            (bound("kind", "Secret"), unbound),
            (bound("name", ""), unbound),
            (
                bound("uid", ""),
                Some("node requested token with a pod binding without a uid"),
            ),
            (bound("name", "none"), Some("pods \"none\" not found")),
            (
                bound("uid", "old"),
                Some(
                    "the UID in the bound object reference (old) does not match the UID in record. The object might have been deleted and then recreated",
                ),
            ),
            (
                with(
                    &bound("name", "other"),
                    "/spec/boundObjectRef/uid",
                    json!("uid-other"),
                ),
                Some("node requested token bound to a pod scheduled on a different node"),
            ),
            (
                audiences(json!(["vault", "x"])),
                Some("node may only request 0 or 1 audiences"),
            ),
            (
                audiences(json!(["x"])),
                Some(
                    "audience \"x\" not found in pod spec volume, system:node:a is not authorized to request tokens for this audience",
                ),
            ),
            // An authorizer allows it.
            (audiences(json!(["ok"])), None),
        ],
    );
}

#[test]
fn a_node_writes_its_own_lease_only() {
    let lease = |name: &str| json!({"metadata": {"name": name}});
    let why = "can only access node lease with the same name as the requesting node";
    let create = (Operation::Create, "leases", "a");
    check_all(
        create,
        &Value::Null,
        [
            (lease("a"), None),
            (lease("b"), Some(why)),
            (lease(""), Some(why)),
        ],
    );
    for operation in [Operation::Update, Operation::Delete] {
        check_all(
            (operation, "leases", "b"),
            &lease("b"),
            [(lease("b"), Some(why))],
        );
        check_all(
            (operation, "leases", "a"),
            &lease("a"),
            [(lease("a"), None)],
        );
    }
}

#[test]
fn only_nodes_are_restricted_and_a_renewal_of_the_own_lease_is_not() {
    use Operation::{Create, Delete, Update};
    let no_name = User::known("system:node:", &["system:nodes".into()]);
    let lease = "kube-node-lease/a";
    for (user, operation, plural, object, expected) in [
        (User::admin(), Update, "nodes", "/a", false),
        (node_agent(), Update, "nodes", "/a", true),
        (node_agent(), Update, "leases", lease, false),
        (node_agent(), Create, "leases", lease, true),
        (node_agent(), Delete, "leases", lease, true),
        (node_agent(), Update, "leases", "kube-node-lease/b", true),
        (node_agent(), Update, "leases", "default/a", true),
        (no_name.clone(), Update, "leases", "kube-node-lease/", true),
    ] {
        let (namespace, name) = object.split_once('/').unwrap();
        let request = Request {
            operation,
            kind: kind(plural),
            namespace,
            name,
            subresource: "",
            user: &user,
            is_admitted: false,
        };
        assert_eq!(
            NodeRestriction.concerns(request),
            expected,
            "{operation:?} {object}"
        );
    }
    let case = Case {
        operation: Update,
        resource: "nodes",
        name: "a",
        old: &Value::Null,
        new: &Value::Null,
    };
    let why = "could not determine node from user \"system:node:\"";
    assert_eq!(refused(&cluster(), &no_name, &case).as_deref(), Some(why));
}
