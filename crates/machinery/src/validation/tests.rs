//! Texts of validation errors.

use serde_json::json;

use super::error_list::{ErrorList, Path};
use super::{go_format, meta, names};
use crate::{scheme, status::Status};

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

/// The refusal of an object with these errors.
fn refusal(errors: ErrorList) -> Box<Status> {
    let kind = scheme::built_in().find_kind("", "v1", "ConfigMap").unwrap();
    Status::invalid(kind, "m", &errors.into_vec())
}

#[test]
fn a_hundred_errors_are_listed_and_the_others_counted() {
    let mut errors = ErrorList::default();
    let list = Path::root("a");
    for at in 0..20_000 {
        errors.required(&list.index(at), "");
    }
    assert_eq!(errors.len(), 20_000);
    let status = refusal(errors);
    let ends = "a[99]: Required value, and 19900 more errors]";
    assert!(status.message.ends_with(ends), "{}", status.message);
    let causes = status.details.unwrap().causes;
    assert_eq!((causes.len(), &*causes[99].field), (101, "a[99]"));
    assert_eq!(
        (&*causes[100].field, &*causes[100].message),
        ("", "and 19900 more errors")
    );
}

#[test]
fn long_texts_of_errors_are_cut_off() {
    let long = "x".repeat(1_000_000);
    let mut errors = ErrorList::default();
    for _ in 0..100 {
        errors.invalid(&Path::root("a").key(&long), &long, &long);
    }
    let status = refusal(errors);
    assert!(
        status.message.contains("x... (1000002 bytes): x"),
        "value and size"
    );
    assert!(status.message.ends_with("and 98 more errors]"));
    assert!(
        status.message.len() < 500_000,
        "{} bytes",
        status.message.len()
    );
}

/// Each of 20,000 controllers was an error that showed all of them: 36 GB.
#[test]
fn errors_of_many_owners_are_short() {
    let owner = |at: usize| {
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": format!("o{at}"),
            "uid": format!("u{at}"), "controller": true})
    };
    let owners: Vec<_> = (0..20_000).map(owner).collect();
    let object = json!({"metadata": {"name": "m", "namespace": "n", "ownerReferences": owners}});
    let mut errors = ErrorList::default();
    meta::validate_common(true, &object, &mut errors);
    assert_eq!(errors.len(), 19_999);
    let status = refusal(errors);
    assert!(
        status
            .message
            .contains("references for DaemonSet/o0 and DaemonSet/o1,")
    );
    assert!(
        status.message.len() < 500_000,
        "{} bytes",
        status.message.len()
    );
}
