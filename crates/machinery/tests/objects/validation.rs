//! Validation errors of the cases in `tests/cases/validation`.
//!
//! The command of a case is `pod` (a pod spec in YAML follows), `daemonset` (the pod spec of its
//! template follows), `create GROUP/VERSION PLURAL` (an object follows), or `update GROUP/VERSION
//! PLURAL [SUBRESOURCE]` (an object, `>>>` and a merge patch follow). The expected output is the
//! errors, none for a valid object.

use pandaemon_machinery::{
    Kind,
    decode::{self, FieldValidation, MediaType},
    defaults, patch, scheme, strategy, table,
    validation::{FieldError, validate_create, validate_update},
};
use serde_json::{Value, json};

use crate::{
    pipeline::{self, kind},
    text_cases::{self, TextCase, yaml},
};

#[test]
fn cases_have_the_expected_validation_errors() {
    let cases = text_cases::read("validation");
    assert!(cases.len() > 50, "only {} cases", cases.len());
    let mut failed = Vec::new();
    for case in cases {
        let got: Vec<String> = errors_of(&case).iter().map(ToString::to_string).collect();
        let expected: Vec<&str> = case.expected.lines().filter(|l| !l.is_empty()).collect();
        if got != expected {
            failed.push(format!(
                "=== {}\nexpected\n  {}\ngot\n  {}",
                case.title,
                expected.join("\n  "),
                got.join("\n  ")
            ));
        }
    }
    assert!(failed.is_empty(), "\n{}\n", failed.join("\n"));
}

/// Replaces each value of each case by others: nothing panics, and defaulting twice changes
/// nothing.
#[test]
fn objects_with_odd_values_are_defaulted_validated_and_printed() {
    let mut runs = 0;
    for case in text_cases::read("validation") {
        let body = case.input.split(">>>\n").next().unwrap_or_default();
        let (kind, object) = whole_object(&case.command, body);
        let mut pointers = Vec::new();
        collect_pointers(&object, String::new(), &mut pointers);
        for pointer in pointers {
            for odd in [
                json!(null),
                json!({}),
                json!([]),
                json!(""),
                json!(0),
                json!(-1),
                json!("x"),
            ] {
                let mut changed_object = object.clone();
                *changed_object.pointer_mut(&pointer).expect("a place") = odd;
                runs += usize::from(run_all(kind, &changed_object, &pointer));
            }
        }
    }
    assert!(runs > 2000, "only {runs} bodies could be decoded");
}

/// Decodes, defaults, prepares, validates and prints an object. False if it cannot be decoded.
fn run_all(kind: &'static Kind, object: &Value, pointer: &str) -> bool {
    let body = object.to_string();
    let decoded = decode::decode(
        scheme::built_in(),
        kind,
        body.as_bytes(),
        MediaType::Json,
        FieldValidation::Ignore,
    );
    let Ok(decoded) = decoded else { return false };
    let mut new = decoded.value;
    defaults::apply_defaults(kind, &mut new);
    let mut again = new.clone();
    defaults::apply_defaults(kind, &mut again);
    assert_eq!(new, again, "defaults of {body} are not stable ({pointer})");
    strategy::prepare_create(kind, &mut new);
    let _ = validate_create(kind, &new);
    for subresource in ["", "status", "finalize", "ephemeralcontainers"] {
        let mut changed = again.clone();
        strategy::prepare_update(kind, subresource, &new, &mut changed);
        let _ = validate_update(kind, subresource, &new, &changed);
    }
    let _ = table::row(kind, &again, table::IncludeObject::None, 0);
    true
}

fn collect_pointers(value: &Value, at: String, pointers: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                collect_pointers(value, format!("{at}/{name}"), pointers);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                collect_pointers(value, format!("{at}/{index}"), pointers);
            }
        }
        _ => {}
    }
    if !at.is_empty() {
        pointers.push(at);
    }
}

/// The kind of a case, and the object that its body stands for.
fn whole_object(command: &str, body: &str) -> (&'static Kind, Value) {
    let words: Vec<&str> = command.split_whitespace().collect();
    let body = yaml(body);
    match words.as_slice() {
        ["pod"] => {
            let pod = json!({"metadata": {"name": "p"}, "spec": body});
            (kind("v1", "pods"), pod)
        }
        ["daemonset"] => {
            let labels = json!({"app": "a"});
            let template = json!({"metadata": {"labels": labels}, "spec": body});
            let spec = json!({"selector": {"matchLabels": labels}, "template": template});
            let daemon_set = json!({"metadata": {"name": "ds"}, "spec": spec});
            (kind("apps/v1", "daemonsets"), daemon_set)
        }
        ["create" | "update", version, plural, ..] => (kind(version, plural), body),
        other => panic!("unknown command {other:?}"),
    }
}

fn errors_of(case: &TextCase) -> Vec<FieldError> {
    let (body, change) = match case.input.split_once(">>>\n") {
        Some((body, change)) => (body, Some(change)),
        None => (case.input.as_str(), None),
    };
    let (kind, object) = whole_object(&case.command, body);
    let text = object.to_string();
    let body = (text.as_bytes(), MediaType::Json);
    let (old, errors) = pipeline::create(kind, "ns", body, FieldValidation::Strict, |_| ())
        .expect("a decodable body");
    let Some(change) = change else { return errors };
    assert!(errors.is_empty(), "the old object is invalid: {errors:?}");
    let subresource = case.command.split_whitespace().nth(3).unwrap_or_default();
    let change = yaml(change).to_string();
    let new = patch::merge_patch(&old, change.as_bytes()).expect("a patch");
    let (_, mut errors) = pipeline::update(kind, subresource, &old, new, FieldValidation::Strict)
        .expect("a decodable object");
    // Several rules find the same errors of metadata; the message of a Status names each once.
    let mut seen = Vec::new();
    errors.retain(|error| {
        let first = !seen.contains(error);
        seen.push(error.clone());
        first
    });
    errors
}
