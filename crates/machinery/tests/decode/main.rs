//! Decoded bodies, and the errors of bodies that cannot be decoded. The texts are upstream's.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod bounds;
mod properties;
mod protobuf;

use pandaemon_machinery::{
    Kind,
    decode::{FieldValidation, MediaType, decode, decode_value},
    scheme,
};
use serde_json::{Value, json};

fn kind(api_version: &str, name: &str) -> &'static Kind {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    scheme::built_in()
        .find_kind(group, version, name)
        .expect("a served kind")
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
    let status = decode(
        scheme::built_in(),
        kind,
        body.as_bytes(),
        MediaType::Json,
        mode,
    )
    .expect_err(body);
    assert_eq!((status.code, status.reason.as_str()), (400, "BadRequest"));
    status.message
}

#[test]
fn strict_validation_refuses_unknown_and_duplicate_fields() {
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
fn unknown_and_duplicate_fields_are_listed_once_and_a_hundred_of_them() {
    let twice = daemon_set(r#"{"selector":{"matchLabels":{"a":"1","a":"2","a":"3"}}}"#);
    let unknown: Vec<String> = (0..150).map(|n| format!(r#""a{n}":0"#)).collect();
    let unknown = daemon_set(&format!("{{{}}}", unknown.join(",")));
    let labels: Vec<String> = (0..150)
        .map(|n| format!(r#""l{n}":"","l{n}":"""#))
        .collect();
    let labels = labels.join(",");
    let duplicate = daemon_set(&format!(r#"{{"selector":{{"matchLabels":{{{labels}}}}}}}"#));
    for (body, expected) in [(twice, 1), (unknown, 100), (duplicate, 100)] {
        let warned = decode(
            scheme::built_in(),
            kind("apps/v1", "DaemonSet"),
            body.as_bytes(),
            MediaType::Json,
            FieldValidation::Warn,
        );
        assert_eq!(warned.unwrap().warnings.len(), expected, "{body}");
    }
}

/// JSON parsers accept 127 levels, and a client reads the object within a list.
#[test]
fn an_object_that_clients_could_not_parse_is_refused() {
    let revision = kind("apps/v1", "ControllerRevision");
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"metadata":{{"name":"r"}},"revision":1,"data":{{"a":{open}{close}}}}}"#)
    };
    let accepted = decode(
        scheme::built_in(),
        revision,
        nested(100).as_bytes(),
        MediaType::Json,
        FieldValidation::Strict,
    );
    assert!(accepted.is_ok());
    let text = refusal(revision, &nested(120), FieldValidation::Strict);
    assert!(text.ends_with("exceeded max depth"), "{text}");
}

#[test]
fn warn_drops_fields_with_a_warning_and_ignore_without() {
    let body = br#"{"metadata":{"name":"c"},"bogus":1,"data":{"a":"1","a":"2"}}"#;
    let config_map = kind("v1", "ConfigMap");
    let warned = decode(
        scheme::built_in(),
        config_map,
        body,
        MediaType::Json,
        FieldValidation::Warn,
    )
    .unwrap();
    assert_eq!(
        warned.warnings,
        [r#"duplicate field "data.a""#, r#"unknown field "bogus""#]
    );
    let expected =
        json!({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"2"}});
    assert_eq!(warned.value, expected);
    let ignored = decode(
        scheme::built_in(),
        config_map,
        body,
        MediaType::Json,
        FieldValidation::Ignore,
    )
    .unwrap();
    assert!(ignored.warnings.is_empty());
    assert_eq!(ignored.value, expected);
}

#[test]
fn values_of_the_wrong_type_are_refused_with_gos_texts() {
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
fn bodies_of_another_kind_or_version_are_refused() {
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
fn syntax_errors_are_refused_with_gos_texts() {
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
fn values_are_normalized_as_by_gos_types() {
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
        let decoded = decode_value(
            scheme::built_in(),
            kind("v1", of),
            body,
            FieldValidation::Strict,
        )
        .unwrap();
        let mut expected: Value = expected;
        expected["apiVersion"] = "v1".into();
        expected["kind"] = of.into();
        assert_eq!(decoded.value, expected);
    }
}

#[test]
fn yaml_bodies_are_decoded() {
    let body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  a: \"1\"\n  b: |\n    x\n    y\n";
    let decoded = decode(
        scheme::built_in(),
        kind("v1", "ConfigMap"),
        body,
        MediaType::Yaml,
        FieldValidation::Strict,
    )
    .unwrap();
    assert_eq!(decoded.value["data"], json!({"a": "1", "b": "x\ny\n"}));
    let double = b"data: {a: b, a: c}\n";
    let decoded = decode(
        scheme::built_in(),
        kind("v1", "ConfigMap"),
        double,
        MediaType::Yaml,
        FieldValidation::Warn,
    )
    .unwrap();
    assert_eq!(decoded.value["data"], json!({"a": "c"}));
    assert_eq!(decoded.warnings.len(), 1);
    assert!(
        decode(
            scheme::built_in(),
            kind("v1", "ConfigMap"),
            b"a: [",
            MediaType::Yaml,
            FieldValidation::Warn
        )
        .is_err()
    );
}

#[test]
fn delete_options_and_evictions_are_accepted_in_any_version() {
    let body = br#"{"kind":"DeleteOptions","apiVersion":"apps/v1","gracePeriodSeconds":0}"#;
    let options = kind("v1", "DeleteOptions");
    let decoded = decode(
        scheme::built_in(),
        options,
        body,
        MediaType::Json,
        FieldValidation::Strict,
    )
    .unwrap();
    assert_eq!(decoded.value["gracePeriodSeconds"], 0);
    let body = br#"{"kind":"Eviction","apiVersion":"policy/v1beta1","metadata":{"name":"p"}}"#;
    let eviction = kind("policy/v1", "Eviction");
    assert!(
        decode(
            scheme::built_in(),
            eviction,
            body,
            MediaType::Json,
            FieldValidation::Strict
        )
        .is_ok()
    );
}
