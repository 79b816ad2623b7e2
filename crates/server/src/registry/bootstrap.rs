//! Objects that the server creates at its start, and the expiry of Events.

mod default_roles;
mod flow_control;

use jiff::Timestamp;
use pandaemon_machinery::{Status, decode::Decoded, scheme, status::Result};
use serde_json::{Value, json};

use crate::{
    cache::object::Object,
    registry::{
        Call, Registry,
        kinds::{self, NODE_LEASES},
        kubernetes_service,
        options::DeleteOptions,
    },
};

pub(crate) use self::{
    default_roles::reconcile_default_roles,
    flow_control::{keep_flow_control, keep_flow_schema_statuses},
};

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", NODE_LEASES];

/// The built-in objects, in the order in which they are created.
fn objects() -> Vec<Value> {
    let namespace =
        |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let critical = |name: &str, value: i64, who: &str| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": name}, "value": value,
            "description": format!("Used for system critical pods that {who}."),
        })
    };
    let mut all: Vec<Value> = NAMESPACES.iter().map(|name| namespace(name)).collect();
    all.push(critical(
        "system-cluster-critical",
        2_000_000_000,
        "must run in the cluster, but can be moved to another node if necessary",
    ));
    all.push(critical(
        "system-node-critical",
        2_000_001_000,
        "must not be moved from their current node",
    ));
    all.push(kubernetes_service::service());
    all
}

/// Creates the missing built-in objects.
///
/// # Errors
/// The status of a failed write.
pub(crate) async fn create_missing(registry: &Registry) -> Result<()> {
    for object in objects() {
        let call = call_for(registry, &object)?;
        if registry
            .find(&call.kind, &call.namespace, &call.name)
            .is_some()
        {
            continue;
        }
        match create(registry, object).await {
            Err(status) if status.reason == "AlreadyExists" => {}
            other => other?,
        }
    }
    Ok(())
}

/// An operation of the server itself on a built-in object.
fn call_for(registry: &Registry, object: &Value) -> Result<Call> {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let kind = object["kind"].as_str().unwrap_or_default();
    let kind = scheme::built_in()
        .find_kind(group, version, kind)
        .ok_or_else(Status::path_not_found)?;
    let metadata = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    Ok(registry.internal_call(kind, metadata("namespace"), metadata("name")))
}

async fn create(registry: &Registry, object: Value) -> Result<()> {
    let call = Call {
        name: String::new(),
        ..call_for(registry, &object)?
    };
    let decoded = Decoded {
        value: object,
        warnings: Vec::new(),
    };
    registry.create(&call, decoded).await.map(drop)
}

/// How long Events are kept after they were last seen, in seconds (upstream's `--event-ttl`).
const EVENT_TTL_SECONDS: i64 = 3600;

/// Deletes Events that were last seen more than [`EVENT_TTL_SECONDS`] ago. Returns their number.
///
/// # Errors
/// The status of a failed deletion.
pub(crate) async fn expire_events(registry: &Registry, now: Timestamp) -> Result<usize> {
    let kind = kinds::events()?;
    let mut removed = 0;
    for object in registry
        .cache
        .of(kind)
        .into_iter()
        .flat_map(|cache| cache.every())
    {
        let age = last_seen(&object).map_or(0, |last| now.as_second() - last.as_second());
        if age < EVENT_TTL_SECONDS {
            continue;
        }
        let call = registry.internal_call(kind, object.namespace(), object.name());
        match registry.delete(&call, &DeleteOptions::default()).await {
            Ok(_) => removed += 1,
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    Ok(removed)
}

/// When an Event was last seen.
fn last_seen(event: &Object) -> Option<Timestamp> {
    let value = event.value().ok()?;
    let time = ["lastTimestamp", "eventTime"]
        .iter()
        .find_map(|field| value[field].as_str());
    time.or_else(|| value["metadata"]["creationTimestamp"].as_str())?
        .parse()
        .ok()
}
