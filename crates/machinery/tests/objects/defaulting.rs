//! Defaults of the cases in `tests/cases/defaulting`.
//!
//! The command of a case is `create GROUP/VERSION PLURAL`, and an object in YAML follows. The
//! expected output is the object that is stored, without `apiVersion`, `kind` and the namespace.

use pandaemon_machinery::decode::{FieldValidation, MediaType};
use serde_json::Value;

use crate::{
    pipeline::{self, kind},
    text_cases::{self, yaml},
};

#[test]
fn cases_have_the_expected_defaults() {
    let cases = text_cases::read("defaulting");
    assert!(cases.len() > 10, "only {} cases", cases.len());
    for case in cases {
        let words: Vec<&str> = case.command.split_whitespace().collect();
        let ["create", version, plural] = words.as_slice() else {
            panic!("unknown command {}", case.command);
        };
        let body = (case.input.as_bytes(), MediaType::Yaml);
        let created = pipeline::create(
            kind(version, plural),
            "ns",
            body,
            FieldValidation::Strict,
            |_| (),
        );
        let (mut object, errors) = created.expect("a decodable body");
        assert_eq!(errors, [], "{}", case.title);
        let fields = object.as_object_mut().expect("an object");
        fields.retain(|name, _| !matches!(name.as_str(), "apiVersion" | "kind"));
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("namespace");
        }
        assert_eq!(object, yaml(&case.expected), "{}", case.title);
    }
}
