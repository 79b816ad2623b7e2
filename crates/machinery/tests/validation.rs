//! Validation errors of the cases in `tests/cases/validation/*.txt`.
//!
//! A case starts with `=== TITLE` and a command: `pod` (a pod spec in YAML follows), `daemonset`
//! (the pod spec of its template follows), `create GROUP/VERSION PLURAL` (an object follows), or
//! `update GROUP/VERSION PLURAL [SUBRESOURCE]` (an object, `>>>` and a merge patch follow). After
//! `---` come the errors, none for a valid object.
#![expect(clippy::disallowed_methods, reason = "cases are read from files")]
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::Path;

use pandaemon_machinery::decode::{FieldValidation, MediaType};
use pandaemon_machinery::validation::{FieldError, validate_create, validate_update};
use pandaemon_machinery::{Kind, decode, defaults, patch, scheme, strategy, table};
use serde_json::{Value, json};

struct Case {
    title: String,
    input: String,
    errors: Vec<String>,
}

fn cases() -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/validation");
    let entries = fs::read_dir(directory).expect("the cases");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a case file");
        for case in text.split("=== ").skip(1) {
            let (title, rest) = case.split_once('\n').expect("a title");
            let (input, errors) = rest.split_once("---\n").expect("the errors");
            cases.push(Case {
                title: title.to_owned(),
                input: input.to_owned(),
                errors: errors
                    .lines()
                    .filter(|l| !l.is_empty())
                    .map(str::to_owned)
                    .collect(),
            });
        }
    }
    cases
}

#[test]
fn cases_have_the_expected_validation_errors() {
    let cases = cases();
    assert!(cases.len() > 50, "only {} cases", cases.len());
    let mut failed = Vec::new();
    for case in cases {
        let got: Vec<String> = run(&case.input).iter().map(ToString::to_string).collect();
        if got != case.errors {
            let (expected, got) = (case.errors.join("\n  "), got.join("\n  "));
            failed.push(format!(
                "=== {}\nexpected\n  {expected}\ngot\n  {got}",
                case.title
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
    for case in cases() {
        let (command, body) = case.input.split_once('\n').expect("a command");
        let body = body.split(">>>\n").next().unwrap_or_default();
        let Some((kind, object)) = whole_object(command, body) else {
            continue;
        };
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

fn whole_object(command: &str, body: &str) -> Option<(&'static Kind, Value)> {
    let words: Vec<&str> = command.split_whitespace().collect();
    Some(match words.as_slice() {
        ["pod"] => (kind("v1", "pods"), pod(&yaml(body))),
        ["daemonset"] => (kind("apps/v1", "daemonsets"), daemon_set(&yaml(body))),
        ["create" | "update", version, plural, ..] => (kind(version, plural), yaml(body)),
        _ => return None,
    })
}

fn pod(spec: &Value) -> Value {
    json!({"metadata": {"name": "p"}, "spec": spec})
}

fn daemon_set(spec: &Value) -> Value {
    let labels = json!({"app": "a"});
    let template = json!({"metadata": {"labels": labels}, "spec": spec});
    let spec = json!({"selector": {"matchLabels": labels}, "template": template});
    json!({"metadata": {"name": "ds"}, "spec": spec})
}

fn run(input: &str) -> Vec<FieldError> {
    let (command, body) = input.split_once('\n').expect("a command");
    let words: Vec<&str> = command.split_whitespace().collect();
    match words.as_slice() {
        ["pod"] => create("v1", "pods", &pod(&yaml(body))).1,
        ["daemonset"] => create("apps/v1", "daemonsets", &daemon_set(&yaml(body))).1,
        ["create", version, plural] => create(version, plural, &yaml(body)).1,
        ["update", version, plural, rest @ ..] => {
            let (old, change) = body.split_once(">>>\n").expect("a change");
            let (old, errors) = create(version, plural, &yaml(old));
            assert!(errors.is_empty(), "the old object is invalid: {errors:?}");
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
    scheme::find_resource(group, version, plural).expect("a served kind")
}

fn create(version: &str, plural: &str, body: &Value) -> (Value, Vec<FieldError>) {
    let kind = kind(version, plural);
    let body = body.to_string();
    let decoded = decode::decode(
        kind,
        body.as_bytes(),
        MediaType::Json,
        FieldValidation::Strict,
    );
    let mut object = decoded.expect("a decodable body").value;
    if kind.is_namespaced() {
        object["metadata"]["namespace"] = "ns".into();
    }
    defaults::apply_defaults(kind, &mut object);
    strategy::prepare_create(kind, &mut object);
    let errors = validate_create(kind, &object);
    (object, errors)
}

fn update(kind: &Kind, subresource: &str, old: &Value, change: &Value) -> Vec<FieldError> {
    let new = patch::merge_patch(old, change.to_string().as_bytes()).expect("a patch");
    let mut new = decode::decode_value(kind, new, FieldValidation::Strict)
        .expect("an object")
        .value;
    defaults::apply_defaults(kind, &mut new);
    strategy::prepare_update(kind, subresource, old, &mut new);
    let mut errors = validate_update(kind, subresource, old, &new);
    // Several rules find the same errors of metadata; the message of a Status names each once.
    let mut seen = Vec::new();
    errors.retain(|error| {
        let first = !seen.contains(error);
        seen.push(error.clone());
        first
    });
    errors
}
