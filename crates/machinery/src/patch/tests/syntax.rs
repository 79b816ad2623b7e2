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

proptest! {
    #[test]
    fn patch_of_any_text_does_not_panic(text in ".{0,40}") {
        let current = json!({"spec": {}});
        let _ = merge_patch(&current, text.as_bytes());
        let _ = strategic_merge_patch(daemonset(), &current, text.as_bytes());
        let _ = json_patch(&current, text.as_bytes());
    }
}
