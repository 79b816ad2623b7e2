//! Patches that are no valid JSON, or no valid patch.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::daemonset;
use crate::{
    patch::{json_patch, merge_patch, strategic_merge_patch},
    status::Status,
};

#[test]
fn malformed_patch_is_refused_with_400() {
    let current = json!({});
    let text = |result: Result<Value, Box<Status>>| {
        let status = result.unwrap_err();
        (status.code, status.message)
    };
    let bad = |message: &str| (400, message.to_owned());
    assert_eq!(
        text(merge_patch(&current, b"{\"data\":")),
        bad("error decoding patch: unexpected end of JSON input")
    );
    assert_eq!(
        text(merge_patch(&current, b"{\"a\" 1}")),
        bad("error decoding patch: invalid character '1' after object key")
    );
    assert_eq!(
        text(merge_patch(&current, b"[1]")),
        bad(
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        )
    );
    assert_eq!(
        text(strategic_merge_patch(daemonset(), &current, b"{,}")),
        bad("invalid character ',' looking for beginning of object key string")
    );
    assert_eq!(
        text(json_patch(&current, b"{}")),
        bad(
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        )
    );
}

/// Any text, and texts that are nearly JSON.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        r#"[\[\]{}:,"a1 null\\]{0,12}"#,
        Just("{}".to_owned()),
        Just("[]".to_owned())
    ]
}

proptest! {
    #[test]
    fn patch_is_accepted_if_and_only_if_it_is_json_of_its_type(text in texts()) {
        let current = json!({"spec": {}});
        let parsed = serde_json::from_str::<Value>(&text);
        let is_object = parsed.as_ref().is_ok_and(|value| value.is_object() || value.is_null());
        let code = |result: Result<Value, Box<Status>>| result.map_or_else(|status| status.code, |_| 200);
        let merged = code(merge_patch(&current, text.as_bytes()));
        prop_assert_eq!(merged, if is_object { 200 } else { 400 });
        let strategic = code(strategic_merge_patch(daemonset(), &current, text.as_bytes()));
        prop_assert!(is_object || strategic == 400, "{strategic}");
        let operations = code(json_patch(&current, text.as_bytes()));
        let expected: &[u16] = match parsed {
            Ok(Value::Null) => &[200],
            Ok(Value::Array(list)) if list.is_empty() => &[200],
            Ok(Value::Array(_)) => &[422],
            Ok(_) | Err(_) => &[400],
        };
        prop_assert!(expected.contains(&operations), "{operations}");
    }
}
