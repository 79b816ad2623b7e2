//! Properties of decoding: it never panics, and it accepts its own results unchanged.

use pandaemon_machinery::{
    decode::{FieldValidation, MediaType, decode, decode_value},
    scheme,
};
use proptest::{collection, prelude::*};
use serde_json::{Map, Value, json};

const FIELDS: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "status",
    "name",
    "labels",
    "creationTimestamp",
    "containers",
    "template",
    "image",
    "resources",
    "limits",
    "cpu",
    "hostNetwork",
    "tolerations",
    "volumes",
    "emptyDir",
    "data",
    "unknown",
    "rollingUpdate",
    "updateStrategy",
    "maxSurge",
    "managedFields",
    "fieldsV1",
    "ports",
    "containerPort",
];

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![
            Just("v1"),
            Just("0.5"),
            Just("1Gi"),
            Just("2024-01-01T00:00:00+01:00"),
            Just(""),
            Just("Pod")
        ]
        .prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ]
}

fn tree() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(6, 64, 6, |inner| {
        let field = prop_oneof![4 => prop::sample::select(FIELDS).prop_map(str::to_owned), 1 => "[a-z./]{0,6}"];
        prop_oneof![
            1 => collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            4 => collection::btree_map(field, inner, 0..6).prop_map(|map| Value::Object(Map::from_iter(map))),
        ]
    })
}

proptest! {
    #[test]
    fn decoded_object_decodes_to_itself(body in tree()) {
        for kind in scheme::built_in().kinds() {
            let Ok(first) = decode(scheme::built_in(), kind, body.to_string().as_bytes(), MediaType::Json, FieldValidation::Warn) else { continue };
            prop_assert_eq!(first.value["kind"].as_str(), Some(kind.kind.as_str()));
            let again = decode_value(scheme::built_in(), kind, first.value.clone(), FieldValidation::Strict);
            prop_assert_eq!(again.map(|decoded| decoded.value).ok(), Some(first.value));
        }
    }

    #[test]
    fn json_and_yaml_of_an_object_decode_to_the_same(labels in collection::btree_map("[a-z]{1,5}", "[a-z0-9]{1,5}x", 1..5)) {
        let body = json!({"metadata": {"name": "c", "labels": labels}, "data": {"k": "1"}}).to_string();
        let kind = scheme::built_in().find_resource("", "v1", "configmaps").expect("served");
        let [json, yaml] = [MediaType::Json, MediaType::Yaml].map(|media| {
            decode(scheme::built_in(), kind, body.as_bytes(), media, FieldValidation::Strict).map(|decoded| decoded.value)
        });
        prop_assert_eq!(json, yaml);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_with_400(body in collection::vec(any::<u8>(), 0..200), prefix in any::<bool>()) {
        let body = if prefix { [b"k8s\0".to_vec(), body].concat() } else { body };
        for (plural, media) in [("pods", MediaType::Protobuf), ("pods", MediaType::Json), ("configmaps", MediaType::Yaml)] {
            let kind = scheme::built_in().find_resource("", "v1", plural).expect("served");
            if let Err(status) = decode(scheme::built_in(), kind, &body, media, FieldValidation::Strict) {
                prop_assert_eq!(status.code, 400);
            }
        }
    }
}
