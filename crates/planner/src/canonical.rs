//! Texts that must not depend on the order of keys: canonical templates, the JSON of revisions,
//! hashes, and name suffixes.

use std::fmt::Write as _;

use pandaemon_types::hash::fnv1a_64;
use serde_json::Value;

/// The label of pods and revisions that carries the hash: `apps.ControllerRevisionHashLabelKey`.
pub const HASH_LABEL: &str = "controller-revision-hash";
/// The label that API versions before `apps/v1` used for the same purpose.
pub const GENERATION_LABEL: &str = "pod-template-generation";
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The canonical text in which templates are compared: sorted keys, without the `$patch` directive
/// and the empty `creationTimestamp` of stored templates.
pub(crate) fn canonical_template(template: &Value) -> String {
    let mut text = String::new();
    write_canonical(template, &mut text);
    text
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map
                .iter()
                .filter(|(key, value)| !is_stored_only(key, value))
                .collect();
            fields.sort_by(|a, b| a.0.cmp(b.0));
            out.push('{');
            for (position, (key, value)) in fields.into_iter().enumerate() {
                let comma = if position > 0 { "," } else { "" };
                let _infallible = write!(out, "{comma}{}:", Value::from(key.as_str()));
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _infallible = write!(out, "{value}");
        }
    }
}

fn is_stored_only(key: &str, value: &Value) -> bool {
    key == "$patch" || (key == "creationTimestamp" && value.is_null())
}

/// Encodes the decimal digits of a number without vowels, as upstream's `rand.SafeEncodeString`.
pub(crate) fn safe_text(number: u32) -> String {
    let letter = |byte: u8| {
        char::from(
            ALPHABET
                .get(usize::from(byte) % 27)
                .copied()
                .unwrap_or(b'b'),
        )
    };
    number.to_string().bytes().map(letter).collect()
}

/// The name of a pod: `prefix` and five characters of upstream's safe alphabet, as its
/// `generateName`. They derive from the uid of the set, the node, the hash of the revision and an
/// attempt number, so that two leaders ask for the same name.
pub(crate) fn pod_name(prefix: &str, [uid, node, hash]: [&str; 3], attempt: u32) -> String {
    let attempt = attempt.to_le_bytes();
    let parts: [&[u8]; 7] = [
        uid.as_bytes(),
        b"/",
        node.as_bytes(),
        b"/",
        hash.as_bytes(),
        b"/",
        &attempt,
    ];
    format!("{prefix}{}", five_letters(fnv1a_64(parts)))
}

fn five_letters(mut seed: u64) -> String {
    let mut letters = String::with_capacity(5);
    for _ in 0..5 {
        let index = usize::try_from(seed % 27).unwrap_or(0);
        letters.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'b')));
        seed /= 27;
    }
    letters
}

/// The JSON text of a new revision, byte for byte as upstream writes it: sorted keys, and Go's
/// escapes. Upstream compares the data of revisions by bytes. With other escapes, handing a cluster
/// back would restart every pod whose template contains `&`, `<` or `>`.
#[must_use]
pub fn revision_text(object: &Value) -> String {
    let plain = object.to_string();
    let mut text = String::with_capacity(plain.len());
    for sign in plain.chars() {
        match sign {
            // These occur only within strings of JSON.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _infallible = write!(text, "\\u{:04x}", u32::from(sign));
            }
            _ => text.push(sign),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stored_template_compares_equal_to_the_live_one() {
        let live = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"x": [1, null]}});
        let stored = json!({"$patch": "replace", "spec": {"x": [1, null]},
            "metadata": {"creationTimestamp": null, "labels": {"a": "b"}}});
        assert_eq!(canonical_template(&live), canonical_template(&stored));
        assert_eq!(
            canonical_template(&stored),
            r#"{"metadata":{"labels":{"a":"b"}},"spec":{"x":[1,null]}}"#
        );
        // Other nulls, and a time that is set, are part of the template.
        let other = json!({"a": null, "creationTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(
            canonical_template(&other),
            r#"{"a":null,"creationTimestamp":"2026-01-01T00:00:00Z"}"#
        );
    }

    #[test]
    fn revisions_are_written_with_gos_escapes() {
        let object = json!({"b": "a && b > c < d\u{2028}", "a": ["\"\\\n\u{1}\u{8}"]});
        let text = r#"{"a":["\"\\\n\u0001\b"],"b":"a \u0026\u0026 b \u003e c \u003c d\u2028"}"#;
        assert_eq!(revision_text(&object), text);
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), object);
    }

    #[test]
    fn hashes_and_name_suffixes_use_the_safe_alphabet() {
        assert_eq!(safe_text(1_234_567_890), "56789bcdf4");
        assert!(
            five_letters(u64::MAX)
                .bytes()
                .all(|byte| ALPHABET.contains(&byte))
        );
        assert_eq!(five_letters(0), "bbbbb");
        let digits = [1_u64, 2, 3, 4, 26].iter().rev();
        assert_eq!(
            five_letters(digits.fold(0, |sum, digit| sum * 27 + digit)),
            "cdfg9"
        );
    }

    #[test]
    fn pod_names_differ_by_set_node_revision_and_attempt() {
        let name = |uid, node, hash, attempt| pod_name("agent-", [uid, node, hash], attempt);
        let names = [
            name("s", "a", "h", 0),
            name("t", "a", "h", 0),
            name("s", "b", "h", 0),
            name("s", "a", "i", 0),
            name("s", "a", "h", 1),
            name("sa", "", "h", 0),
        ];
        assert_eq!(std::collections::BTreeSet::from(names).len(), 6);
        assert_eq!(name("s", "a", "h", 0), name("s", "a", "h", 0));
    }
}
