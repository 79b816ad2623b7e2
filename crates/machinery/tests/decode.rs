//! Bodies and what decoding makes of them, as a table: the texts are upstream's.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use pandaemon_machinery::{
    Kind, catalogue,
    decode::{FieldValidation, Media, check, decode},
};
use serde_json::{Value, json};

fn kind(api_version: &str, name: &str) -> &'static Kind {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    catalogue::find_kind(group, version, name).expect("a served kind")
}

fn daemon_set(spec: &str) -> String {
    format!(
        r#"{{"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{{"name":"d"}},"spec":{spec}}}"#
    )
}

fn container(fields: &str) -> String {
    daemon_set(&format!(
        r#"{{"template":{{"spec":{{"containers":[{{"name":"c",{fields}}}]}}}}}}"#
    ))
}

fn refusal(kind: &Kind, body: &str, mode: FieldValidation) -> String {
    let status = decode(kind, body.as_bytes(), Media::Json, mode).expect_err(body);
    assert_eq!((status.code, status.reason.as_str()), (400, "BadRequest"));
    status.message
}

#[test]
fn strict_refuses_what_is_unknown_or_double() {
    let cases = [
        (
            daemon_set(r#"{"replicas":3}"#),
            r#"unknown field "spec.replicas""#,
        ),
        (
            container(r#""tolerations":[]"#),
            r#"unknown field "spec.template.spec.containers[0].tolerations""#,
        ),
        (
            daemon_set(r#"{"a":1,"b":2}"#),
            r#"unknown field "spec.a", unknown field "spec.b""#,
        ),
        (
            daemon_set(r#"{"selector":{"matchLabels":{"a":"1","a":"2"}}}"#),
            r#"duplicate field "spec.selector.matchLabels.a""#,
        ),
    ];
    for (body, why) in cases {
        let text = refusal(kind("apps/v1", "DaemonSet"), &body, FieldValidation::Strict);
        let expected =
            "DaemonSet in version \"v1\" cannot be handled as a DaemonSet: strict decoding error: ";
        assert_eq!(text, format!("{expected}{why}"));
    }
}

#[test]
fn warn_drops_and_tells_ignore_only_drops() {
    let body = br#"{"metadata":{"name":"c"},"bogus":1,"data":{"a":"1","a":"2"}}"#;
    let config_map = kind("v1", "ConfigMap");
    let warned = decode(config_map, body, Media::Json, FieldValidation::Warn).unwrap();
    assert_eq!(
        warned.warnings,
        [r#"duplicate field "data.a""#, r#"unknown field "bogus""#]
    );
    let expected =
        json!({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"2"}});
    assert_eq!(warned.value, expected);
    let ignored = decode(config_map, body, Media::Json, FieldValidation::Ignore).unwrap();
    assert!(ignored.warnings.is_empty());
    assert_eq!(ignored.value, expected);
}

#[test]
fn wrong_types_are_refused_in_go_s_words() {
    let cases = [
        (
            daemon_set(r#"{"minReadySeconds":"x"}"#),
            "json: cannot unmarshal string into Go struct field DaemonSetSpec.spec.minReadySeconds of type int32",
        ),
        (
            daemon_set(r#"{"minReadySeconds":1.5}"#),
            "json: cannot unmarshal number 1.5 into Go struct field DaemonSetSpec.spec.minReadySeconds of type int32",
        ),
        (
            daemon_set(r#"{"template":{"spec":{"containers":{"name":"c"}}}}"#),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            daemon_set(r#"{"template":{"spec":{"containers":["c"]}}}"#),
            "json: cannot unmarshal string into Go struct field PodSpec.spec.template.spec.containers of type v1.Container",
        ),
        (
            container(r#""imagePullPolicy":7"#),
            "json: cannot unmarshal number into Go struct field \
             Container.spec.template.spec.containers.imagePullPolicy of type v1.PullPolicy",
        ),
        (
            container(r#""resources":{"limits":{"cpu":"lots"}}"#),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            daemon_set(r#"{"updateStrategy":{"rollingUpdate":{"maxSurge":true}}}"#),
            "json: cannot unmarshal bool into Go value of type int32",
        ),
        (
            r#"{"metadata":{"deletionTimestamp":"soon"}}"#.to_owned(),
            "parsing time \"soon\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"soon\" as \"2006\"",
        ),
    ];
    for (body, why) in cases {
        let text = refusal(kind("apps/v1", "DaemonSet"), &body, FieldValidation::Warn);
        assert_eq!(
            text,
            format!("DaemonSet in version \"v1\" cannot be handled as a DaemonSet: {why}")
        );
    }
    let text = refusal(
        kind("v1", "ConfigMap"),
        r#"{"data":{"a":1}}"#,
        FieldValidation::Warn,
    );
    assert!(text.ends_with(
        "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
    ));
    let text = refusal(
        kind("v1", "Secret"),
        r####"{"data":{"a":"###"}}"####,
        FieldValidation::Warn,
    );
    assert!(text.ends_with("illegal base64 data at input byte 0"));
}

#[test]
fn bodies_of_another_kind_or_version() {
    let cases = [
        (
            "ConfigMap",
            r#"{"apiVersion":"v1","kind":"Secret"}"#,
            "Secret in version \"v1\" cannot be handled as a ConfigMap: \
             converting (v1.Secret) to (core.ConfigMap): unknown conversion",
        ),
        (
            "ConfigMap",
            r#"{"apiVersion":"v1","kind":"ConfgMap"}"#,
            "ConfgMap in version \"v1\" cannot be handled as a ConfigMap: no kind \"ConfgMap\" is registered \
             for version \"v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
        ),
        (
            "Event",
            r#"{"apiVersion":"events.k8s.io/v1","kind":"Event"}"#,
            "the API version in the data (events.k8s.io/v1) does not match the expected API version (v1)",
        ),
        (
            "ConfigMap",
            r#"{"kind":3}"#,
            "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse \
             error: json: cannot unmarshal number into Go struct field .kind of type string ({\"kind\":3})",
        ),
    ];
    for (of, body, text) in cases {
        assert_eq!(refusal(kind("v1", of), body, FieldValidation::Strict), text);
    }
}

#[test]
fn bad_syntax() {
    let cases = [
        ("", "unexpected end of JSON input (<empty>)"),
        ("{", "unexpected end of JSON input ({)"),
        (
            "{a}",
            "invalid character 'a' looking for beginning of object key string ({a})",
        ),
        (
            "{\"a\":x}",
            "invalid character 'x' looking for beginning of value ({\"a\":x})",
        ),
        (
            "{\"a\":1 2}",
            "invalid character '2' after object key:value pair ({\"a\":1 2})",
        ),
        ("{} x", "invalid character 'x' after top-level value ({} x)"),
        (
            "[1]",
            "json: cannot unmarshal array into Go value of type struct { APIVersion string \
             \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" } (5b315d)",
        ),
    ];
    for (body, why) in cases {
        let text = refusal(kind("v1", "Pod"), body, FieldValidation::Strict);
        let start = "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: ";
        assert_eq!(text, format!("{start}{why}"));
    }
}

#[test]
fn values_take_the_form_of_a_typed_round_trip() {
    let cases = [
        (
            "Pod",
            json!({"spec": {
                "containers": [{"name": "c", "args": [], "env": [{"name": "E", "value": ""}], "tty": false,
                    "securityContext": {"privileged": false, "runAsUser": 0},
                    "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}, "requests": {}}}],
                "hostNetwork": false, "terminationGracePeriodSeconds": 0, "nodeSelector": {}, "tolerations": null,
                "volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/", "type": ""}}]}}),
            json!({"spec": {
                "containers": [{"name": "c", "env": [{"name": "E"}],
                    "securityContext": {"privileged": false, "runAsUser": 0},
                    "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}],
                "terminationGracePeriodSeconds": 0,
                "volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/", "type": ""}}]}}),
        ),
        (
            "ConfigMap",
            json!({"metadata": {"labels": {"a": ""}, "finalizers": [], "creationTimestamp": null,
                "deletionTimestamp": "2024-05-01T02:00:00.5+02:00"}, "data": {"k": null, "e": ""}, "immutable": false}),
            json!({"metadata": {"labels": {"a": ""}, "deletionTimestamp": "2024-05-01T00:00:00Z"},
                "data": {"k": "", "e": ""}, "immutable": false}),
        ),
        (
            "Event",
            json!({"eventTime": "2024-05-01T00:00:00Z", "count": 0, "reportingComponent": ""}),
            json!({"eventTime": "2024-05-01T00:00:00.000000Z", "reportingComponent": ""}),
        ),
    ];
    for (of, body, expected) in cases {
        let decoded = check(kind("v1", of), body, FieldValidation::Strict).unwrap();
        let mut expected: Value = expected;
        expected["apiVersion"] = "v1".into();
        expected["kind"] = of.into();
        assert_eq!(decoded.value, expected);
    }
}

#[test]
fn yaml_bodies() {
    let body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  a: \"1\"\n  b: |\n    x\n    y\n";
    let decoded = decode(
        kind("v1", "ConfigMap"),
        body,
        Media::Yaml,
        FieldValidation::Strict,
    )
    .unwrap();
    assert_eq!(decoded.value["data"], json!({"a": "1", "b": "x\ny\n"}));
    let double = b"data: {a: b, a: c}\n";
    let decoded = decode(
        kind("v1", "ConfigMap"),
        double,
        Media::Yaml,
        FieldValidation::Warn,
    )
    .unwrap();
    assert_eq!(decoded.value["data"], json!({"a": "c"}));
    assert_eq!(decoded.warnings.len(), 1);
    assert!(
        decode(
            kind("v1", "ConfigMap"),
            b"a: [",
            Media::Yaml,
            FieldValidation::Warn
        )
        .is_err()
    );
}

#[test]
fn delete_options_and_evictions_come_in_any_version() {
    let body = br#"{"kind":"DeleteOptions","apiVersion":"apps/v1","gracePeriodSeconds":0}"#;
    let options = kind("v1", "DeleteOptions");
    let decoded = decode(options, body, Media::Json, FieldValidation::Strict).unwrap();
    assert_eq!(decoded.value["gracePeriodSeconds"], 0);
    let body = br#"{"kind":"Eviction","apiVersion":"policy/v1beta1","metadata":{"name":"p"}}"#;
    let eviction = kind("policy/v1", "Eviction");
    assert!(decode(eviction, body, Media::Json, FieldValidation::Strict).is_ok());
}

mod protobuf {
    use super::*;

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
    fn access_review() {
        let attributes = [field(1, b"default"), field(2, b"get"), field(5, b"pods")].concat();
        let raw = [field(1, b""), field(2, &field(1, &attributes))].concat();
        let body = envelope(b"authorization.k8s.io/v1", b"SelfSubjectAccessReview", &raw);
        let review = kind("authorization.k8s.io/v1", "SelfSubjectAccessReview");
        let decoded = decode(review, &body, Media::Protobuf, FieldValidation::Strict).unwrap();
        let expected = json!({"namespace": "default", "verb": "get", "resource": "pods"});
        assert_eq!(decoded.value["spec"]["resourceAttributes"], expected);
        assert_eq!(decoded.value["kind"], "SelfSubjectAccessReview");
    }

    #[test]
    fn pod_with_embedded_messages_and_maps() {
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
            kind("v1", "Pod"),
            &body,
            Media::Protobuf,
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

    /// What `kubectl auth can-i get pods` sends.
    #[test]
    fn can_i() {
        let body = b"k8s\x00\n2\n\x17authorization.k8s.io/v1\x12\x17SelfSubjectAccessReview\x12<\n\x10\n\x00\x12\x00\x1a\x00\
            \"\x00*\x002\x008\x00B\x00\x12\x1e\n\x1c\n\x07default\x12\x03get\x1a\x00\"\x00*\x04pods2\x00:\x00\x1a\x08\x08\x00\
            \x12\x00\x1a\x00 \x00\x1a\x00\"\x00";
        let review = kind("authorization.k8s.io/v1", "SelfSubjectAccessReview");
        let decoded = decode(review, body, Media::Protobuf, FieldValidation::Strict).unwrap();
        let expected = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
            "spec": {"resourceAttributes": {"namespace": "default", "resource": "pods", "verb": "get"}},
            "status": {"allowed": false},
        });
        assert_eq!(decoded.value, expected);
    }

    /// What `kubectl debug node/n1 --image=busybox --profile=sysadmin -- sleep 1` sends.
    #[test]
    fn debug_pod() {
        let body = b"k8s\x00\n\t\n\x02v1\x12\x03Pod\x12\xda\x01\n&\n\x16node-debugger-n1-9nx2h\x12\x00\x1a\x00\"\x00*\x002\x008\x00\
            B\x00\x12\x9d\x01\n\x12\n\thost-root\x12\x05\n\x03\n\x01/\x12S\n\x08debugger\x12\x07busybox\x1a\x05sleep\x1a\x011*\x00\
            B\x00J\x18\n\thost-root\x10\x00\x1a\x05/host\"\x002\x00j\x00r\x00z\x02\x10\x01\x80\x01\x00\x88\x01\x00\x90\x01\x00\xa2\x01\
            \x04File\x1a\x05Never2\x00B\x00J\x00R\x02n1X\x01`\x01h\x01\x82\x01\x00\x8a\x01\x00\x9a\x01\x00\xb2\x01\x0e\n\x00\x12\x06\
            Exists\x1a\x00\"\x00\xc2\x01\x00\x1a\x10\n\x00\x1a\x00\"\x00*\x002\x00J\x00Z\x00r\x00\x1a\x00\"\x00";
        let decoded = decode(
            kind("v1", "Pod"),
            body,
            Media::Protobuf,
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
    fn broken_bodies_are_refused() {
        let review = kind("authorization.k8s.io/v1", "SelfSubjectAccessReview");
        let bodies: [&[u8]; 4] = [
            b"",
            b"{}",
            b"k8s\0\x12\x7f",
            b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ];
        for body in bodies {
            let status = decode(review, body, Media::Protobuf, FieldValidation::Warn).unwrap_err();
            assert_eq!(status.code, 400);
        }
    }
}
