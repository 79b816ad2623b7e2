//! `pods/binding` and `bindings`: assigns a pod to a node.

use http::Response;
use pandaemon_machinery::{KindRef, Status, status::Result};
use serde_json::{Value, json};

use crate::{
    admission::Operation,
    handlers::{resource_request::ResourceRequest, response},
    http::body::Body,
    registry::{Call, Registry, kinds, meta, update::Change},
};

/// Handles a POST of a Binding.
///
/// # Errors
/// 404 if the pod does not exist, 409 if it is assigned or terminating, 500 for a target that is no
/// node.
pub(crate) async fn answer(request: &ResourceRequest<'_>) -> Result<Response<Body>> {
    let form = request.incoming.form()?;
    let call = request.call()?;
    let mut binding = request.decoded(kinds::bindings()?, &call)?.value;
    let name = match call.name.as_str() {
        "" => meta::name(&binding),
        name => name,
    };
    let name = name.to_owned();
    let registry = &request.api.registry;
    let admission = registry.admission(Operation::Create, &call, &name);
    let warnings = admission.run(&mut binding).await?;
    let pod = Call {
        kind: KindRef::clone(kinds::pods()?),
        name: name.clone(),
        subresource: "binding".into(),
        is_admitted: true,
        ..call.clone()
    };
    bind(registry, &pod, &binding).await?;
    Ok(response::success(&form, &warnings))
}

async fn bind(registry: &Registry, pod: &Call, binding: &Value) -> Result<()> {
    let target = &binding["target"];
    let node = target["name"].as_str().unwrap_or_default();
    if !matches!(target["kind"].as_str(), None | Some("" | "Node")) || node.is_empty() {
        return Err(Status::internal(format!("invalid binding target {target}")));
    }
    registry
        .guaranteed_update(pod, |old| bound(pod, old, node, binding))
        .await
        .map(|_| ())
}

/// The pod with its node and the condition `PodScheduled`.
fn bound(pod: &Call, old: &Value, node: &str, binding: &Value) -> Result<Change> {
    let refuse = |why: &str| Status::conflict(&pod.kind, &pod.name, why);
    if meta::is_terminating(old) {
        return Err(refuse(&format!(
            "pod {} is being deleted, cannot be assigned to a host",
            pod.name
        )));
    }
    let has = meta::text_at(old, &["spec", "nodeName"]);
    if !has.is_empty() {
        return Err(refuse(&format!(
            "pod {} is already assigned to node {has:?}",
            pod.name
        )));
    }
    let mut value = old.clone();
    value["spec"]["nodeName"] = node.into();
    copy_annotations(&mut value, binding);
    set_scheduled(&mut value, &pod.time());
    Ok(value.into())
}

/// Adds the annotations of a Binding to the pod.
fn copy_annotations(pod: &mut Value, binding: &Value) {
    let given = meta::of(binding)
        .and_then(|m| m.get("annotations"))
        .and_then(Value::as_object);
    for (key, value) in given.into_iter().flatten() {
        meta::edit(pod, |metadata| {
            let all = metadata.entry("annotations").or_insert_with(|| json!({}));
            if let Some(all) = all.as_object_mut() {
                all.insert(key.clone(), value.clone());
            }
        });
    }
}

/// Sets the condition `PodScheduled` to `True`, unless it is already.
pub(crate) fn set_scheduled(pod: &mut Value, time: &str) {
    if !pod["status"].is_object() {
        pod["status"] = json!({});
    }
    if !pod["status"]["conditions"].is_array() {
        pod["status"]["conditions"] = json!([]);
    }
    let condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": time,
    });
    let Some(conditions) = pod["status"]["conditions"].as_array_mut() else {
        return;
    };
    match conditions.iter_mut().find(|c| c["type"] == "PodScheduled") {
        Some(old) if old["status"] == "True" => {}
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}
