//! The rights of node agents. Upstream: `plugin/pkg/auth/authorizer/node`.

mod graph;

use std::{borrow::Cow, sync::Arc};

use self::graph::{Graph, Vertex};
use crate::{
    auth::{Attributes, Authorizer, Decision, DecisionFuture, User, UserRules},
    cache::watch_cache::WatchCache,
    registry::kinds::NODE_LEASES,
};

/// Allows a node agent to read what its pods refer to, and to write its Node, its Lease and the
/// status of its pods. What it may not see here (the object that is written) the admission plugin
/// `NodeRestriction` checks.
#[derive(Debug)]
pub(super) struct NodeAuthorizer {
    graph: Graph,
}

/// Whether a node may do something; the error is the reason why not, which may be empty.
type Checked = Result<(), Cow<'static, str>>;

const NO_REASON: Checked = Err(Cow::Borrowed(""));

impl NodeAuthorizer {
    /// An authorizer that looks up pods in this cache.
    pub(super) const fn new(cache: Arc<WatchCache>) -> Self {
        Self {
            graph: Graph::new(cache),
        }
    }

    fn check(&self, attributes: &Attributes<'_>) -> Checked {
        let Some(node) = attributes.user.node() else {
            return NO_REASON;
        };
        if node.is_empty() {
            let user = &attributes.user.name;
            return Err(format!("unknown node for user {user:?}").into());
        }
        if !attributes.is_resource_request {
            return NO_REASON;
        }
        match (attributes.api_group, attributes.resource) {
            ("", "secrets") => self.check_read(node, Vertex::Secret, attributes),
            ("", "configmaps") => self.check_read(node, Vertex::ConfigMap, attributes),
            ("", "serviceaccounts") => self.check_create_token(node, attributes),
            ("", "pods") => self.check_pod(node, attributes),
            ("", "nodes") => check_node(node, attributes),
            ("coordination.k8s.io", "leases") => check_lease(node, attributes),
            _ if has_rule(attributes) => Ok(()),
            _ => NO_REASON,
        }
    }

    /// Reads of a single object of a namespace. Upstream: `authorizeReadNamespacedObject`.
    fn check_read(&self, node: &str, vertex: Vertex, attributes: &Attributes<'_>) -> Checked {
        if !is_read(attributes.verb) {
            return Err("can only read resources of this type".into());
        }
        if !attributes.subresource.is_empty() {
            return Err("cannot read subresource".into());
        }
        if attributes.namespace.is_empty() {
            return Err("can only read namespaced object of this type".into());
        }
        self.check_referenced(node, vertex, attributes)
    }

    /// Upstream: `authorizeCreateToken`.
    fn check_create_token(&self, node: &str, attributes: &Attributes<'_>) -> Checked {
        if attributes.verb != "create" || attributes.name.is_empty() {
            return Err("can only create tokens for individual service accounts".into());
        }
        if attributes.subresource != "token" {
            return Err("can only create token subresource of serviceaccount".into());
        }
        self.check_referenced(node, Vertex::ServiceAccount, attributes)
    }

    /// Upstream: `authorizePod`.
    fn check_pod(&self, node: &str, attributes: &Attributes<'_>) -> Checked {
        match (attributes.subresource, attributes.verb) {
            ("", "get") => self.check_own_pod(node, attributes),
            ("", "list" | "watch") => {
                let fields = attributes.field_selector;
                if fields.and_then(|fields| fields.exact("spec.nodeName")) == Some(node) {
                    return Ok(());
                }
                if attributes.name.is_empty() {
                    let why = "can only list/watch pods with spec.nodeName field selector";
                    return Err(why.into());
                }
                self.check_own_pod(node, attributes)
            }
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => {
                Ok(())
            }
            _ => NO_REASON,
        }
    }

    fn check_referenced(&self, node: &str, vertex: Vertex, attributes: &Attributes<'_>) -> Checked {
        check_related(node, attributes, |namespace, name| {
            self.graph.refers(node, vertex, namespace, name)
        })
    }

    fn check_own_pod(&self, node: &str, attributes: &Attributes<'_>) -> Checked {
        check_related(node, attributes, |namespace, name| {
            self.graph.has_pod(node, namespace, name)
        })
    }
}

impl Authorizer for NodeAuthorizer {
    fn authorize<'a>(&'a self, attributes: &'a Attributes<'_>) -> DecisionFuture<'a> {
        match self.check(attributes) {
            Ok(()) => Decision::ALLOW.into(),
            Err(reason) => Decision::NoOpinion(reason).into(),
        }
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

/// Upstream: `authorize`.
fn check_related(
    node: &str,
    attributes: &Attributes<'_>,
    is_related: impl Fn(&str, &str) -> bool,
) -> Checked {
    let (namespace, name) = (attributes.namespace, attributes.name);
    if name.is_empty() {
        return Err("No Object name found".into());
    }
    if is_related(namespace, name) {
        return Ok(());
    }
    let why = format!("no relationship found between node '{node}' and this object");
    Err(why.into())
}

fn is_read(verb: &str) -> bool {
    matches!(verb, "get" | "list" | "watch")
}

/// Upstream: `authorizeNode`.
fn check_node(node: &str, attributes: &Attributes<'_>) -> Checked {
    match (attributes.subresource, attributes.verb, attributes.name) {
        ("", "create" | "update" | "patch", _) | ("status", "update" | "patch", _) => Ok(()),
        ("", verb, name) if is_read(verb) && name == node => Ok(()),
        ("", verb, "") if is_read(verb) => {
            Err(format!("node '{node}' cannot read all nodes, only its own Node object").into())
        }
        ("", verb, name) if is_read(verb) => {
            Err(format!("node '{node}' cannot read '{name}', only its own Node object").into())
        }
        _ => NO_REASON,
    }
}

/// Upstream: `authorizeLease`.
fn check_lease(node: &str, attributes: &Attributes<'_>) -> Checked {
    let verb = attributes.verb;
    if !matches!(verb, "get" | "create" | "update" | "patch" | "delete") {
        return Err("can only get, create, update, patch, or delete a node lease".into());
    }
    if attributes.namespace != NODE_LEASES {
        let why = format!("can only access leases in the {NODE_LEASES:?} system namespace");
        return Err(why.into());
    }
    // A creation has no name here.
    if verb != "create" && attributes.name != node {
        let why = "can only access node lease with the same name as the requesting node";
        return Err(why.into());
    }
    Ok(())
}

/// The rights that all nodes have to other resources. Upstream: `bootstrappolicy.NodeRules`.
fn has_rule(attributes: &Attributes<'_>) -> bool {
    let verb = attributes.verb;
    if !attributes.subresource.is_empty() {
        return false;
    }
    match (attributes.api_group, attributes.resource) {
        ("authentication.k8s.io", "tokenreviews")
        | ("authorization.k8s.io", "subjectaccessreviews" | "localsubjectaccessreviews") => {
            verb == "create"
        }
        ("", "events") => matches!(verb, "create" | "update" | "patch"),
        ("", "endpoints") => verb == "get",
        ("certificates.k8s.io", "certificatesigningrequests") => verb == "create" || is_read(verb),
        ("", "services") | ("node.k8s.io", "runtimeclasses") | ("storage.k8s.io", "csidrivers") => {
            is_read(verb)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
