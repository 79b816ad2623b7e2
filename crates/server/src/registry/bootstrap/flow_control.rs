//! The default objects of flow control, and the status of FlowSchemas. Upstream:
//! `pkg/registry/flowcontrol/ensurer` and `syncFlowSchemaStatuses` of the `apf_controller`.

use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use pandaemon_machinery::{KindRef, default_flow_control as defaults};
use pandaemon_types::time::rfc3339_seconds;
use serde_json::{Value, json};

use super::call_for;
use crate::{
    cache::object::Object,
    registry::{Call, Change, Registry},
};

/// Creates the default objects that are missing, updates those that people have not taken over, and
/// says of each FlowSchema whether its level exists. A failure is logged and concerns one object
/// only: the next time tries it again.
pub(crate) async fn keep_flow_control(registry: &Registry) {
    // A schema comes after its level. Of each kind, all are written at once: the store syncs its
    // log for many writes together.
    for defaults in [defaults::priority_levels(), defaults::flow_schemas()] {
        join_all(defaults.iter().map(|default| keep(registry, default))).await;
    }
    keep_flow_schema_statuses(registry).await;
}

async fn keep(registry: &Registry, default: &Value) {
    let set = |object: &mut Value| {
        if let Some(wanted) = defaults::reconcile(object, default) {
            *object = wanted;
        }
    };
    let kept = async {
        let call = call_for(registry, default)?;
        registry.ensure(&call, || default.clone(), set).await
    };
    if let Err(status) = kept.await {
        let (kind, name) = (&default["kind"], &default["metadata"]["name"]);
        tracing::error!(%kind, %name, error = %status, "default of flow control not written");
    }
}

/// Writes the condition `Dangling` of FlowSchemas where it is missing or wrong.
pub(crate) async fn keep_flow_schema_statuses(registry: &Registry) {
    let scheme = registry.scheme();
    let kind = |resource: &str| scheme.find_resource(defaults::GROUP, "v1", resource);
    let (Some(schemas), Some(levels)) = (kind("flowschemas"), kind("prioritylevelconfigurations"))
    else {
        return;
    };
    let stored = registry.cache.of(schemas);
    let stored = stored.into_iter().flat_map(|objects| objects.every());
    join_all(stored.map(|schema| keep_status(registry, schemas, levels, schema))).await;
}

async fn keep_status(
    registry: &Registry,
    schemas: &KindRef,
    levels: &KindRef,
    schema: Arc<Object>,
) {
    let Ok(value) = schema.value() else {
        return;
    };
    let level = value["spec"]["priorityLevelConfiguration"]["name"].as_str();
    let level = level.unwrap_or_default();
    let exists = registry.find(levels, "", level).is_some();
    let wanted = (status_of(exists), message(level, exists));
    if condition_of(&value).is_some_and(|(status, text)| (status, text) == (wanted.0, &wanted.1)) {
        return;
    }
    let call = Call {
        subresource: "status".into(),
        ..registry.internal_call(schemas, "", schema.name())
    };
    let change = |old: &Value| Ok(Change::from(with_condition(old, level, exists)));
    match registry.guaranteed_update(&call, change).await {
        Err(status) if status.code != 404 => {
            let name = schema.name();
            tracing::warn!(name, error = %status, "status of a FlowSchema not written");
        }
        _ => {}
    }
}

fn status_of(exists: bool) -> &'static str {
    if exists { "False" } else { "True" }
}

fn message(level: &str, exists: bool) -> String {
    let end = match exists {
        true => "and it exists",
        false => "but there is no such object",
    };
    format!(
        "This FlowSchema references the PriorityLevelConfiguration object named {level:?} {end}"
    )
}

/// Status and message of the condition `Dangling`.
fn condition_of(schema: &Value) -> Option<(&str, &str)> {
    let conditions = schema["status"]["conditions"].as_array()?;
    let mut conditions = conditions.iter();
    let dangling = conditions.find(|condition| condition["type"] == "Dangling")?;
    Some((dangling["status"].as_str()?, dangling["message"].as_str()?))
}

fn with_condition(schema: &Value, level: &str, exists: bool) -> Value {
    let mut schema = schema.clone();
    let old = schema["status"]["conditions"].take();
    let mut conditions = old.as_array().cloned().unwrap_or_default();
    let is_dangling = |condition: &Value| condition["type"] == "Dangling";
    let mut same = conditions.iter().filter(|condition| is_dangling(condition));
    let same = same.find(|condition| condition["status"] == status_of(exists));
    let since = same.map(|condition| condition["lastTransitionTime"].clone());
    let since = since.unwrap_or_else(|| rfc3339_seconds(Timestamp::now()).into());
    conditions.retain(|condition| !is_dangling(condition));
    conditions.push(json!({
        "type": "Dangling",
        "status": status_of(exists),
        "lastTransitionTime": since,
        "reason": if exists { "Found" } else { "NotFound" },
        "message": message(level, exists),
    }));
    schema["status"]["conditions"] = conditions.into();
    schema
}
