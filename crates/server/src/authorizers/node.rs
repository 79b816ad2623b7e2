//! The rights of node agents. Upstream: `plugin/pkg/auth/authorizer/node`.

use crate::auth::{Attributes, Authorizer, Decision, DecisionFuture, User, UserRules};

/// Allows a node agent to read what its pods need, and to write its Node, its Lease and its pods.
/// The admission plugin `NodeRestriction` checks the rest.
#[derive(Debug)]
pub(super) struct NodeAuthorizer;

impl Authorizer for NodeAuthorizer {
    fn authorize<'a>(&'a self, attributes: &'a Attributes<'_>) -> DecisionFuture<'a> {
        let may = attributes
            .user
            .node()
            .is_some_and(|node| !attributes.is_resource_request || may(node, attributes));
        Decision::allow_if(may).into()
    }

    fn rules_for(&self, user: &User, _namespace: &str) -> UserRules {
        let mut rules = UserRules::default();
        if user.node().is_some() {
            let why = "node authorizer does not support user rule resolution";
            rules.resolved.errors.push(why.into());
            rules.is_incomplete = true;
        }
        rules
    }
}

fn may(node: &str, attributes: &Attributes<'_>) -> bool {
    let verb = attributes.verb;
    let reads = matches!(verb, "get" | "list" | "watch");
    let writes = matches!(verb, "create" | "update" | "patch" | "delete");
    let deletes_all = verb == "deletecollection";
    let own_name = attributes.name.is_empty() || attributes.name == node;
    match (attributes.api_group, attributes.resource) {
        ("", "nodes") => reads || (writes && own_name),
        ("coordination.k8s.io", "leases") => reads || (own_name && (writes || deletes_all)),
        ("", "pods") => reads || writes,
        ("" | "events.k8s.io", "events") => reads || writes || deletes_all,
        ("", "serviceaccounts") => {
            reads || (attributes.subresource == "token" && (writes || deletes_all))
        }
        ("authentication.k8s.io" | "authorization.k8s.io", _) => reads || writes || deletes_all,
        ("certificates.k8s.io", _) => reads || verb == "create",
        _ => reads,
    }
}
