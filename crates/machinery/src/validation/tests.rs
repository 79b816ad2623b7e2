//! Texts of faults.

use serde_json::json;

use super::faults::{Faults, Path};
use super::{golang, names};

#[test]
fn a_path_is_written_as_upstream_does() {
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
fn a_fault_says_value_and_reason() {
    let mut faults = Faults::default();
    faults.not_supported(&Path::root("a"), "x", &["B", "C"]);
    faults.too_long(&Path::root("b"), 63);
    faults.required(&Path::root("c"), "");
    let texts: Vec<String> = faults.into_vec().iter().map(ToString::to_string).collect();
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
fn values_look_like_go() {
    assert_eq!(golang::quote("a\"b\n"), "\"a\\\"b\\n\"");
    assert_eq!(golang::string_map(&json!(null)), "map[string]string(nil)");
    assert_eq!(
        golang::string_map(&json!({"app": "a"})),
        "map[string]string{\"app\":\"a\"}"
    );
    assert_eq!(
        golang::int_or_string(&json!("150%")),
        "intstr.IntOrString{Type:1, IntVal:0, StrVal:\"150%\"}"
    );
}

#[test]
fn names_of_ports_and_variables() {
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
