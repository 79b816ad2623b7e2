//! Decodes request bodies (JSON, YAML or protobuf) and checks them against the field tables.
//!
//! The body is parsed (`parse`, `protobuf`), its `apiVersion` and `kind` are compared with those of
//! the resource (`type_meta`), and the value is normalized (`normalize`) as a round trip through
//! upstream's Go types would: unknown fields, nulls and empty optional values are dropped,
//! quantities and times become canonical.

mod go_errors;
mod normalize;
mod parse;
mod path;
mod protobuf;
mod type_meta;

use serde_json::Value;

use crate::{
    Kind, Scheme, Status,
    bounds::{Room, Texts},
    status::Result,
};

/// The query parameter `fieldValidation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Drop unknown and duplicate fields without a warning.
    Ignore,
    /// Drop them and return a warning for each (the default).
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

/// The media type of a request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

/// A decoded object: `apiVersion` and `kind` are set, unknown fields and nulls dropped, quantities
/// and times canonical. Of unknown and duplicate fields the first 100 are named, as upstream.
#[derive(Debug)]
pub struct Decoded {
    /// The decoded object.
    pub value: Value,
    /// Texts for `Warning: 299` headers, such as `unknown field "spec.x"`; empty except with
    /// [`FieldValidation::Warn`].
    pub warnings: Vec<String>,
}

/// Decodes the body of a write to a resource of this kind.
///
/// # Errors
/// 400 with upstream's text for bad syntax, wrong types, another kind, and with `Strict` for
/// unknown or duplicate fields.
pub fn decode(
    scheme: &Scheme,
    kind: &Kind,
    body: &[u8],
    media: MediaType,
    mode: FieldValidation,
) -> Result<Decoded> {
    let unrecognized = |why: String| {
        let summary = go_errors::summarize(body);
        let text = format!(
            "the object provided is unrecognized (must be of type {}): {why} ({summary})",
            kind.kind
        );
        Status::bad_request(text)
    };
    let parsed = match media {
        MediaType::Json => {
            parse::from_json(body).map_err(|why| unrecognized(go_errors::no_kind(&why)))?
        }
        MediaType::Yaml => parse::from_yaml(body).map_err(unrecognized)?,
        MediaType::Protobuf => protobuf::read(scheme, kind, body).map_err(unrecognized)?,
    };
    let mut value = parsed.value;
    let found = type_meta::resolve(scheme, kind, &mut value).map_err(unrecognized)?;
    let to_status = |why: &str| cannot_be_handled(kind, &found, why);
    finish(kind, &found, value, parsed.duplicates, mode, to_status)
}

/// Parses JSON that a client sends, such as a patch or options. Like a body it has at most 128
/// levels, 500,000 values and 50,000 objects.
///
/// # Errors
/// That of the parser.
pub fn parse_json(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    parse::json(bytes, &mut Room::default()).map(|parsed| parsed.value)
}

/// As [`parse_json`], for YAML.
///
/// # Errors
/// Upstream's prefix and the text of the parser.
pub fn parse_yaml(bytes: &[u8]) -> Result<Value, String> {
    parse::from_yaml(bytes).map(|parsed| parsed.value)
}

/// Checks and normalizes a value that is not a request body, such as the result of an apply, as
/// [`decode`] does.
///
/// # Errors
/// As [`decode`].
pub fn decode_value(
    scheme: &Scheme,
    kind: &Kind,
    mut value: Value,
    mode: FieldValidation,
) -> Result<Decoded> {
    let found = type_meta::resolve(scheme, kind, &mut value).map_err(Status::bad_request)?;
    let to_status = |why: &str| cannot_be_handled(kind, &found, why);
    finish(kind, &found, value, Texts::default(), mode, to_status)
}

/// Checks and normalizes the result of a patch. `to_status` turns the text of an error into a
/// response (see [`crate::patch::invalid`]).
///
/// # Errors
/// 400 for another kind, otherwise what `to_status` returns.
pub fn decode_patched(
    scheme: &Scheme,
    kind: &Kind,
    mut value: Value,
    mode: FieldValidation,
    to_status: impl Fn(&str) -> Box<Status>,
) -> Result<Decoded> {
    let found = type_meta::resolve(scheme, kind, &mut value).map_err(Status::bad_request)?;
    finish(kind, &found, value, Texts::default(), mode, to_status)
}

fn cannot_be_handled(kind: &Kind, found: &type_meta::TypeMeta, why: &str) -> Box<Status> {
    Status::bad_request(format!(
        "{} in version \"{}\" cannot be handled as a {}: {why}",
        found.kind, found.version, kind.kind
    ))
}

fn finish(
    kind: &Kind,
    found: &type_meta::TypeMeta,
    mut value: Value,
    mut faults: Texts,
    mode: FieldValidation,
    to_status: impl Fn(&str) -> Box<Status>,
) -> Result<Decoded> {
    found
        .accept(kind)
        .map_err(|why| cannot_be_handled(kind, found, &why))?;
    let table = found
        .known(kind)
        .object_type()
        .ok_or_else(|| Status::internal(format!("{} has no field table", kind.kind)))?;
    normalize::normalize(table, &mut value, &mut faults).map_err(|why| to_status(&why))?;
    found.matches_version(kind).map_err(Status::bad_request)?;
    let warnings = faults.into_vec();
    match mode {
        FieldValidation::Strict if !warnings.is_empty() => Err(to_status(&format!(
            "strict decoding error: {}",
            warnings.join(", ")
        ))),
        FieldValidation::Ignore => Ok(Decoded {
            value,
            warnings: Vec::new(),
        }),
        FieldValidation::Strict | FieldValidation::Warn => Ok(Decoded { value, warnings }),
    }
}
