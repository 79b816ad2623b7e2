//! What happens to a write between decoding and validation: the admission plugins that a plain
//! cluster has on.

mod node;
mod pod;
mod service;

use pandaemon_machinery::{Kind, Status, scheme, status::Result};
use serde_json::Value;

use crate::registry::{Call, Registry};

pub(crate) use service::first_address;

/// Completes and checks a new object.
///
/// # Errors
/// 403 or 422 when it may not be made.
pub(crate) fn admit_create(
    registry: &Registry,
    call: &Call,
    object: &mut Value,
    _warnings: &mut Vec<String>,
) -> Result<()> {
    match call.kind.storage {
        "pods" => pod::admit_create(registry, call, object),
        "nodes" => node::admit_create(call, object),
        "services" => service::admit(registry, call, object),
        _ => Ok(()),
    }
}

/// Completes and checks a change.
///
/// # Errors
/// 403 or 422 when it may not be made.
pub(crate) fn admit_update(
    registry: &Registry,
    call: &Call,
    old: &Value,
    new: &mut Value,
    _warnings: &mut Vec<String>,
) -> Result<()> {
    match call.kind.storage {
        "pods" => pod::check_own(call, old, "update pod status for pods"),
        "nodes" => node::check_own(call, &call.name),
        "services" if call.subresource.is_empty() => service::admit(registry, call, new),
        _ => Ok(()),
    }
}

/// Namespaces that are always there.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Checks a delete.
///
/// # Errors
/// 403 for what may not go away.
pub(crate) fn admit_delete(call: &Call, old: &Value) -> Result<()> {
    if call.kind.storage == "namespaces" && IMMORTAL.contains(&call.name.as_str()) {
        return Err(Status::forbidden(
            call.kind,
            &call.name,
            "this namespace may not be deleted",
        ));
    }
    match call.kind.storage {
        "nodes" => node::check_own(call, &call.name),
        "pods" => pod::check_own(call, old, "delete pods"),
        _ => Ok(()),
    }
}

/// The served kind of a resource in version v1 of the group.
fn kind(group: &str, plural: &str) -> Result<&'static Kind> {
    scheme::find_resource(group, "v1", plural).ok_or_else(Status::path_not_found)
}
