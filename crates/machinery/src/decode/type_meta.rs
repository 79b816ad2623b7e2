//! The `apiVersion` and `kind` of a body (`metav1.TypeMeta`), compared with the kind of the
//! resource.

use serde_json::Value;

use super::go_errors;
use crate::{Kind, Scheme, go_text::json_type, kind::KindRef};

/// The name of the scheme in upstream's texts.
const SCHEME: &str = "pkg/api/legacyscheme/scheme.go:30";

/// The group, version and kind of a body.
#[derive(Debug)]
pub(super) struct TypeMeta {
    group: String,
    /// The version in `apiVersion`.
    pub(super) version: String,
    /// The kind in `kind`.
    pub(super) kind: String,
    /// The served kind of that name.
    known: Option<KindRef>,
}

/// Reads `apiVersion` and `kind`; the kind of the resource fills in what is missing.
///
/// # Errors
/// Upstream's text if the body is no object, or one of both fields is no string or malformed.
pub(super) fn resolve(
    scheme: &Scheme,
    expected: &Kind,
    value: &mut Value,
) -> Result<TypeMeta, String> {
    let Value::Object(map) = value else {
        return Err(go_errors::not_an_object(value));
    };
    let mut read = |field: &str, default: String| match map.get(field) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        None | Some(Value::Null | Value::String(_)) => {
            map.insert(field.into(), default.clone().into());
            Ok(default)
        }
        Some(other) => {
            let found = json_type(other);
            let why = format!(
                "json: cannot unmarshal {found} into Go struct field .{field} of type string"
            );
            Err(go_errors::no_kind(&why))
        }
    };
    let api_version = read("apiVersion", expected.api_version())?;
    let kind = read("kind", expected.kind.clone())?;
    let (group, version) = match api_version.split_once('/') {
        None => ("", api_version.as_str()),
        Some((group, version)) if !version.contains('/') => (group, version),
        Some(_) => return Err(format!("unexpected GroupVersion string: {api_version}")),
    };
    let known = scheme.find_kind(group, version, &kind).cloned();
    Ok(TypeMeta {
        group: group.into(),
        version: version.into(),
        known,
        kind,
    })
}

impl TypeMeta {
    /// Checks that the body can be decoded as the expected kind: it is of that kind, or of one that
    /// shares its storage.
    ///
    /// # Errors
    /// Upstream's text for a body that does not fit.
    pub(super) fn accept(&self, expected: &Kind) -> Result<(), String> {
        if self.is(expected) {
            return Ok(());
        }
        let api_version = self.api_version();
        match &self.known {
            Some(known) if known.storage == expected.storage && known.kind == expected.kind => {
                Ok(())
            }
            Some(known) => Err(format!(
                "converting ({}.{}) to ({}.{}): unknown conversion",
                known.version,
                known.kind,
                package(&expected.group),
                expected.kind
            )),
            None => Err(format!(
                "no kind \"{}\" is registered for version \"{api_version}\" in scheme \"{SCHEME}\"",
                self.kind
            )),
        }
    }

    /// Checks that the API version is the one of the resource. `DeleteOptions` and evictions are
    /// accepted in any version.
    ///
    /// # Errors
    /// Upstream's text for a body that does not fit.
    pub(super) fn matches_version(&self, expected: &Kind) -> Result<(), String> {
        if self.is(expected) || expected.storage.is_empty() {
            return Ok(());
        }
        Err(format!(
            "the API version in the data ({}) does not match the expected API version ({})",
            self.api_version(),
            expected.api_version()
        ))
    }

    /// The kind of the body, or the expected one if it is not served.
    pub(super) fn known<'k>(&'k self, expected: &'k Kind) -> &'k Kind {
        self.known.as_deref().unwrap_or(expected)
    }

    fn is(&self, expected: &Kind) -> bool {
        let any_version = expected.kind == "DeleteOptions";
        self.kind == expected.kind
            && (any_version || (self.group == expected.group && self.version == expected.version))
    }

    fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// The name of the Go package with the internal types of a group.
fn package(group: &str) -> &str {
    group
        .split('.')
        .next()
        .filter(|name| !name.is_empty())
        .unwrap_or("core")
}
