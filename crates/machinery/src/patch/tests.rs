//! Cases of the three patch formats: what goes in, what comes out, and what is refused.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{json_patch, merge_patch, strategic_merge_patch};
use crate::{Kind, catalogue, status::Status};

fn kind(group: &str, plural: &str) -> &'static Kind {
    catalogue::find(group, "v1", plural).unwrap()
}

fn daemonset() -> &'static Kind {
    kind("apps", "daemonsets")
}

/// A strategic merge patch of a pod template's spec: most lists with merge keys are in there.
fn smp(spec: Value, patch: Value) -> Result<Value, Box<Status>> {
    let current = json!({"spec": {"template": {"spec": spec}}});
    let patch = json!({"spec": {"template": {"spec": patch}}}).to_string();
    let mut patched = strategic_merge_patch(daemonset(), &current, patch.as_bytes())?;
    Ok(patched.pointer_mut("/spec/template/spec").unwrap().take())
}

#[track_caller]
fn smp_gives(spec: Value, patch: Value, expected: Value) {
    assert_eq!(smp(spec, patch).unwrap(), expected);
}

#[track_caller]
fn smp_refused(spec: Value, patch: Value, code: u16, text: &str) {
    let status = smp(spec, patch).unwrap_err();
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

fn patch_first(patch: Value) -> Value {
    let mut patch = patch;
    patch["name"] = json!("a");
    let merged = smp(containers(), json!({"containers": [patch]})).unwrap();
    merged["containers"][0].clone()
}

#[test]
fn lists_merge_by_key() {
    let merged = smp(
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
fn a_new_item_comes_before_those_that_only_the_live_list_has() {
    let merged = smp(
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
fn ports_and_mounts_have_their_own_keys() {
    let ports = json!({"ports": [{"containerPort": 81, "name": "admin"}, {"containerPort": 82}]});
    assert_eq!(
        patch_first(ports)["ports"],
        json!([{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 81, "name": "admin"},
               {"containerPort": 82}])
    );
    let mounts = json!({"volumeMounts": [
        {"mountPath": "/v", "name": "w", "readOnly": true}, {"mountPath": "/z", "name": "v"}]});
    assert_eq!(
        patch_first(mounts)["volumeMounts"],
        json!([{"mountPath": "/v", "name": "w", "readOnly": true}, {"mountPath": "/z", "name": "v"},
               {"mountPath": "/w", "name": "w"}])
    );
}

#[test]
fn items_are_deleted_by_directive() {
    let env = json!({"env": [
        {"name": "Y", "value": "9"}, {"name": "Z", "value": "3"}, {"name": "X", "$patch": "delete"}]});
    assert_eq!(
        patch_first(env)["env"],
        json!([{"name": "Y", "value": "9"}, {"name": "Z", "value": "3"}])
    );
}

#[test]
fn an_order_directive_orders_the_whole_list() {
    let env = json!({"$setElementOrder/env": [{"name": "N"}, {"name": "Y"}, {"name": "X"}],
                     "env": [{"name": "N", "value": "0"}]});
    assert_eq!(
        patch_first(env)["env"],
        json!([{"name": "N", "value": "0"}, {"name": "Y", "value": "2"}, {"name": "X", "value": "1"}])
    );
    let only_order = json!({"$setElementOrder/env": [{"name": "Y"}, {"name": "X"}]});
    assert_eq!(
        patch_first(only_order)["env"],
        json!([{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}])
    );
}

#[test]
fn what_only_the_server_has_keeps_its_place_among_ordered_items() {
    let live =
        json!({"tolerations": [], "volumes": [{"name": "1"}, {"name": "server"}, {"name": "2"}]});
    let patch = json!({"$setElementOrder/volumes": [{"name": "1"}, {"name": "2"}, {"name": "3"}],
                       "volumes": [{"name": "3", "emptyDir": {}}]});
    let merged = smp(live, patch).unwrap();
    assert_eq!(
        merged["volumes"],
        json!([{"name": "1"}, {"name": "server"}, {"name": "2"}, {"name": "3", "emptyDir": {}}])
    );
}

#[test]
fn a_replace_item_replaces_the_list() {
    smp_gives(
        containers(),
        json!({"containers": [{"$patch": "replace"}, {"name": "z", "image": "z"}]}),
        json!({"containers": [{"name": "z", "image": "z"}]}),
    );
}

#[test]
fn maps_are_replaced_or_cleared_by_directive() {
    let live = json!({"securityContext": {"runAsUser": 1, "fsGroup": 2}});
    let replace = json!({"securityContext": {"$patch": "replace", "runAsUser": 5}});
    smp_gives(
        live.clone(),
        replace,
        json!({"securityContext": {"runAsUser": 5}}),
    );
    smp_gives(
        live,
        json!({"securityContext": {"$patch": "delete"}}),
        json!({"securityContext": {}}),
    );
}

#[test]
fn null_deletes_and_is_never_kept() {
    smp_gives(
        json!({"nodeSelector": {"x": "y", "z": "1"}, "tolerations": [{"key": "a"}]}),
        json!({"nodeSelector": {"x": null, "a": "b", "q": null}, "tolerations": null, "hostPID": null,
               "securityContext": {"fsGroup": null}}),
        json!({"nodeSelector": {"z": "1", "a": "b"}, "securityContext": {}}),
    );
}

#[test]
fn lists_without_a_strategy_are_replaced() {
    smp_gives(
        json!({"tolerations": [{"key": "a"}]}),
        json!({"tolerations": [{"key": "b"}]}),
        json!({"tolerations": [{"key": "b"}]}),
    );
}

#[test]
fn retain_keys_clears_the_others() {
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
    smp_gives(
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
fn directives_do_not_leak_into_what_is_new() {
    let patch = json!({"containers": [
        {"name": "c", "$setElementOrder/env": [{"name": "A"}], "env": [{"name": "A"}, {"name": "B", "$patch": "delete"}]}],
        "volumes": [{"name": "gone", "$patch": "delete"}]});
    smp_gives(
        json!({}),
        patch,
        json!({"containers": [{"name": "c", "env": [{"name": "A"}]}], "volumes": []}),
    );
}

#[test]
fn bad_strategic_patches() {
    let item = |item: Value| json!({"containers": [item]});
    smp_refused(
        containers(),
        item(json!({"name": "a", "$patch": "explode"})),
        500,
        "unknown patch type: explode in map: map[$patch:explode name:a]",
    );
    smp_refused(
        containers(),
        item(json!({"image": "x"})),
        500,
        "map: map[image:x] does not contain declared merge key: name",
    );
    smp_refused(
        json!({"volumes": [{"name": "v"}]}),
        json!({"volumes": ["text"]}),
        500,
        "list element types are not identical: [[map[name:v]] [text]]",
    );
    smp_refused(
        json!({"volumes": []}),
        json!({"$retainKeys": ["x"], "volumes": []}),
        400,
        "invalid patch format of retainKeys",
    );
    smp_refused(
        json!({}),
        json!({"$deleteFromPrimitiveList": []}),
        400,
        "invalid patch format of primitive list",
    );
    smp_refused(
        json!({}),
        json!({"$setElementOrder": []}),
        400,
        "invalid patch format of setElementOrder list",
    );
    smp_refused(
        json!({}),
        json!({"$setElementOrder/volumes": [{"name": "a"}], "volumes": [{"name": "b"}]}),
        500,
        "The order in patch list:\n[map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n",
    );
}

#[test]
fn malformed_text_is_400() {
    let current = json!({});
    let text = |result: Result<Value, Box<Status>>| {
        let status = result.unwrap_err();
        (status.code, status.message)
    };
    let bad = |message: &str| (400, message.to_owned());
    assert_eq!(
        text(merge_patch(&current, b"{\"data\":")),
        bad("error decoding patch: unexpected end of JSON input")
    );
    assert_eq!(
        text(merge_patch(&current, b"{\"a\" 1}")),
        bad("error decoding patch: invalid character '1' after object key")
    );
    assert_eq!(
        text(merge_patch(&current, b"[1]")),
        bad(
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        )
    );
    assert_eq!(
        text(strategic_merge_patch(daemonset(), &current, b"{,}")),
        bad("invalid character ',' looking for beginning of object key string")
    );
    assert_eq!(
        text(json_patch(daemonset(), "x", &current, b"{}")),
        bad(
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        )
    );
}

fn patched(current: Value, operations: Value) -> Result<Value, Box<Status>> {
    json_patch(
        daemonset(),
        "x",
        &current,
        operations.to_string().as_bytes(),
    )
}

#[test]
fn json_patch_operations() {
    let cases = [
        (
            json!({"data": {"a": "1", "b": "2"}}),
            json!([{"op": "add", "path": "/data/c", "value": "3"},
                   {"op": "replace", "path": "/data/a", "value": "x"},
                   {"op": "remove", "path": "/data/b"}]),
            json!({"data": {"a": "x", "c": "3"}}),
        ),
        (
            json!({"l": [1, 2]}),
            json!([{"op": "add", "path": "/l/-", "value": 3}, {"op": "add", "path": "/l/0", "value": 0},
                   {"op": "remove", "path": "/l/1"}]),
            json!({"l": [0, 2, 3]}),
        ),
        (
            json!({"a": "1", "b": "2"}),
            json!([{"op": "copy", "from": "/a", "path": "/c"}, {"op": "move", "from": "/b", "path": "/d"}]),
            json!({"a": "1", "c": "1", "d": "2"}),
        ),
        (
            json!({"m": {"a/b": "", "c~d": ""}}),
            json!([{"op": "replace", "path": "/m/a~1b", "value": "x"}, {"op": "remove", "path": "/m/c~0d"}]),
            json!({"m": {"a/b": "x"}}),
        ),
        (
            json!({"a": 1}),
            json!([{"op": "test", "path": "/a", "value": 1}, {"op": "test", "path": "/no", "value": null}]),
            json!({"a": 1}),
        ),
    ];
    for (current, operations, expected) in cases {
        assert_eq!(
            patched(current, operations.clone()).unwrap(),
            expected,
            "{operations}"
        );
    }
}

#[test]
fn json_patches_that_do_not_fit_are_422() {
    let bad = [
        json!([{"op": "test", "path": "/a", "value": 2}]),
        json!([{"op": "remove", "path": "/x"}]),
        json!([{"op": "replace", "path": "/x", "value": 1}]),
        json!([{"op": "add", "path": "/x/y", "value": 1}]),
        json!([{"op": "add", "path": "/l/7", "value": 1}]),
        json!([{"op": "explode", "path": "/a"}]),
        json!([{"op": "add"}]),
        json!([7]),
    ];
    for operations in bad {
        let status = patched(json!({"a": 1, "l": []}), operations.clone()).unwrap_err();
        assert_eq!(
            (status.code, status.reason.as_str()),
            (422, "Invalid"),
            "{operations}"
        );
        assert_eq!(
            status.message,
            "the server rejected our request due to an error in our request"
        );
        assert_eq!(
            status.details.as_deref(),
            Some(&crate::status::Details::default())
        );
    }
}

#[test]
fn json_patches_cannot_blow_up() {
    let many: Vec<Value> = (0..10_001)
        .map(|_| json!({"op": "remove", "path": "/a"}))
        .collect();
    let status = patched(json!({}), json!(many)).unwrap_err();
    assert_eq!(status.code, 413);
    assert_eq!(
        status.message,
        "The allowed maximum operations in a JSON patch is 10000, got 10001"
    );
    let doubling: Vec<Value> = (0..40)
        .map(|_| json!({"op": "copy", "from": "/a", "path": "/a/-"}))
        .collect();
    assert_eq!(
        patched(json!({"a": ["x"]}), json!(doubling))
            .unwrap_err()
            .code,
        422
    );
    let mut nesting = vec![json!({"op": "add", "path": "/a", "value": {}})];
    nesting.extend((0..400).flat_map(|_| {
        [
            json!({"op": "add", "path": "/b", "value": {}}),
            json!({"op": "move", "from": "/a", "path": "/b/x"}),
            json!({"op": "move", "from": "/b", "path": "/a"}),
        ]
    }));
    assert_eq!(patched(json!({}), json!(nesting)).unwrap_err().code, 422);
}

#[test]
fn merge_patch_appendix_of_the_rfc() {
    let cases = [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
        (
            r#"{"a":{"b":"c"}}"#,
            r#"{"a":{"b":"d","c":null}}"#,
            r#"{"a":{"b":"d"}}"#,
        ),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
        (
            r#"{}"#,
            r#"{"a":{"bb":{"ccc":null}}}"#,
            r#"{"a":{"bb":{}}}"#,
        ),
    ];
    for (current, patch, expected) in cases {
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let merged = merge_patch(&json(current), patch.as_bytes()).unwrap();
        assert_eq!(merged, json(expected), "{current} {patch}");
    }
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
    /// A patch with its own list, the directives of kubectl and nothing else gives exactly that list.
    #[test]
    fn ordered_patch_gives_what_it_says(live in item_list(), wanted in item_list()) {
        let named = |n: &u8| json!({"name": format!("n{n}")});
        let mut items = env(&wanted)["containers"][0]["env"].as_array().unwrap().clone();
        for (n, _) in live.iter().filter(|(n, _)| wanted.iter().all(|(w, _)| w != n)) {
            let mut gone = named(n);
            gone["$patch"] = json!("delete");
            items.push(gone);
        }
        let order: Vec<Value> = wanted.iter().map(|(n, _)| named(n)).collect();
        let patch = json!({"containers": [{"name": "c", "$setElementOrder/env": order, "env": items}]});
        prop_assert_eq!(smp(env(&live), patch).unwrap(), env(&wanted));
    }

    /// Patching an object with itself changes nothing.
    #[test]
    fn own_value_is_no_change(live in item_list()) {
        prop_assert_eq!(smp(env(&live), env(&live)).unwrap(), env(&live));
    }

    /// A second time changes nothing, and every live item survives.
    #[test]
    fn merging_twice_is_merging_once(live in item_list(), patch in item_list()) {
        let once = smp(env(&live), env(&patch)).unwrap();
        prop_assert_eq!(&smp(once.clone(), env(&patch)).unwrap(), &once);
        let names = |value: &Value| value["containers"][0]["env"].as_array().unwrap().len();
        let union: std::collections::BTreeSet<u8> =
            live.iter().chain(&patch).map(|(n, _)| *n).collect();
        prop_assert_eq!(names(&once), union.len());
    }

    #[test]
    fn no_text_panics(text in ".{0,40}") {
        let current = json!({"spec": {}});
        let _ = merge_patch(&current, text.as_bytes());
        let _ = strategic_merge_patch(daemonset(), &current, text.as_bytes());
        let _ = json_patch(daemonset(), "x", &current, text.as_bytes());
    }
}
