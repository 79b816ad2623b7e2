//! Defaults with special cases.

use serde_json::json;

use super::container::pull_policy;
use super::{pod, simple};

#[test]
fn image_pull_policy_depends_on_tag_and_digest() {
    let cases = [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.2", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:00", "IfNotPresent"),
        ("nginx:latest@sha256:00", "Always"),
        ("", "IfNotPresent"),
        ("a b", "IfNotPresent"),
    ];
    for (image, expected) in cases {
        assert_eq!(pull_policy(image), expected, "{image}");
    }
}

#[test]
fn host_network_sets_host_ports_of_pods_but_not_of_templates() {
    let spec = json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i:1", "ports": [{"containerPort": 80}]}]});
    let mut object = json!({"spec": spec});
    pod::pod(&mut object);
    assert_eq!(object["spec"]["containers"][0]["ports"][0]["hostPort"], 80);
    let mut object = json!({"spec": {"template": {"spec": spec}}});
    simple::daemon_set(&mut object);
    let port = &object["spec"]["template"]["spec"]["containers"][0]["ports"][0];
    assert_eq!(port, &json!({"containerPort": 80, "protocol": "TCP"}));
}

#[test]
fn string_data_replaces_data() {
    let mut object = json!({"data": {"a": "b2xk"}, "stringData": {"a": "hello"}});
    simple::secret(&mut object);
    assert_eq!(object, json!({"data": {"a": "aGVsbG8="}, "type": "Opaque"}));
}
