//! Texts of validation errors.

use serde_json::json;

use super::error_list::{ErrorList, Path};
use super::{go_format, names};

#[test]
fn path_has_upstreams_form() {
    let spec = Path::root("spec");
    let list = spec.child("containers");
    let item = list.index(2);
    let limits = item.child("limits");
    assert_eq!(
        limits.key("cpu").to_string(),
        "spec.containers[2].limits[cpu]"
    );
}

#[test]
fn error_text_has_type_value_and_detail() {
    let mut errors = ErrorList::default();
    errors.not_supported(&Path::root("a"), "x", &["B", "C"]);
    errors.too_long(&Path::root("b"), 63);
    errors.required(&Path::root("c"), "");
    let texts: Vec<String> = errors.into_vec().iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "a: Unsupported value: \"x\": supported values: \"B\", \"C\"",
            "b: Too long: may not be more than 63 bytes",
            "c: Required value",
        ]
    );
}

#[test]
fn values_have_gos_format() {
    assert_eq!(
        go_format::string_map(&json!(null)),
        "map[string]string(nil)"
    );
    assert_eq!(
        go_format::string_map(&json!({"app": "a"})),
        "map[string]string{\"app\":\"a\"}"
    );
    assert_eq!(
        go_format::int_or_string(&json!("150%")),
        "intstr.IntOrString{Type:1, IntVal:0, StrVal:\"150%\"}"
    );
}

#[test]
fn names_of_ports_variables_and_keys() {
    assert!(names::port_name("http-metrics").is_empty());
    assert_eq!(
        names::port_name("8080"),
        ["must contain at least one letter (a-z)"]
    );
    assert_eq!(
        names::port_name("a--b"),
        ["must not contain consecutive hyphens"]
    );
    assert!(names::env_name("1 odd-name").is_empty());
    assert_eq!(names::env_name("a=b").len(), 1);
    assert_eq!(names::label("a.b"), ["must not contain dots"]);
    assert_eq!(names::config_key(".."), ["must not be '..'"]);
}
