//! Reads request bodies: JSON, YAML or protobuf into a checked value.
//!
//! Three steps: the body becomes a tree (`tree`, `protobuf`), its `apiVersion` and `kind` are compared with what
//! the path asks for (`identity`), and the tree is brought into the form that upstream's round trip through its Go
//! types would give it (`shape`): unknown fields, nulls and empty optional values gone, quantities and times canonical.

mod go;
mod identity;
mod path;
mod protobuf;
mod shape;
mod tree;

use serde_json::Value;

use crate::{Kind, Status, schema, status::Result};

/// The query parameter `fieldValidation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Drop unknown fields without a word.
    Ignore,
    /// Drop them with a warning (the default).
    #[default]
    Warn,
    /// Refuse them.
    Strict,
}

/// The media type of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

/// A decoded body: `apiVersion` and `kind` are set, unknown fields dropped, nulls removed, quantities canonical.
#[derive(Debug)]
pub struct Decoded {
    /// The object.
    pub value: Value,
    /// Texts for `Warning: 299` headers, such as `unknown field "spec.x"`.
    pub warnings: Vec<String>,
}

/// Decodes the body of a write to `kind`.
///
/// # Errors
/// 400 with upstream's text for bad syntax, wrong types, wrong kind, and (strict) unknown or duplicate fields.
pub fn decode(kind: &Kind, body: &[u8], media: Media, mode: FieldValidation) -> Result<Decoded> {
    let unrecognized = |why: String| {
        let summary = go::summarize(body);
        let text = format!(
            "the object provided is unrecognized (must be of type {}): {why} ({summary})",
            kind.kind
        );
        Status::bad_request(text)
    };
    let parsed = match media {
        Media::Json => tree::from_json(body).map_err(|why| unrecognized(go::no_kind(&why)))?,
        Media::Yaml => tree::from_yaml(body).map_err(unrecognized)?,
        Media::Protobuf => protobuf::read(kind, body).map_err(unrecognized)?,
    };
    let mut value = parsed.value;
    let found = identity::resolve(kind, &mut value).map_err(unrecognized)?;
    let refuse = |why: &str| unhandled(kind, &found, why);
    finish(kind, &found, value, parsed.duplicates, mode, refuse)
}

/// Checks an object that was not read from a body as [`decode`] checks one that was.
///
/// # Errors
/// As [`decode`].
pub fn check(kind: &Kind, mut value: Value, mode: FieldValidation) -> Result<Decoded> {
    let found = identity::resolve(kind, &mut value).map_err(Status::bad_request)?;
    let refuse = |why: &str| unhandled(kind, &found, why);
    finish(kind, &found, value, Vec::new(), mode, refuse)
}

/// Checks an object made by a patch. `refuse` makes the answer of what stands against it
/// (see [`crate::patch::refusal`]).
///
/// # Errors
/// 400 for a wrong kind, else what `refuse` makes.
pub fn check_patched(
    kind: &Kind,
    mut value: Value,
    mode: FieldValidation,
    refuse: impl Fn(&str) -> Box<Status>,
) -> Result<Decoded> {
    let found = identity::resolve(kind, &mut value).map_err(Status::bad_request)?;
    finish(kind, &found, value, Vec::new(), mode, refuse)
}

fn unhandled(kind: &Kind, found: &identity::Identity, why: &str) -> Box<Status> {
    Status::bad_request(format!(
        "{} in version \"{}\" cannot be handled as a {}: {why}",
        found.kind, found.version, kind.kind
    ))
}

fn finish(
    kind: &Kind,
    found: &identity::Identity,
    mut value: Value,
    duplicates: Vec<String>,
    mode: FieldValidation,
    refuse: impl Fn(&str) -> Box<Status>,
) -> Result<Decoded> {
    found
        .accept(kind)
        .map_err(|why| unhandled(kind, found, &why))?;
    let table = schema::find(found.type_name())
        .ok_or_else(|| Status::internal(format!("{} has no field table", kind.kind)))?;
    let unknown = shape::normalize(table, &mut value).map_err(|why| refuse(&why))?;
    found.matches_version(kind).map_err(Status::bad_request)?;
    let mut warnings = duplicates;
    warnings.extend(unknown);
    match mode {
        FieldValidation::Strict if !warnings.is_empty() => Err(refuse(&format!(
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
