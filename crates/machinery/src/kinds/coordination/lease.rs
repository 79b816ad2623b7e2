//! `Lease`. Those of nodes are heartbeats.

use serde_json::Value;

use crate::{
    Kind, Strategy, defaults,
    kinds::kind,
    table::{self, Printer},
    validation::{ErrorList, meta, simple},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!("coordination", "Lease", "leases", "lease",
    group: "coordination.k8s.io".into(), storage: "coordination.k8s.io/leases".into(), strategy: Box::new(LeaseStrategy))
}

/// The namespace of the leases of nodes.
const NODE_LEASES: &str = "kube-node-lease";

#[derive(Debug)]
struct LeaseStrategy;

impl Strategy for LeaseStrategy {
    fn set_defaults(&self, object: &mut Value) {
        defaults::child(object, "spec");
    }

    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
        simple::lease(object, errors);
    }

    fn validate_update(
        &self,
        _kind: &Kind,
        _subresource: &str,
        old: &Value,
        new: &Value,
        errors: &mut ErrorList,
    ) {
        meta::validate_update(old, new, errors);
        simple::lease(new, errors);
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn printer(&self) -> Printer {
        Printer {
            columns: table::LEASE,
            cells: table::plain::lease,
        }
    }

    fn is_volatile(&self, namespace: &str) -> bool {
        namespace == NODE_LEASES
    }
}
