//! Tests of environments computed from pod manifests.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{Environment, NodeInfo, environment};
use crate::{
    api::object_cache::{CachedObject, ObjectData, ObjectKey, ObjectKind},
    pod::{PodRef, references::ReferencedObjects},
};

fn pod(container: Value) -> PodRef {
    let object = json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u",
            "labels": {"app": "x"}, "annotations": {"a.b/c": "d"}},
        "spec": {"containers": [container], "serviceAccountName": "sa"},
    });
    PodRef::new(serde_json::from_value(object).unwrap()).unwrap()
}

fn node_info() -> NodeInfo {
    NodeInfo {
        node_name: "n1".into(),
        host_ip: "10.0.0.1".into(),
        pod_ips: vec!["10.64.0.2".into()],
        node_millicpu: 2000,
        node_memory: 1 << 30,
        api_server: None,
    }
}

fn references() -> ReferencedObjects {
    let data = |pairs: &[(&str, &str)]| {
        let pairs = pairs
            .iter()
            .map(|&(k, v)| (k.to_owned(), v.as_bytes().to_vec()));
        CachedObject::Present(Arc::new(ObjectData(pairs.collect())))
    };
    let key = |kind, name: &str| ObjectKey {
        kind,
        namespace: "ns".into(),
        name: name.into(),
    };
    ReferencedObjects::of(
        "ns",
        BTreeMap::from([
            (
                key(ObjectKind::ConfigMap, "cm"),
                data(&[("A", "1"), ("B", "2")]),
            ),
            (key(ObjectKind::Secret, "s"), data(&[("pw", "x")])),
            (key(ObjectKind::ConfigMap, "gone"), CachedObject::Missing),
        ]),
    )
}

fn env_of(container: Value) -> Result<Environment, String> {
    let pod = pod(container);
    environment(&pod, &pod.spec.containers[0], &references(), &node_info())
}

#[test]
fn values_from_every_source() {
    let env = env_of(json!({"name": "c", "env": [
        {"name": "PLAIN", "value": "v"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "SA", "valueFrom": {"fieldRef": {"fieldPath": "spec.serviceAccountName"}}},
        {"name": "CM", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "A"}}},
        {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "s", "key": "pw"}}},
        {"name": "NONE", "valueFrom": {"configMapKeyRef":
            {"name": "gone", "key": "A", "optional": true}}},
        {"name": "ALL", "value": "$(PLAIN)-$(NODE)-$(LATER)-$$(PLAIN)"},
        {"name": "LATER", "value": "l"},
    ]}))
    .unwrap();
    let got = |name| env.get(name);
    assert_eq!(got("NODE"), Some("n1"));
    assert_eq!(got("LABEL"), Some("x"));
    assert_eq!(got("IP"), Some("10.64.0.2"));
    assert_eq!(got("SA"), Some("sa"));
    assert_eq!(
        (got("CM"), got("PW"), got("NONE")),
        (Some("1"), Some("x"), None)
    );
    assert_eq!(got("ALL"), Some("v-n1-$(LATER)-$(PLAIN)"));
}

#[test]
fn variables_override_those_of_whole_config_maps() {
    let env = env_of(json!({"name": "c",
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}},
            {"configMapRef": {"name": "gone", "optional": true}}],
        "env": [{"name": "P_B", "value": "mine"}]}))
    .unwrap();
    assert_eq!((env.get("P_A"), env.get("P_B")), (Some("1"), Some("mine")));
}

#[test]
fn missing_sources_are_errors_with_the_kubelets_messages() {
    let from = |source: Value| json!({"name": "c", "env": [{"name": "X", "valueFrom": source}]});
    let error = env_of(from(
        json!({"configMapKeyRef": {"name": "gone", "key": "k"}}),
    ));
    assert_eq!(error.unwrap_err(), "configmap \"gone\" not found");
    let error = env_of(from(json!({"configMapKeyRef": {"name": "cm", "key": "k"}})));
    assert_eq!(error.unwrap_err(), "couldn't find key k in ConfigMap ns/cm");
    let error = env_of(from(json!({"secretKeyRef": {"name": "s", "key": "k"}})));
    assert_eq!(error.unwrap_err(), "couldn't find key k in Secret ns/s");
}

#[test]
fn resources_are_divided_and_rounded_up() {
    let reference = |resource: &str, divisor: &str| json!({"resourceFieldRef": {"resource": resource, "divisor": divisor}});
    let env = env_of(json!({"name": "c",
    "resources": {"limits": {"cpu": "250m", "memory": "64Mi"}, "requests": {"cpu": "100m"}},
    "env": [
        {"name": "CPU", "valueFrom": reference("limits.cpu", "0")},
        {"name": "MILLI", "valueFrom": reference("limits.cpu", "1m")},
        {"name": "MEM", "valueFrom": reference("limits.memory", "1Mi")},
        {"name": "REQ", "valueFrom": reference("requests.cpu", "1m")},
    ]}))
    .unwrap();
    let all = ["CPU", "MILLI", "MEM", "REQ"].map(|name| env.get(name).unwrap());
    assert_eq!(all, ["1", "250", "64", "100"]);
}

#[test]
fn unknown_variables_are_not_expanded() {
    let env = env_of(json!({"name": "c", "env": [{"name": "A", "value": "1"}]})).unwrap();
    let cases = [
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(B)", "$(B)"),
        ("$A", "$A"),
        ("x$", "x$"),
        ("$(A", "$(A"),
        ("^/(dev|proc)($|/)", "^/(dev|proc)($|/)"),
    ];
    for (text, expected) in cases {
        assert_eq!(env.expand(text), expected, "{text}");
    }
}
