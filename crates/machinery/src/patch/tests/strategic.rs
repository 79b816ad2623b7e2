//! Strategic merge patch.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{daemonset, kind};
use crate::{patch::strategic_merge_patch, status::Status};

/// Applies a strategic merge patch to the spec of a pod template, which has most lists with merge
/// keys.
fn patched(spec: Value, patch: Value) -> Result<Value, Box<Status>> {
    let current = json!({"spec": {"template": {"spec": spec}}});
    let patch = json!({"spec": {"template": {"spec": patch}}}).to_string();
    let mut patched = strategic_merge_patch(daemonset(), &current, patch.as_bytes())?;
    Ok(patched.pointer_mut("/spec/template/spec").unwrap().take())
}

#[track_caller]
fn assert_patched(spec: Value, patch: Value, expected: Value) {
    assert_eq!(patched(spec, patch).unwrap(), expected);
}

#[track_caller]
fn assert_refused(spec: Value, patch: Value, code: u16, text: &str) {
    let status = patched(spec, patch).unwrap_err();
    assert_eq!((status.code, status.message.as_str()), (code, text));
}

fn containers() -> Value {
    json!({"containers": [
        {"name": "a", "image": "a:v1", "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 81}],
         "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}],
         "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/w"}]},
        {"name": "b", "image": "b:v1"},
    ]})
}

fn patch_first_container(patch: Value) -> Value {
    let mut patch = patch;
    patch["name"] = json!("a");
    let merged = patched(containers(), json!({"containers": [patch]})).unwrap();
    merged["containers"][0].clone()
}

#[test]
fn lists_merge_by_merge_key() {
    let merged = patched(
        containers(),
        json!({"containers": [{"name": "b", "image": "b:v2"}]}),
    )
    .unwrap();
    assert_eq!(merged["containers"][0], containers()["containers"][0]);
    assert_eq!(
        merged["containers"][1],
        json!({"name": "b", "image": "b:v2"})
    );
}

#[test]
fn new_item_precedes_items_that_only_the_live_list_has() {
    let merged = patched(
        containers(),
        json!({"containers": [{"name": "c", "image": "c"}]}),
    )
    .unwrap();
    let names: Vec<&Value> = merged["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(names, ["c", "a", "b"]);
}

#[test]
fn ports_and_volume_mounts_merge_by_their_own_keys() {
    let ports = json!({"ports": [{"containerPort": 81, "name": "admin"}, {"containerPort": 82}]});
    assert_eq!(
        patch_first_container(ports)["ports"],
        json!([{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 81, "name": "admin"},
               {"containerPort": 82}])
    );
    let mounts = json!({"volumeMounts": [
        {"mountPath": "/v", "name": "w", "readOnly": true}, {"mountPath": "/z", "name": "v"}]});
    assert_eq!(
        patch_first_container(mounts)["volumeMounts"],
        json!([{"mountPath": "/v", "name": "w", "readOnly": true}, {"mountPath": "/z", "name": "v"},
               {"mountPath": "/w", "name": "w"}])
    );
}

#[test]
fn delete_directive_deletes_a_list_item() {
    let env = json!({"env": [
        {"name": "Y", "value": "9"}, {"name": "Z", "value": "3"}, {"name": "X", "$patch": "delete"}]});
    assert_eq!(
        patch_first_container(env)["env"],
        json!([{"name": "Y", "value": "9"}, {"name": "Z", "value": "3"}])
    );
}

#[test]
fn set_element_order_orders_the_whole_list() {
    let env = json!({"$setElementOrder/env": [{"name": "N"}, {"name": "Y"}, {"name": "X"}],
                     "env": [{"name": "N", "value": "0"}]});
    assert_eq!(
        patch_first_container(env)["env"],
        json!([{"name": "N", "value": "0"}, {"name": "Y", "value": "2"}, {"name": "X", "value": "1"}])
    );
    let only_order = json!({"$setElementOrder/env": [{"name": "Y"}, {"name": "X"}]});
    assert_eq!(
        patch_first_container(only_order)["env"],
        json!([{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}])
    );
}

#[test]
fn item_that_only_the_live_list_has_keeps_its_place_among_ordered_items() {
    let live =
        json!({"tolerations": [], "volumes": [{"name": "1"}, {"name": "server"}, {"name": "2"}]});
    let patch = json!({"$setElementOrder/volumes": [{"name": "1"}, {"name": "2"}, {"name": "3"}],
                       "volumes": [{"name": "3", "emptyDir": {}}]});
    let merged = patched(live, patch).unwrap();
    assert_eq!(
        merged["volumes"],
        json!([{"name": "1"}, {"name": "server"}, {"name": "2"}, {"name": "3", "emptyDir": {}}])
    );
}

#[test]
fn replace_directive_in_an_item_replaces_the_list() {
    assert_patched(
        containers(),
        json!({"containers": [{"$patch": "replace"}, {"name": "z", "image": "z"}]}),
        json!({"containers": [{"name": "z", "image": "z"}]}),
    );
}

#[test]
fn directives_replace_or_clear_a_map() {
    let live = json!({"securityContext": {"runAsUser": 1, "fsGroup": 2}});
    let replace = json!({"securityContext": {"$patch": "replace", "runAsUser": 5}});
    assert_patched(
        live.clone(),
        replace,
        json!({"securityContext": {"runAsUser": 5}}),
    );
    assert_patched(
        live,
        json!({"securityContext": {"$patch": "delete"}}),
        json!({"securityContext": {}}),
    );
}

#[test]
fn null_deletes_a_field_and_is_not_stored() {
    assert_patched(
        json!({"nodeSelector": {"x": "y", "z": "1"}, "tolerations": [{"key": "a"}]}),
        json!({"nodeSelector": {"x": null, "a": "b", "q": null}, "tolerations": null, "hostPID": null,
               "securityContext": {"fsGroup": null}}),
        json!({"nodeSelector": {"z": "1", "a": "b"}, "securityContext": {}}),
    );
}

#[test]
fn list_without_patch_strategy_is_replaced() {
    assert_patched(
        json!({"tolerations": [{"key": "a"}]}),
        json!({"tolerations": [{"key": "b"}]}),
        json!({"tolerations": [{"key": "b"}]}),
    );
}

#[test]
fn retain_keys_clears_other_keys() {
    let current = json!({"spec": {"updateStrategy": {
        "type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}}});
    let patch = json!({"spec": {"updateStrategy": {"$retainKeys": ["type"], "type": "OnDelete"}}});
    let patched =
        strategic_merge_patch(daemonset(), &current, patch.to_string().as_bytes()).unwrap();
    assert_eq!(
        patched,
        json!({"spec": {"updateStrategy": {"type": "OnDelete"}}})
    );
    let volumes = json!({"volumes": [{"name": "v", "emptyDir": {}}]});
    assert_patched(
        volumes,
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]}),
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
    );
}

#[test]
fn lists_of_scalars_merge_and_delete_by_value() {
    let current = json!({"metadata": {"finalizers": ["a", "b", "c"]}});
    let cases = [
        (
            json!({"finalizers": ["d", "a"]}),
            json!(["d", "a", "b", "c"]),
        ),
        (
            json!({"$deleteFromPrimitiveList/finalizers": ["a", "c"]}),
            json!(["b"]),
        ),
        (
            json!({"$deleteFromPrimitiveList/finalizers": ["b"],
                   "$setElementOrder/finalizers": ["d", "c", "a"], "finalizers": ["d"]}),
            json!(["d", "c", "a"]),
        ),
    ];
    for (meta, expected) in cases {
        let patch = json!({"metadata": meta}).to_string();
        let patched = strategic_merge_patch(daemonset(), &current, patch.as_bytes()).unwrap();
        assert_eq!(patched["metadata"]["finalizers"], expected, "{patch}");
    }
}

#[test]
fn owner_references_merge_by_uid_and_service_ports_by_port() {
    let current = json!({"metadata": {"ownerReferences": [{"uid": "u", "name": "o"}]}});
    let patch = json!({"metadata": {"ownerReferences": [{"uid": "u", "controller": true}]}});
    let patched =
        strategic_merge_patch(daemonset(), &current, patch.to_string().as_bytes()).unwrap();
    let expected = json!([{"uid": "u", "name": "o", "controller": true}]);
    assert_eq!(patched["metadata"]["ownerReferences"], expected);

    let current =
        json!({"spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}});
    let patch = json!({"spec": {"ports": [{"port": 81, "targetPort": 8081}, {"port": 82}]}});
    let patched =
        strategic_merge_patch(kind("", "services"), &current, patch.to_string().as_bytes())
            .unwrap();
    assert_eq!(
        patched["spec"]["ports"],
        json!([{"name": "a", "port": 80}, {"name": "b", "port": 81, "targetPort": 8081}, {"port": 82}])
    );
}

#[test]
fn directives_are_not_stored_in_new_objects() {
    let patch = json!({"containers": [
        {"name": "c", "$setElementOrder/env": [{"name": "A"}], "env": [{"name": "A"}, {"name": "B", "$patch": "delete"}]}],
        "volumes": [{"name": "gone", "$patch": "delete"}]});
    assert_patched(
        json!({}),
        patch,
        json!({"containers": [{"name": "c", "env": [{"name": "A"}]}], "volumes": []}),
    );
}

#[test]
fn invalid_strategic_patches_are_refused_with_upstreams_texts() {
    let item = |item: Value| json!({"containers": [item]});
    assert_refused(
        containers(),
        item(json!({"name": "a", "$patch": "explode"})),
        500,
        "unknown patch type: explode in map: map[$patch:explode name:a]",
    );
    assert_refused(
        containers(),
        item(json!({"image": "x"})),
        500,
        "map: map[image:x] does not contain declared merge key: name",
    );
    assert_refused(
        json!({"volumes": [{"name": "v"}]}),
        json!({"volumes": ["text"]}),
        500,
        "list element types are not identical: [[map[name:v]] [text]]",
    );
    assert_refused(
        json!({"volumes": []}),
        json!({"$retainKeys": ["x"], "volumes": []}),
        400,
        "invalid patch format of retainKeys",
    );
    assert_refused(
        json!({}),
        json!({"$deleteFromPrimitiveList": []}),
        400,
        "invalid patch format of primitive list",
    );
    assert_refused(
        json!({}),
        json!({"$setElementOrder": []}),
        400,
        "invalid patch format of setElementOrder list",
    );
    assert_refused(
        json!({}),
        json!({"$setElementOrder/volumes": [{"name": "a"}], "volumes": [{"name": "b"}]}),
        500,
        "The order in patch list:\n[map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n",
    );
}

fn item_list() -> impl Strategy<Value = Vec<(u8, u8)>> {
    proptest::collection::btree_map(0_u8..8, 0_u8..4, 0..6)
        .prop_map(|items| items.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
}

fn env(items: &[(u8, u8)]) -> Value {
    let items: Vec<Value> = items
        .iter()
        .map(|(n, v)| json!({"name": format!("n{n}"), "value": v.to_string()}))
        .collect();
    json!({"containers": [{"name": "c", "env": items}]})
}

proptest! {
    /// A patch with a whole list and the directives that kubectl adds gives exactly that list.
    #[test]
    fn patch_with_directives_of_kubectl_gives_its_list(live in item_list(), wanted in item_list()) {
        let named = |n: &u8| json!({"name": format!("n{n}")});
        let mut items = env(&wanted)["containers"][0]["env"].as_array().unwrap().clone();
        for (n, _) in live.iter().filter(|(n, _)| wanted.iter().all(|(w, _)| w != n)) {
            let mut gone = named(n);
            gone["$patch"] = json!("delete");
            items.push(gone);
        }
        let order: Vec<Value> = wanted.iter().map(|(n, _)| named(n)).collect();
        let patch = json!({"containers": [{"name": "c", "$setElementOrder/env": order, "env": items}]});
        prop_assert_eq!(patched(env(&live), patch).unwrap(), env(&wanted));
    }

    #[test]
    fn patch_with_the_same_list_changes_nothing(live in item_list()) {
        prop_assert_eq!(patched(env(&live), env(&live)).unwrap(), env(&live));
    }

    #[test]
    fn second_equal_merge_changes_nothing_and_keeps_every_item(live in item_list(), patch in item_list()) {
        let once = patched(env(&live), env(&patch)).unwrap();
        prop_assert_eq!(&patched(once.clone(), env(&patch)).unwrap(), &once);
        let names = |value: &Value| value["containers"][0]["env"].as_array().unwrap().len();
        let union: std::collections::BTreeSet<u8> =
            live.iter().chain(&patch).map(|(n, _)| *n).collect();
        prop_assert_eq!(names(&once), union.len());
    }
}
