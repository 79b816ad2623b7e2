//! Admission: the built-in plugins that upstream enables by default, as far as they concern the
//! served kinds. Writes pass them between decoding and validation.

mod node;
mod pod;
mod service;

use pandaemon_machinery::{Status, status::Result};
use serde_json::Value;

use crate::registry::{Call, Registry};

pub(crate) use service::kubernetes_service_address;

/// Completes and checks an object that is created.
///
/// # Errors
/// 403 or 422 if it must not be created.
pub(crate) fn admit_create(registry: &Registry, call: &Call, object: &mut Value) -> Result<()> {
    match call.kind.storage.as_str() {
        "pods" => pod::admit_create(registry, call, object),
        "nodes" => node::admit_create(call, object),
        "services" => service::admit(registry, call, object),
        _ => Ok(()),
    }
}

/// Completes and checks an object that is updated.
///
/// # Errors
/// 403 or 422 if it must not be updated.
pub(crate) fn admit_update(
    registry: &Registry,
    call: &Call,
    old: &Value,
    new: &mut Value,
) -> Result<()> {
    match call.kind.storage.as_str() {
        "pods" => pod::check_node_restriction(call, old, "update pod status for pods"),
        "nodes" => node::check_node_restriction(call, &call.name),
        "services" if call.subresource.is_empty() => service::admit(registry, call, new),
        _ => Ok(()),
    }
}

/// Namespaces that must not be deleted.
const PROTECTED_NAMESPACES: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Checks whether an object may be deleted.
///
/// # Errors
/// 403 if it must not be deleted.
pub(crate) fn admit_delete(call: &Call, old: &Value) -> Result<()> {
    if call.kind.storage == "namespaces" && PROTECTED_NAMESPACES.contains(&call.name.as_str()) {
        return Err(Status::forbidden(
            &call.kind,
            &call.name,
            "this namespace may not be deleted",
        ));
    }
    match call.kind.storage.as_str() {
        "nodes" => node::check_node_restriction(call, &call.name),
        "pods" => pod::check_node_restriction(call, old, "delete pods"),
        _ => Ok(()),
    }
}
