//! `NodeRestriction`: what a node agent writes concerns its own Node, Lease and pods. Upstream:
//! `plugin/pkg/admission/noderestriction`.

mod leases;
mod nodes;
mod pods;
mod tokens;

use futures::future::BoxFuture;
use pandaemon_machinery::status::Result;
use serde_json::Value;

use self::{leases::check_lease, nodes::check_node, pods::check_pod, tokens::check_token_request};
use super::{
    plugin::{Attributes, Plugin, Request, done},
    rule::{Operation, Rule},
};

#[derive(Debug)]
pub(super) struct NodeRestriction;

impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn rules(&self) -> Vec<Rule> {
        let mut rules = pods::rules();
        rules.extend([nodes::rule(), tokens::rule(), leases::rule()]);
        rules
    }

    /// Only node agents are restricted. A renewal of the own lease would pass, and is frequent.
    fn concerns(&self, request: Request<'_>) -> bool {
        let node = request.user.node();
        node.is_some_and(|node| !leases::is_own_renewal(request, node))
    }

    fn admit<'a>(
        &'a self,
        attributes: Attributes<'a>,
        object: &'a mut Value,
    ) -> BoxFuture<'a, Result<()>> {
        let own = attributes.user.node().unwrap_or_default();
        if own.is_empty() {
            let user = &attributes.user.name;
            let why = format!("could not determine node from user {user:?}");
            return done(Err(attributes.forbidden(&why)));
        }
        match attributes.kind.plural.as_str() {
            "nodes" => done(check_node(&attributes, own, object)),
            "pods" => done(check_pod(&attributes, own, object)),
            "leases" => done(check_lease(&attributes, own, object)),
            _ => Box::pin(check_token_request(attributes, own, object)),
        }
    }
}

/// A rule for what node agents do to a resource of a group. Nothing is changed.
fn rule(operations: &[Operation], group: &str, resource: &str) -> Rule {
    Rule::new(operations, group, &[resource]).writes(&[])
}

#[cfg(test)]
mod tests;
