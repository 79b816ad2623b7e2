//! The default objects of flow control, and the status of FlowSchemas. Upstream:
//! `pkg/registry/flowcontrol/ensurer` and `syncFlowSchemaStatuses` of the `apf_controller`.

use jiff::Timestamp;
use pandaemon_machinery::{default_flow_control as defaults, status::Result};
use serde_json::{Value, json};

use super::call_for;
use crate::registry::{Call, Registry, update::Change};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";

/// Creates the default objects that are missing, updates those that people have not taken over, and
/// says of each FlowSchema whether its level exists. A failure is logged and concerns one object
/// only: the next time tries it again.
pub(crate) async fn keep_flow_control(registry: &Registry) {
    let defaults = defaults::priority_levels().into_iter();
    for default in defaults.chain(defaults::flow_schemas()) {
        if let Err(status) = keep(registry, &default).await {
            let (kind, name) = (&default["kind"], &default["metadata"]["name"]);
            tracing::error!(%kind, %name, error = %status, "default of flow control not written");
        }
    }
    keep_flow_schema_statuses(registry).await;
}

async fn keep(registry: &Registry, default: &Value) -> Result<()> {
    let call = call_for(registry, default)?;
    let set = |object: &mut Value| {
        if let Some(wanted) = defaults::reconcile(object, default) {
            *object = wanted;
        }
    };
    registry.ensure(&call, || default.clone(), set).await
}

/// Writes the condition `Dangling` of FlowSchemas where it is missing or wrong.
pub(crate) async fn keep_flow_schema_statuses(registry: &Registry) {
    let scheme = registry.scheme();
    let kind = |resource: &str| scheme.find_resource(GROUP, "v1", resource).cloned();
    let (Some(schemas), Some(levels)) = (kind("flowschemas"), kind("prioritylevelconfigurations"))
    else {
        return;
    };
    let stored = registry.cache.of(&schemas);
    for schema in stored.into_iter().flat_map(|objects| objects.every()) {
        let Ok(value) = schema.value() else {
            continue;
        };
        let level = value["spec"]["priorityLevelConfiguration"]["name"].as_str();
        let level = level.unwrap_or_default();
        let exists = registry.find(&levels, "", level).is_some();
        if condition_of(&value).is_some_and(|(status, text)| {
            (status, text) == (status_of(exists), message(level, exists).as_str())
        }) {
            continue;
        }
        let call = Call {
            subresource: "status".into(),
            ..registry.internal_call(&schemas, "", schema.name())
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
}

fn status_of(exists: bool) -> &'static str {
    if exists { "False" } else { "True" }
}

fn message(level: &str, exists: bool) -> String {
    let end = match exists {
        true => "it exists",
        false => "there is no such object",
    };
    let conjunction = if exists { "and" } else { "but" };
    format!(
        "This FlowSchema references the PriorityLevelConfiguration object named {level:?} {conjunction} {end}"
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
    let changes = condition_of(&schema).is_none_or(|(status, _)| status != status_of(exists));
    let old = schema["status"]["conditions"].take();
    let mut conditions = old.as_array().cloned().unwrap_or_default();
    let is_dangling = |condition: &Value| condition["type"] == "Dangling";
    let since = conditions.iter().find(|condition| is_dangling(condition));
    let since = since.map(|condition| condition["lastTransitionTime"].clone());
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let since = since.filter(|_| !changes).unwrap_or_else(|| now.into());
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
