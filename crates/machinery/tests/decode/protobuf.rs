//! Protobuf bodies.

use pandaemon_machinery::{
    decode::{FieldValidation, MediaType, decode},
    scheme,
};
use serde_json::json;

use super::kind;

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("short");
    assert!(length < 128);
    let mut out = vec![number << 3 | 2, length];
    out.extend_from_slice(bytes);
    out
}

fn envelope(api_version: &[u8], kind: &[u8], raw: &[u8]) -> Vec<u8> {
    let meta = [field(1, api_version), field(2, kind)].concat();
    [b"k8s\0".to_vec(), field(1, &meta), field(2, raw)].concat()
}

#[test]
fn access_review_is_decoded() {
    let attributes = [field(1, b"default"), field(2, b"get"), field(5, b"pods")].concat();
    let raw = [field(1, b""), field(2, &field(1, &attributes))].concat();
    let body = envelope(b"authorization.k8s.io/v1", b"SelfSubjectAccessReview", &raw);
    let review = kind("authorization.k8s.io/v1", "SelfSubjectAccessReview");
    let decoded = decode(
        scheme::built_in(),
        review,
        &body,
        MediaType::Protobuf,
        FieldValidation::Strict,
    )
    .unwrap();
    let expected = json!({"namespace": "default", "verb": "get", "resource": "pods"});
    assert_eq!(decoded.value["spec"]["resourceAttributes"], expected);
    assert_eq!(decoded.value["kind"], "SelfSubjectAccessReview");
}

#[test]
fn role_is_decoded() {
    let fields: [(u8, &[u8]); 6] = [
        (1, b"get"),
        (1, b"list"),
        (2, b"apps"),
        (3, b"daemonsets/status"),
        (4, b"a"),
        (5, b"/metrics"),
    ];
    let rule = fields.map(|(number, text)| field(number, text)).concat();
    let raw = [field(1, &field(1, b"r")), field(2, &rule), field(2, b"")].concat();
    let body = envelope(b"rbac.authorization.k8s.io/v1", b"Role", &raw);
    let decoded = decode(
        scheme::built_in(),
        kind("rbac.authorization.k8s.io/v1", "Role"),
        &body,
        MediaType::Protobuf,
        FieldValidation::Strict,
    )
    .unwrap();
    let expected = json!([
        {"verbs": ["get", "list"], "apiGroups": ["apps"], "resources": ["daemonsets/status"],
         "resourceNames": ["a"], "nonResourceURLs": ["/metrics"]},
        {},
    ]);
    assert_eq!(decoded.value["rules"], expected);
}

#[test]
fn pod_with_embedded_messages_and_maps_is_decoded() {
    let labels = field(11, &[field(1, b"a"), field(2, b"b")].concat());
    let meta = [field(1, b"p"), field(8, b""), labels].concat();
    let volume = [field(1, b"v"), field(2, &field(1, &field(1, b"/")))].concat();
    let quantity = [field(1, b"cpu"), field(2, &field(1, b"0.5"))].concat();
    let resources = field(8, &field(1, &quantity));
    let container = [
        field(1, b"c"),
        field(2, b"img"),
        field(3, b"sh"),
        field(3, b"-c"),
        resources,
    ]
    .concat();
    let mut spec = [field(1, &volume), field(2, &container)].concat();
    spec.extend([11 << 3, 1]);
    let body = envelope(b"v1", b"Pod", &[field(1, &meta), field(2, &spec)].concat());
    let decoded = decode(
        scheme::built_in(),
        kind("v1", "Pod"),
        &body,
        MediaType::Protobuf,
        FieldValidation::Strict,
    )
    .unwrap();
    let expected = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}},
        "spec": {
            "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
            "containers": [{"name": "c", "image": "img", "command": ["sh", "-c"],
                "resources": {"limits": {"cpu": "500m"}}}],
            "hostNetwork": true,
        },
    });
    assert_eq!(decoded.value, expected);
}

/// The body that `kubectl auth can-i get pods` sends.
#[test]
fn body_of_kubectl_auth_can_i_is_decoded() {
    let body = b"k8s\x00\n2\n\x17authorization.k8s.io/v1\x12\x17SelfSubjectAccessReview\x12<\n\x10\n\x00\x12\x00\x1a\x00\
        \"\x00*\x002\x008\x00B\x00\x12\x1e\n\x1c\n\x07default\x12\x03get\x1a\x00\"\x00*\x04pods2\x00:\x00\x1a\x08\x08\x00\
        \x12\x00\x1a\x00 \x00\x1a\x00\"\x00";
    let review = kind("authorization.k8s.io/v1", "SelfSubjectAccessReview");
    let decoded = decode(
        scheme::built_in(),
        review,
        body,
        MediaType::Protobuf,
        FieldValidation::Strict,
    )
    .unwrap();
    let expected = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
        "spec": {"resourceAttributes": {"namespace": "default", "resource": "pods", "verb": "get"}},
        "status": {"allowed": false},
    });
    assert_eq!(decoded.value, expected);
}

/// The body that `kubectl debug node/n1 --image=busybox --profile=sysadmin -- sleep 1` sends.
#[test]
fn body_of_kubectl_debug_is_decoded() {
    let body = b"k8s\x00\n\t\n\x02v1\x12\x03Pod\x12\xda\x01\n&\n\x16node-debugger-n1-9nx2h\x12\x00\x1a\x00\"\x00*\x002\x008\x00\
        B\x00\x12\x9d\x01\n\x12\n\thost-root\x12\x05\n\x03\n\x01/\x12S\n\x08debugger\x12\x07busybox\x1a\x05sleep\x1a\x011*\x00\
        B\x00J\x18\n\thost-root\x10\x00\x1a\x05/host\"\x002\x00j\x00r\x00z\x02\x10\x01\x80\x01\x00\x88\x01\x00\x90\x01\x00\xa2\x01\
        \x04File\x1a\x05Never2\x00B\x00J\x00R\x02n1X\x01`\x01h\x01\x82\x01\x00\x8a\x01\x00\x9a\x01\x00\xb2\x01\x0e\n\x00\x12\x06\
        Exists\x1a\x00\"\x00\xc2\x01\x00\x1a\x10\n\x00\x1a\x00\"\x00*\x002\x00J\x00Z\x00r\x00\x1a\x00\"\x00";
    let decoded = decode(
        scheme::built_in(),
        kind("v1", "Pod"),
        body,
        MediaType::Protobuf,
        FieldValidation::Strict,
    )
    .unwrap();
    let expected = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "node-debugger-n1-9nx2h"},
        "spec": {
            "containers": [{
                "name": "debugger", "image": "busybox", "command": ["sleep", "1"], "resources": {},
                "securityContext": {"privileged": true}, "terminationMessagePolicy": "File",
                "volumeMounts": [{"name": "host-root", "mountPath": "/host"}],
            }],
            "hostIPC": true, "hostNetwork": true, "hostPID": true, "nodeName": "n1", "restartPolicy": "Never",
            "tolerations": [{"operator": "Exists"}],
            "volumes": [{"name": "host-root", "hostPath": {"path": "/"}}],
        },
        "status": {},
    });
    assert_eq!(decoded.value, expected);
}

#[test]
fn malformed_bodies_are_refused() {
    let review = kind("authorization.k8s.io/v1", "SelfSubjectAccessReview");
    let bodies: [&[u8]; 4] = [
        b"",
        b"{}",
        b"k8s\0\x12\x7f",
        b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ];
    for body in bodies {
        let status = decode(
            scheme::built_in(),
            review,
            body,
            MediaType::Protobuf,
            FieldValidation::Warn,
        )
        .unwrap_err();
        assert_eq!(status.code, 400);
    }
}
