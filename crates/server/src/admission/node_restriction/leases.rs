//! The lease of a node.

use pandaemon_machinery::status::Result;
use serde_json::Value;

use super::{
    super::{
        plugin::{Attributes, Request},
        rule::{Operation, Rule},
    },
    rule as rule_for,
};
use crate::registry::{kinds::NODE_LEASES, meta};

pub(super) fn rule() -> Rule {
    use Operation::{Create, Delete, Update};
    let operations = [Create, Update, Delete];
    rule_for(&operations, "coordination.k8s.io", "leases").reads(&["/metadata/name"])
}

/// Whether a request of the node updates its own lease, which is allowed.
pub(super) fn is_own_renewal(request: Request<'_>, own: &str) -> bool {
    request.operation == Operation::Update
        && request.kind.plural == "leases"
        && request.namespace == NODE_LEASES
        && request.name == own
        && !own.is_empty()
}

pub(super) fn check_lease(attributes: &Attributes<'_>, own: &str, lease: &Value) -> Result<()> {
    if attributes.namespace != NODE_LEASES {
        return Err(attributes.forbidden(&format!(
            "can only access leases in the {NODE_LEASES:?} system namespace"
        )));
    }
    let name = match attributes.operation {
        Operation::Create => meta::name(lease),
        _ => attributes.name,
    };
    if name != own {
        let why = "can only access node lease with the same name as the requesting node";
        return Err(attributes.forbidden(why));
    }
    Ok(())
}
