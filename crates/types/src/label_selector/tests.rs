//! Tables: which texts parse, what they mean, and what upstream says of the others.

use serde_json::json;

use super::*;

fn error(text: &str) -> String {
    LabelSelector::parse(text).unwrap_err().to_string()
}

#[test]
fn text_selectors_select_as_upstream() {
    let labels = json!({"app": "web", "env": "prod", "n": "5"});
    for (text, wanted) in [
        ("", true),
        ("app", true),
        ("!app", false),
        ("!nope", true),
        ("app=web", true),
        ("app==web,env=prod", true),
        ("app  =  web , env", true),
        ("app=", false),
        ("nope=", false),
        ("app!=web", false),
        ("nope!=web", true),
        ("app in (web,db)", true),
        ("app in (db)", false),
        ("app notin (web,db)", false),
        ("nope notin (web)", true),
        ("n>4", true),
        ("n<5", false),
        ("app>4", false),
        ("x in ()", false),
        ("app in (,web)", true),
        ("example.com/a!=1", true),
        ("in=1", false),
    ] {
        let selector = LabelSelector::parse(text).unwrap();
        assert_eq!(selector.matches(&labels), wanted, "{text}");
        let printed = selector.to_string();
        assert_eq!(
            LabelSelector::parse(&printed).unwrap(),
            selector,
            "{text} as {printed}"
        );
    }
}

#[test]
fn faults_have_upstreams_messages() {
    let find = "unable to parse requirement: found";
    assert_eq!(error("a,"), "found '', expected: identifier after ','");
    assert_eq!(
        error("a b"),
        format!("{find} 'b', expected: in, notin, =, ==, !=, gt, lt")
    );
    assert_eq!(
        error("a=b c"),
        "found 'c', expected: ',' or 'end of string'"
    );
    assert_eq!(
        error(")"),
        "found ')', expected: !, identifier, or 'end of string'"
    );
    assert_eq!(error("a in b"), format!("{find} 'b' expected: '('"));
    assert_eq!(error("a in (b"), format!("{find} '', expected: ',' or ')'"));
    assert_eq!(error("a=("), format!("{find} '(', expected: identifier"));
    assert!(error("-a=1").starts_with(
        "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of"
    ));
    assert!(error("a=-").starts_with(
        "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label must be"
    ));
    assert!(error("a>b").ends_with("for 'Gt', 'Lt' operators, the value must be an integer"));
}

#[test]
fn json_selectors_select_as_upstream() {
    let selector = LabelSelector::from_json(&json!({
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "env", "operator": "NotIn", "values": ["dev"]},
            {"key": "old", "operator": "DoesNotExist"},
        ],
    }))
    .unwrap();
    assert!(selector.matches(&json!({"app": "web"})));
    assert!(!selector.matches(&json!({"app": "web", "env": "dev"})));
    assert!(!selector.matches(&json!({"app": "web", "old": ""})));
    assert_eq!(selector.to_string(), "app=web,env notin (dev),!old");
    assert_eq!(selector.exact("app"), Some("web"));
    assert!(
        LabelSelector::from_json(&json!({}))
            .unwrap()
            .is_everything()
    );
    assert!(
        !LabelSelector::from_json(&json!(null))
            .unwrap()
            .matches(&json!({}))
    );
    let bad = json!({"matchExpressions": [{"key": "a", "operator": "Like"}]});
    let error = LabelSelector::from_json(&bad).unwrap_err().to_string();
    assert_eq!(error, "\"Like\" is not a valid label selector operator");
}

/// In quadratic time this takes longer than a test may.
#[test]
fn a_long_run_of_operators_is_read_in_linear_time() {
    let text = "(".repeat(1 << 17);
    assert_eq!(
        error(&text),
        "found '(', expected: !, identifier, or 'end of string'"
    );
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[a-c=!<>(), \u{e9}/.-]{0,16}|in|notin") {
        drop(LabelSelector::parse(&text));
    }
}
