//! What the fuzz targets share: how an input is read, and what holds for every object.

use std::borrow::Cow;

use pandaemon_machinery::{
    Kind,
    decode::{FieldValidation, MediaType, decode},
    kind::KindRef,
    managed_fields::FieldManager,
    scheme,
};
use serde_json::Value;

/// Separates the parts of an input whose middle one is repeated.
const REPEAT: u8 = 1;
/// Length of an input with a repeated part. Quadratic time exceeds the time limit of a run here.
const REPEATED_BYTES: usize = 256 << 10;

/// The input, with its middle part repeated if it has three parts: the fuzzer alone finds no long
/// inputs.
#[must_use]
pub fn repeated(data: &[u8]) -> Cow<'_, [u8]> {
    let parts: Vec<&[u8]> = data.split(|byte| *byte == REPEAT).collect();
    match parts.as_slice() {
        [begin, middle, end] if !middle.is_empty() => {
            let middle = middle.repeat(REPEATED_BYTES / middle.len());
            Cow::Owned([*begin, &middle, *end].concat())
        }
        _ => Cow::Borrowed(data),
    }
}

/// The input as text, as [`repeated`].
#[must_use]
pub fn repeated_text(text: &str) -> Cow<'_, str> {
    match repeated(text.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        // The separator is a whole character.
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).expect("parts of a text")),
    }
}

/// The first line of the input, and the rest.
#[must_use]
pub fn line(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (line, rest) = data.split_at(end.unwrap_or(data.len()));
    (line, rest.get(1..).unwrap_or_default())
}

/// The kind that the first line names (`DaemonSet`), and the rest.
#[must_use]
pub fn kind(data: &[u8]) -> Option<(&'static Kind, &[u8])> {
    let (name, rest) = line(data);
    let named = |kind: &&KindRef| kind.kind.as_bytes() == name;
    let kind = scheme::built_in().all().find(named)?;
    Some((kind, rest))
}

/// The object that a client reads after it has sent this body.
#[must_use]
pub fn object(kind: &Kind, body: &[u8]) -> Option<Value> {
    let mode = FieldValidation::Ignore;
    let decoded = decode(scheme::built_in(), kind, body, MediaType::Json, mode);
    decoded.ok().map(|decoded| decoded.value)
}

/// Checks what holds for every object that is stored: its JSON can be read again, and the decoder
/// leaves it as it is.
pub fn assert_stable(kind: &Kind, object: &Value) {
    let body = serde_json::to_vec(object).expect("JSON");
    let read: Value = serde_json::from_slice(&body).expect("what was stored can be read");
    assert_eq!(&read, object, "it is read as it was");
    let mode = FieldValidation::Strict;
    let again = decode(scheme::built_in(), kind, &body, MediaType::Json, mode);
    assert_eq!(again.expect("it is decoded again").value, *object);
}

/// A manager of fields.
#[must_use]
pub fn manager(name: &str) -> FieldManager<'_> {
    FieldManager {
        name,
        subresource: "",
        now: "2026-01-01T00:00:00Z",
    }
}
