//! The 422 for a patched object that cannot be decoded (upstream's `NewInvalid` in
//! `applyPatchToObject`).
//!
//! Its text shows a strategic merge patch as Go prints a map, and for the other patch types the
//! patched object.

use serde_json::Value;

use crate::{
    bounds::cut_off,
    decode, go_text,
    status::{Cause, Details, Status},
};

/// The response to a strategic merge patch. `why` is the text of the JSON decoder; upstream
/// converts from Go maps here, which has other texts.
#[must_use]
pub fn strategic_patch(patch: &[u8], why: &str) -> Box<Status> {
    let patch = decode::parse_json(patch).unwrap_or_default();
    invalid(
        &go_text::plain(&patch),
        &converted(why).unwrap_or_else(|| why.into()),
    )
}

/// The response to a JSON patch or a JSON merge patch whose result is `patched`.
#[must_use]
pub fn patched_object(patched: &Value, why: &str) -> Box<Status> {
    invalid(&patched.to_string(), why)
}

/// 422 without a reason for a patch that does not fit the object, as upstream's
/// `NewGenericServerResponse`.
pub(super) fn unprocessable() -> Box<Status> {
    Status::failure(
        422,
        "Invalid",
        "the server rejected our request due to an error in our request",
    )
    .with_details(Details::default())
}

fn invalid(shown: &str, why: &str) -> Box<Status> {
    let shown = go_text::quote(&cut_off(shown));
    let detail = format!("Invalid value: {shown}: {why}");
    Status::failure(422, "Invalid", format!(" \"\" is invalid: patch: {detail}")).with_details(
        Details {
            causes: vec![Cause {
                reason: "FieldValueInvalid".into(),
                message: detail,
                field: "patch".into(),
            }],
            ..Details::default()
        },
    )
}

/// The text of upstream's converter from maps (`FromUnstructured`) for a text of the JSON decoder:
/// `unrecognized type: int32` for
/// `json: cannot unmarshal string into Go struct field F of type int32`.
fn converted(why: &str) -> Option<String> {
    let (found, rest) = why
        .strip_prefix("json: cannot unmarshal ")?
        .split_once(' ')?;
    let (_, wanted) = rest.rsplit_once(" of type ")?;
    let found = match found {
        "object" => "map",
        "array" => "slice",
        "number" => "int64",
        other => other,
    };
    Some(match wanted {
        list if list.starts_with("[]") => format!("cannot restore slice from {found}"),
        map if map.starts_with("map[") => format!("cannot restore map from {found}"),
        "string" | "bool" | "int32" | "int64" => format!("unrecognized type: {wanted}"),
        _ => format!("cannot restore struct from: {found}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode::FieldValidation, patch, scheme};

    /// The message of the response to a strategic merge patch of a DaemonSet.
    fn message_of(patch: &str) -> String {
        let kind = scheme::built_in()
            .find_kind("apps", "v1", "DaemonSet")
            .unwrap();
        let current = serde_json::json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "a"}, "spec": {}});
        let made = patch::strategic_merge_patch(kind, &current, patch.as_bytes()).unwrap();
        let to_status = |why: &str| strategic_patch(patch.as_bytes(), why);
        let checked = decode::decode_patched(
            scheme::built_in(),
            kind,
            made,
            FieldValidation::Strict,
            to_status,
        );
        let status = checked.unwrap_err();
        assert_eq!((status.code, &*status.reason), (422, "Invalid"));
        status.message
    }

    #[test]
    fn invalid_result_of_a_strategic_patch_shows_the_patch() {
        let cases = [
            (
                r#"{"spec":{"a":[true,null,1.5,"x"]}}"#,
                r#" "" is invalid: patch: Invalid value: "map[spec:map[a:[true <nil> 1.5 x]]]": strict decoding error: unknown field "spec.a""#,
            ),
            (
                r#"{"spec":{"minReadySeconds":"1"}}"#,
                r#" "" is invalid: patch: Invalid value: "map[spec:map[minReadySeconds:1]]": unrecognized type: int32"#,
            ),
            (
                r#"{"spec":{"template":"\""}}"#,
                r#" "" is invalid: patch: Invalid value: "map[spec:map[template:\"]]": cannot restore struct from: string"#,
            ),
            (
                r#"{"metadata":{"labels":5}}"#,
                r#" "" is invalid: patch: Invalid value: "map[metadata:map[labels:5]]": cannot restore map from int64"#,
            ),
            (
                r#"{"spec":{"template":{"spec":{"hostAliases":"x"}}}}"#,
                r#" "" is invalid: patch: Invalid value: "map[spec:map[template:map[spec:map[hostAliases:x]]]]": cannot restore slice from string"#,
            ),
        ];
        for (patch, expected) in cases {
            assert_eq!(message_of(patch), expected, "{patch}");
        }
    }

    #[test]
    fn invalid_result_of_another_patch_shows_the_object() {
        let status = patched_object(&serde_json::json!({"data": 1}), "no");
        assert_eq!(
            status.message,
            r#" "" is invalid: patch: Invalid value: "{\"data\":1}": no"#
        );
    }
}
