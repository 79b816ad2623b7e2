//! `pods/binding` and `bindings`: assigns a pod to a node.

use http::Response;
use pandaemon_machinery::{KindRef, Status, status::Result, validation};
use serde_json::{Value, json};

use crate::{
    admission::Operation,
    handlers::{resource_request::ResourceRequest, response},
    http::body::Body,
    registry::{Call, Change, create, kinds, meta, update},
};

/// Handles a POST of a Binding. Its UID and resource version, if it has any, are those of the pod
/// that it is about.
///
/// # Errors
/// 400 for another name or namespace than those of the path, 404 if the pod does not exist, 409 if
/// it is another one, assigned or terminating, 500 for a target that is no node.
pub(crate) async fn answer(request: &ResourceRequest<'_>) -> Result<Response<Body>> {
    let form = request.incoming.form()?;
    let call = request.call()?;
    let mut binding = request.decoded(kinds::bindings()?, &call)?.value;
    create::set_namespace(&call, &mut binding)?;
    let name = meta::name(&binding).to_owned();
    if !call.subresource.is_empty() && name != call.name {
        let text = "name in URL does not match name in Binding object";
        return Err(Status::bad_request(text));
    }
    check(&binding)?;
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
    registry
        .guaranteed_update(&pod, |old| bound(&pod, old, &binding))
        .await?;
    Ok(response::success(&form, &warnings))
}

/// Checks the target. As upstream, an error is 500.
fn check(binding: &Value) -> Result<()> {
    let errors = validation::validate_binding(binding);
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match texts.as_slice() {
        [] => Ok(()),
        [one] => Err(Status::failure(500, "", one.as_str())),
        many => Err(Status::failure(500, "", format!("[{}]", many.join(", ")))),
    }
}

/// The pod with its node and the condition `PodScheduled`. Upstream: `setPodNodeAndMetadata`.
fn bound(pod: &Call, old: &Value, binding: &Value) -> Result<Change> {
    for (field, what) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
        let wanted = meta::text(binding, field);
        if !wanted.is_empty() {
            update::check_precondition(pod, what, wanted, meta::text(old, field))?;
        }
    }
    let name = &pod.name;
    if meta::is_terminating(old) {
        let why = format!("pod {name} is being deleted, cannot be assigned to a host");
        return Err(refused(pod, &why));
    }
    let has = meta::text_at(old, &["spec", "nodeName"]);
    if !has.is_empty() {
        let why = format!("pod {name} is already assigned to node {has:?}");
        return Err(refused(pod, &why));
    }
    let gates = meta::at(old, &["spec", "schedulingGates"]).and_then(Value::as_array);
    if gates.is_some_and(|gates| !gates.is_empty()) {
        let why = format!("pod {name} has non-empty .spec.schedulingGates");
        return Err(refused(pod, &why));
    }
    let mut value = old.clone();
    value["spec"]["nodeName"] = binding["target"]["name"].clone();
    if let Some(status) = value["status"].as_object_mut() {
        status.remove("nominatedNodeName");
    }
    copy_metadata(&mut value, binding, "annotations");
    copy_metadata(&mut value, binding, "labels");
    set_scheduled(&mut value, &pod.time());
    Ok(value.into())
}

fn refused(pod: &Call, why: &str) -> Box<Status> {
    const RESOURCE: &str = "pods/binding";
    let mut status = Status::conflict(&pod.kind, &pod.name, why);
    let name = &pod.name;
    status.message = format!("Operation cannot be fulfilled on {RESOURCE} {name:?}: {why}");
    if let Some(details) = &mut status.details {
        RESOURCE.clone_into(&mut details.kind);
    }
    status
}

/// Adds the annotations or the labels of a Binding to those of the pod.
fn copy_metadata(pod: &mut Value, binding: &Value, field: &str) {
    let given = meta::at(binding, &["metadata", field]).and_then(Value::as_object);
    for (key, value) in given.into_iter().flatten() {
        meta::edit(pod, |metadata| {
            let all = metadata.entry(field).or_insert_with(|| json!({}));
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
