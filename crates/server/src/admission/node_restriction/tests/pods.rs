//! What a node creates and changes of its pods.

use serde_json::{Value, json};

use super::{super::super::rule::Operation, check_all, pod, with};

fn check_mirror_pods<const N: usize>(pods: [(&str, Value, Option<&str>); N]) {
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "uid-a", "controller": true});
    let mirror = json!({
        "metadata": {
            "name": "m", "namespace": "d",
            "annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": [owner],
        },
        "spec": {"nodeName": "a", "containers": [{"name": "c"}]},
    });
    let pods = pods.map(|(pointer, value, why)| (with(&mirror, pointer, value), why));
    check_all((Operation::Create, "pods", "m"), &Value::Null, pods);
}

#[test]
fn a_node_creates_mirror_pods_that_it_owns() {
    let no_owner = Some("node \"a\" can only create pods with an owner reference set to itself");
    let two = Some("node \"a\" can only create pods with a single owner reference set to itself");
    let controller =
        Some("node \"a\" can only create pods with a controller owner reference set to itself");
    let blocks = Some("node \"a\" must not set blockOwnerDeletion on an owner reference");
    let uid = Some("node a UID mismatch: expected old got uid-a");
    let node = Some("node \"a\" can only create pods with spec.nodeName set to itself");
    let mirror = Some(
        "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"a\" can only create mirror pods",
    );
    check_mirror_pods([
        ("/metadata/labels", json!({"a": "b"}), None),
        ("/metadata/annotations", json!({}), mirror),
        ("/spec/nodeName", json!("b"), node),
        ("/metadata/ownerReferences", Value::Null, no_owner),
        ("/metadata/ownerReferences", json!([]), no_owner),
        ("/metadata/ownerReferences", json!([{}, {}]), two),
        ("/metadata/ownerReferences/0/name", json!("b"), no_owner),
        ("/metadata/ownerReferences/0/kind", json!("Pod"), no_owner),
        (
            "/metadata/ownerReferences/0/apiVersion",
            json!("v2"),
            no_owner,
        ),
        (
            "/metadata/ownerReferences/0/controller",
            json!(false),
            controller,
        ),
        (
            "/metadata/ownerReferences/0/blockOwnerDeletion",
            json!(true),
            blocks,
        ),
        ("/metadata/ownerReferences/0/uid", json!("old"), uid),
    ]);
}

#[test]
fn a_node_creates_no_pods_that_refer_to_other_objects() {
    let volume = |volume: Value| json!([volume]);
    let bundle = json!({"projected": {"sources": [{"clusterTrustBundle": {}}]}});
    for (pointer, value, what) in [
        ("/spec/serviceAccountName", json!("s"), "a service account"),
        ("/spec/imagePullSecrets", json!([{"name": "s"}]), "secrets"),
        (
            "/spec/volumes",
            volume(json!({"configMap": {"name": "c"}})),
            "configmaps",
        ),
        ("/spec/volumes", volume(bundle), "clustertrustbundles"),
        (
            "/spec/volumes",
            volume(json!({"persistentVolumeClaim": {"claimName": "c"}})),
            "persistentvolumeclaims",
        ),
        (
            "/spec/resourceClaims",
            json!([{"name": "c"}]),
            "resourceclaims",
        ),
    ] {
        let why = format!("node \"a\" can not create pods that reference {what}");
        check_mirror_pods([(pointer, value, Some(&why))]);
    }
}

#[test]
fn a_node_reports_deletes_and_evicts_its_own_pods_only() {
    let (own, other) = (pod("own", "a"), pod("other", "b"));
    let status = with(&own, "/status", json!({"phase": "Running"}));
    let no_status =
        "node \"a\" can only update pod status for pods with spec.nodeName set to itself";
    let update = (Update, "pods/status", "own");
    check_all(
        update,
        &own,
        [
            (status.clone(), None),
            (with(&status, "/metadata/labels", json!({})), None),
            (
                with(&status, "/metadata/labels", json!({"a": "b"})),
                Some("node \"a\" cannot update labels through pod status"),
            ),
            (
                with(
                    &status,
                    "/status/resourceClaimStatuses",
                    json!([{"name": "c"}]),
                ),
                Some("node \"a\" cannot update resource claim statues"),
            ),
        ],
    );
    check_all(update, &other, [(status, Some(no_status))]);
    let spec = "unexpected operation \"UPDATE\", node \"a\" can only create and delete mirror pods";
    let part = "unexpected pod subresource \"ephemeralcontainers\", only 'status' and 'eviction' are allowed";
    let bind = "unexpected pod subresource \"binding\", only 'status' and 'eviction' are allowed";
    let delete = "node \"a\" can only delete pods with spec.nodeName set to itself";
    let evict = "node a can only evict pods with spec.nodeName set to itself";
    use Operation::{Create, Delete, Update};
    for (request, old, expected) in [
        ((Delete, "pods", "own"), &own, None),
        ((Delete, "pods", "other"), &other, Some(delete)),
        ((Update, "pods", "own"), &own, Some(spec)),
        (
            (Update, "pods/ephemeralcontainers", "own"),
            &own,
            Some(part),
        ),
        ((Create, "pods/binding", "own"), &own, Some(bind)),
        ((Create, "pods/eviction", "own"), &Value::Null, None),
        (
            (Create, "pods/eviction", "other"),
            &Value::Null,
            Some(evict),
        ),
        (
            (Create, "pods/eviction", "none"),
            &Value::Null,
            Some("pods \"none\" not found"),
        ),
    ] {
        check_all(request, old, [(Value::Null, expected)]);
    }
}
