//! A list of validation errors, and paths that are turned into text only for an error.

use super::{ErrorType, FieldError};
use crate::go_text::quote;

#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    Name(&'a str),
    Index(usize),
    Key(&'a str),
}

/// The path of a field (upstream's `field.Path`): a chain of borrowed parts, so that it costs no
/// allocation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    parent: Option<&'a Self>,
    part: Part<'a>,
}

impl<'a> Path<'a> {
    /// The path of a field of the object.
    pub(super) const fn root(name: &'a str) -> Self {
        Self {
            parent: None,
            part: Part::Name(name),
        }
    }

    /// The path of a field below this one: `this.name`.
    pub(super) const fn child(&'a self, name: &'a str) -> Self {
        Self {
            parent: Some(self),
            part: Part::Name(name),
        }
    }

    /// The path of a list item: `this[3]`.
    pub(super) const fn index(&'a self, at: usize) -> Self {
        Self {
            parent: Some(self),
            part: Part::Index(at),
        }
    }

    /// The path of a map value: `this[key]`.
    pub(super) const fn key(&'a self, key: &'a str) -> Self {
        Self {
            parent: Some(self),
            part: Part::Key(key),
        }
    }
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.part {
            // The path of the object as a whole.
            Part::Name("") => f.write_str("[]"),
            Part::Name(name) if self.parent.is_some() => write!(f, ".{name}"),
            Part::Name(name) => f.write_str(name),
            Part::Index(at) => write!(f, "[{at}]"),
            Part::Key(key) => write!(f, "[{key}]"),
        }
    }
}

/// A value as Go prints it.
#[derive(Debug, Clone)]
pub(super) struct GoValue(String);

impl GoValue {
    /// Text that is in Go's syntax already.
    pub(super) fn formatted(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<&str> for GoValue {
    fn from(text: &str) -> Self {
        Self(quote(text))
    }
}

impl From<&String> for GoValue {
    fn from(text: &String) -> Self {
        Self(quote(text))
    }
}

impl From<i64> for GoValue {
    fn from(number: i64) -> Self {
        Self(number.to_string())
    }
}

impl From<bool> for GoValue {
    fn from(flag: bool) -> Self {
        Self(flag.to_string())
    }
}

/// Validation errors in the order in which they were found (upstream's `field.ErrorList`).
#[derive(Debug, Default)]
pub struct ErrorList(Vec<FieldError>);

impl ErrorList {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn into_vec(self) -> Vec<FieldError> {
        self.0
    }

    fn push(&mut self, path: &Path<'_>, error_type: ErrorType, detail: &str) {
        self.0.push(FieldError {
            field: path.to_string(),
            error_type,
            detail: detail.to_owned(),
        });
    }

    pub(super) fn required(&mut self, path: &Path<'_>, detail: &str) {
        self.push(path, ErrorType::Required, detail);
    }

    pub(super) fn invalid(&mut self, path: &Path<'_>, value: impl Into<GoValue>, detail: &str) {
        self.push(path, ErrorType::Invalid(value.into().0), detail);
    }

    /// Adds an error `Invalid value` for each detail.
    pub(super) fn invalid_all(&mut self, path: &Path<'_>, value: &str, details: &[String]) {
        for detail in details {
            self.invalid(path, value, detail);
        }
    }

    pub(super) fn not_supported(
        &mut self,
        path: &Path<'_>,
        value: impl Into<GoValue>,
        supported: &[&str],
    ) {
        let list: Vec<String> = supported.iter().map(|text| quote(text)).collect();
        let detail = format!("supported values: {}", list.join(", "));
        self.push(path, ErrorType::NotSupported(value.into().0), &detail);
    }

    pub(super) fn duplicate(&mut self, path: &Path<'_>, value: impl Into<GoValue>) {
        self.push(path, ErrorType::Duplicate(value.into().0), "");
    }

    pub(super) fn duplicate_why(
        &mut self,
        path: &Path<'_>,
        value: impl Into<GoValue>,
        detail: &str,
    ) {
        self.push(path, ErrorType::Duplicate(value.into().0), detail);
    }

    pub(super) fn forbidden(&mut self, path: &Path<'_>, detail: &str) {
        self.push(path, ErrorType::Forbidden, detail);
    }

    pub(super) fn too_long(&mut self, path: &Path<'_>, limit: usize) {
        self.push(
            path,
            ErrorType::TooLong,
            &format!("may not be more than {limit} bytes"),
        );
    }

    pub(super) fn too_many(&mut self, path: &Path<'_>, found: usize, limit: usize) {
        let items = if limit == 1 { "item" } else { "items" };
        let detail = format!("must have at most {limit} {items}");
        self.push(path, ErrorType::TooMany(found.to_string()), &detail);
    }

    pub(super) fn not_found(&mut self, path: &Path<'_>, value: impl Into<GoValue>) {
        self.push(path, ErrorType::NotFound(value.into().0), "");
    }

    /// Adds an error if the number is negative (upstream's `ValidateNonnegativeField`).
    pub(super) fn non_negative(&mut self, path: &Path<'_>, value: i64) {
        if value < 0 {
            self.invalid(path, value, "must be greater than or equal to 0");
        }
    }

    /// Adds an error unless the value is one of the supported ones.
    pub(super) fn one_of(&mut self, path: &Path<'_>, value: &str, supported: &[&str]) {
        if !supported.contains(&value) {
            self.not_supported(path, value, supported);
        }
    }

    /// Adds an error unless the value is one of the supported ones; an empty one is reported as
    /// missing.
    pub(super) fn required_one_of(&mut self, path: &Path<'_>, value: &str, supported: &[&str]) {
        if value.is_empty() {
            self.required(path, "");
        } else {
            self.one_of(path, value, supported);
        }
    }
}
