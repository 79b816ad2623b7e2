//! Which requirements of a node selector term can be read, as upstream's
//! `NodeSelectorRequirementsAsSelector` and `nodeSelectorRequirementsAsFieldSelector`.

use serde_json::{Value, json};

use super::{daemon, labelled, required};

const UNREADABLE: &str = "no: the node affinity has no term that can hold";

fn placed(list: &str, key: &str, operator: &str, values: &[&str]) -> String {
    let test = json!({"key": key, "operator": operator, "values": values});
    daemon(required(json!([{list: [test]}])), &labelled())
}

#[test]
fn a_field_is_compared_with_one_name_by_in_or_not_in() {
    for (key, operator, values, wanted) in [
        ("metadata.name", "In", &["n1"][..], "run"),
        ("metadata.name", "NotIn", &["n2"], "run"),
        (
            "metadata.name",
            "NotIn",
            &["n1"],
            "no: node affinity wants metadata.name not in (n1), the node has metadata.name=n1",
        ),
        ("metadata.name", "In", &["n1", "n2"], UNREADABLE),
        ("metadata.name", "In", &[], UNREADABLE),
        ("metadata.namespace", "In", &["n1"], UNREADABLE),
        ("metadata.name", "Exists", &["n1"], UNREADABLE),
        ("metadata.name", "DoesNotExist", &["n1"], UNREADABLE),
        ("metadata.name", "Gt", &["1"], UNREADABLE),
        ("metadata.name", "Lt", &["1"], UNREADABLE),
    ] {
        let placed = placed("matchFields", key, operator, values);
        assert_eq!(placed, wanted, "{key} {operator} {values:?}");
    }
}

#[test]
fn an_expression_is_read_as_a_requirement_of_a_label_selector() {
    for (key, operator, values, wanted) in [
        ("disk", "In", &["ssd"][..], "run"),
        ("disk", "In", &[], UNREADABLE),
        ("gpu", "NotIn", &[], UNREADABLE),
        ("disk", "Exists", &["ssd"], UNREADABLE),
        ("gpu", "DoesNotExist", &["a"], UNREADABLE),
        ("gpu", "DoesNotExist", &[], "run"),
        ("cores", "Gt", &["7", "6"], UNREADABLE),
        ("cores", "Gt", &["seven"], UNREADABLE),
        ("cores", "Lt", &[], UNREADABLE),
        ("no key", "NotIn", &["a"], UNREADABLE),
        ("gpu", "NotIn", &["no value"], UNREADABLE),
    ] {
        let placed = placed("matchExpressions", key, operator, values);
        assert_eq!(placed, wanted, "{key} {operator} {values:?}");
    }
}

#[test]
fn numbers_are_compared_as_numbers() {
    for (operator, value, runs) in [
        ("Gt", "7", true),
        ("Gt", "8", false),
        ("Gt", "9", false),
        ("Gt", "10", false),
        ("Lt", "7", false),
        ("Lt", "8", false),
        ("Lt", "9", true),
        ("Lt", "10", true),
    ] {
        let placed = placed("matchExpressions", "cores", operator, &[value]);
        assert_eq!(placed == "run", runs, "{operator} {value}: {placed}");
    }
    // A label that is missing or no number is neither.
    for (key, operator) in [("gpu", "Gt"), ("gpu", "Lt"), ("disk", "Gt"), ("disk", "Lt")] {
        let placed = placed("matchExpressions", key, operator, &["1"]);
        assert!(placed.starts_with("no: node affinity wants"), "{placed}");
    }
}

#[test]
fn one_unreadable_requirement_makes_its_term_match_nothing() {
    let test = |key: &str, operator: &str| json!({"key": key, "operator": operator});
    let terms = |second: Value| json!([{"matchExpressions": [test("disk", "Exists"), second]}]);
    let placed = |terms| daemon(required(terms), &labelled());
    assert_eq!(placed(terms(test("cores", "Exists"))), "run");
    assert_eq!(placed(terms(test("cores", "Like"))), UNREADABLE);
}
