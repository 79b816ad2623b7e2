//! `kubectl apply --server-side` on objects that client-side `kubectl apply` made.

use serde_json::json;

use super::{
    T2, applied, by, created, daemonset, defaulted, kind, later, map, owners, refused, updated,
};
use crate::{managed_fields::track_update, patch::json_patch};

/// The four requests of `kubectl apply --server-side` on an object that `kubectl apply` made.
#[test]
fn kubectl_migrates_from_client_side_apply() {
    const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let config = map(json!({"a": "2"}));
    let mut object = map(json!({"a": "1"}));
    object["metadata"]["annotations"] = json!({ANNOTATION: map(json!({"a": "1"})).to_string()});
    let object = created("configmaps", object, "kubectl-client-side-apply");
    // The configuration itself: no conflict, and the annotation follows.
    let object = applied(
        "configmaps",
        Some(&object),
        config.clone(),
        later("kubectl"),
    );
    let last = object["metadata"]["annotations"][ANNOTATION].clone();
    assert_eq!(last, format!("{config}\n"));
    // The annotation gets an owner of its own.
    let mut annotation = map(json!({}));
    annotation.as_object_mut().unwrap().remove("data");
    annotation["metadata"]["annotations"] = json!({ANNOTATION: last});
    let mut object = applied(
        "configmaps",
        Some(&object),
        annotation,
        later("kubectl-last-applied"),
    );
    // The entries of client-side apply are merged into those of server-side apply.
    object["metadata"]["resourceVersion"] = json!("7");
    let operations = json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": [
            {"manager": "kubectl", "operation": "Apply", "apiVersion": "v1", "time": T2, "fieldsType": "FieldsV1",
             "fieldsV1": {"f:data": {".": {}, "f:a": {}}, "f:metadata": {"f:annotations": {".": {}}}}},
            {"manager": "kubectl-last-applied", "operation": "Apply", "apiVersion": "v1", "time": T2,
             "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:annotations": {format!("f:{ANNOTATION}"): {}}}}}]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
    ]);
    let mut migrated = json_patch(&object, operations.to_string().as_bytes()).unwrap();
    track_update(
        kind("configmaps"),
        Some(&object),
        &mut migrated,
        later("kubectl"),
    );
    assert_eq!(
        owners(&migrated),
        [
            r#"kubectl Apply 2 {"f:data":{".":{},"f:a":{}},"f:metadata":{"f:annotations":{}}}"#
                .to_owned(),
            format!(
                r#"kubectl-last-applied Apply 2 {{"f:metadata":{{"f:annotations":{{"f:{ANNOTATION}":{{}}}}}}}}"#
            )
        ]
    );
    // And once more the configuration.
    let object = applied("configmaps", Some(&migrated), config, later("kubectl"));
    assert_eq!(object["data"], json!({"a": "2"}));
    assert_eq!(object["metadata"]["annotations"][ANNOTATION], last);
}

#[test]
fn kubectl_takes_over_fields_of_client_side_apply_without_conflict() {
    let applied_before = daemonset("a:v1");
    let mut live = defaulted(daemonset("a:v1"));
    live["metadata"]["annotations"] = json!({
        "kubectl.kubernetes.io/last-applied-configuration": applied_before.to_string(), "k": "v"});
    let live = created("daemonsets", live, "kubectl-client-side-apply");
    let status = refused("daemonsets", &live, daemonset("a:v2"), "other");
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: \
         .spec.template.spec.containers[name=\"c\"].image"
    );
    let object = applied(
        "daemonsets",
        Some(&live),
        daemonset("a:v2"),
        later("kubectl"),
    );
    let annotations = &object["metadata"]["annotations"];
    assert_eq!(
        annotations["kubectl.kubernetes.io/last-applied-configuration"],
        format!("{}\n", daemonset("a:v2"))
    );
    let scaled = updated("daemonsets", &live, by("someone"), |new| {
        new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:v9");
    });
    assert_eq!(
        refused("daemonsets", &scaled, daemonset("a:v2"), "kubectl").code,
        409
    );
}
