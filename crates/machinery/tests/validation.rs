//! Faults by text cases: a body in YAML, a line, and what validation says about it.
//!
//! `tests/cases/validation/*.txt`; a case starts with `=== TITLE` and one of
//! `pod` (a pod spec follows), `daemonset` (the pod spec of its template follows),
//! `create GROUP/VERSION PLURAL` (a whole object), `update GROUP/VERSION PLURAL [SUBRESOURCE]` (a whole
//! object, `>>>`, a merge patch). After `---` come the faults, none for a valid object.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::Path;

use pandaemon_machinery::decode::{FieldValidation, Media};
use pandaemon_machinery::validation::{FieldError, validate_create, validate_update};
use pandaemon_machinery::{Kind, catalogue, decode, defaults, patch, strategy};
use serde_json::{Value, json};

#[test]
fn faults_are_those_of_upstream() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/validation");
    let (mut cases, mut failed) = (0, Vec::new());
    let mut files: Vec<_> = fs::read_dir(directory)
        .expect("the cases")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).expect("a case file");
        for case in text.split("=== ").skip(1) {
            cases += 1;
            let (title, rest) = case.split_once('\n').expect("a title");
            let (input, expected) = rest.split_once("---\n").expect("the faults");
            let got: Vec<String> = run(input).iter().map(ToString::to_string).collect();
            let expected: Vec<&str> = expected.lines().filter(|line| !line.is_empty()).collect();
            if got != expected {
                let (expected, got) = (expected.join("\n  "), got.join("\n  "));
                failed.push(format!("=== {title}\nexpected\n  {expected}\ngot\n  {got}"));
            }
        }
    }
    assert!(cases > 50, "only {cases} cases");
    assert!(failed.is_empty(), "\n{}\n", failed.join("\n"));
}

fn run(input: &str) -> Vec<FieldError> {
    let (command, body) = input.split_once('\n').expect("a command");
    let words: Vec<&str> = command.split_whitespace().collect();
    match words.as_slice() {
        ["pod"] => {
            let spec = yaml(body);
            create(
                "v1",
                "pods",
                &json!({"metadata": {"name": "p"}, "spec": spec}),
            )
            .1
        }
        ["daemonset"] => {
            let labels = json!({"app": "a"});
            let template = json!({"metadata": {"labels": labels}, "spec": yaml(body)});
            let spec = json!({"selector": {"matchLabels": labels}, "template": template});
            create(
                "apps/v1",
                "daemonsets",
                &json!({"metadata": {"name": "ds"}, "spec": spec}),
            )
            .1
        }
        ["create", version, plural] => create(version, plural, &yaml(body)).1,
        ["update", version, plural, rest @ ..] => {
            let (old, change) = body.split_once(">>>\n").expect("a change");
            let (old, faults) = create(version, plural, &yaml(old));
            assert!(faults.is_empty(), "the old object is invalid: {faults:?}");
            let subresource = rest.first().copied().unwrap_or_default();
            update(kind(version, plural), subresource, &old, &yaml(change))
        }
        other => panic!("unknown command {other:?}"),
    }
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("YAML")
}

fn kind(version: &str, plural: &str) -> &'static Kind {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    catalogue::find(group, version, plural).expect("a served kind")
}

fn create(version: &str, plural: &str, body: &Value) -> (Value, Vec<FieldError>) {
    let kind = kind(version, plural);
    let body = body.to_string();
    let decoded = decode::decode(kind, body.as_bytes(), Media::Json, FieldValidation::Strict);
    let mut object = decoded.expect("a decodable body").value;
    if kind.is_namespaced() {
        object["metadata"]["namespace"] = "ns".into();
    }
    defaults::apply_defaults(kind, &mut object);
    strategy::prepare_create(kind, &mut object);
    let faults = validate_create(kind, &object);
    (object, faults)
}

fn update(kind: &Kind, subresource: &str, old: &Value, change: &Value) -> Vec<FieldError> {
    let new = patch::merge_patch(old, change.to_string().as_bytes()).expect("a patch");
    let mut new = decode::check(kind, new, FieldValidation::Strict)
        .expect("an object")
        .value;
    defaults::apply_defaults(kind, &mut new);
    strategy::prepare_update(kind, subresource, old, &mut new);
    let mut faults = validate_update(kind, subresource, old, &new);
    // Faults of metadata are found by several rules; the Status tells them once.
    let mut seen = Vec::new();
    faults.retain(|fault| {
        let first = !seen.contains(fault);
        seen.push(fault.clone());
        first
    });
    faults
}
