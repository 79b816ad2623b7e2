//! A list of validation errors, and paths that are turned into text only for an error.

use super::{ErrorType, FieldError};
use crate::{
    bounds::{MAX_BYTES, MAX_TEXTS, cut_off, shorten},
    go_text::quote,
};

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

impl From<&Self> for GoValue {
    fn from(value: &Self) -> Self {
        value.clone()
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
///
/// An object can have as many errors as it has fields, and each can show a large part of it. So
/// the first ones are kept, long texts are cut off, and the others are only counted: they are not
/// even formatted.
#[derive(Debug, Default)]
pub struct ErrorList {
    kept: Vec<FieldError>,
    /// Size of the texts in `kept`.
    bytes: usize,
    /// Number of the errors that are not kept.
    omitted: usize,
}

impl ErrorList {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of errors, also of those that are not kept.
    pub(super) fn len(&self) -> usize {
        self.kept.len() + self.omitted
    }

    /// The errors; the last says how many were left out, if any were.
    pub(super) fn into_vec(mut self) -> Vec<FieldError> {
        if self.omitted > 0 {
            let what = ErrorType::Omitted(self.omitted);
            self.kept.push(FieldError::new("", what, ""));
        }
        self.kept
    }

    fn push(&mut self, path: &Path<'_>, what: impl FnOnce() -> ErrorType, detail: &str) {
        if self.kept.len() >= MAX_TEXTS || self.bytes >= MAX_BYTES {
            self.omitted += 1;
            return;
        }
        let mut error = FieldError::new(path.to_string(), what(), cut_off(detail));
        shorten(&mut error.field);
        self.bytes += error.field.len() + error.detail.len();
        if let Some(value) = error.error_type.value_mut() {
            shorten(value);
            self.bytes += value.len();
        }
        self.kept.push(error);
    }

    pub(super) fn required(&mut self, path: &Path<'_>, detail: &str) {
        self.push(path, || ErrorType::Required, detail);
    }

    pub(super) fn invalid(&mut self, path: &Path<'_>, value: impl Into<GoValue>, detail: &str) {
        self.push(path, || ErrorType::Invalid(value.into().0), detail);
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
        self.push(path, || ErrorType::NotSupported(value.into().0), &detail);
    }

    pub(super) fn duplicate(&mut self, path: &Path<'_>, value: impl Into<GoValue>) {
        self.push(path, || ErrorType::Duplicate(value.into().0), "");
    }

    pub(super) fn duplicate_why(
        &mut self,
        path: &Path<'_>,
        value: impl Into<GoValue>,
        detail: &str,
    ) {
        self.push(path, || ErrorType::Duplicate(value.into().0), detail);
    }

    pub(super) fn forbidden(&mut self, path: &Path<'_>, detail: &str) {
        self.push(path, || ErrorType::Forbidden, detail);
    }

    pub(super) fn too_long(&mut self, path: &Path<'_>, limit: usize) {
        self.push(
            path,
            || ErrorType::TooLong,
            &format!("may not be more than {limit} bytes"),
        );
    }

    pub(super) fn too_many(&mut self, path: &Path<'_>, found: usize, limit: usize) {
        let items = if limit == 1 { "item" } else { "items" };
        let detail = format!("must have at most {limit} {items}");
        self.push(path, || ErrorType::TooMany(found.to_string()), &detail);
    }

    pub(super) fn not_found(&mut self, path: &Path<'_>, value: impl Into<GoValue>) {
        self.push(path, || ErrorType::NotFound(value.into().0), "");
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
