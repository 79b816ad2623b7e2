//! Collects faults; paths are only written out when there is something to say.

use super::golang::quote;
use super::{ErrorType, FieldError};

#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    Name(&'a str),
    Index(usize),
    Key(&'a str),
}

/// Where a field is: a chain up to the root, kept on the stack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    parent: Option<&'a Self>,
    part: Part<'a>,
}

impl<'a> Path<'a> {
    /// A path that starts here.
    pub(super) const fn root(name: &'a str) -> Self {
        Self {
            parent: None,
            part: Part::Name(name),
        }
    }

    /// `this.name`
    pub(super) const fn child(&'a self, name: &'a str) -> Self {
        Self {
            parent: Some(self),
            part: Part::Name(name),
        }
    }

    /// `this[3]`
    pub(super) const fn index(&'a self, at: usize) -> Self {
        Self {
            parent: Some(self),
            part: Part::Index(at),
        }
    }

    /// `this[key]`
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
            // The object as a whole.
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
pub(super) struct Shown(String);

impl Shown {
    /// Already in Go's syntax.
    pub(super) fn go(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Shown {
    fn from(text: &str) -> Self {
        Self(quote(text))
    }
}

impl From<&String> for Shown {
    fn from(text: &String) -> Self {
        Self(quote(text))
    }
}

impl From<i64> for Shown {
    fn from(number: i64) -> Self {
        Self(number.to_string())
    }
}

impl From<bool> for Shown {
    fn from(flag: bool) -> Self {
        Self(flag.to_string())
    }
}

/// Faults in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<FieldError>);

impl Faults {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn into_vec(self) -> Vec<FieldError> {
        self.0
    }

    fn push(&mut self, path: &Path<'_>, what: ErrorType, detail: &str) {
        self.0.push(FieldError {
            field: path.to_string(),
            what,
            detail: detail.to_owned(),
        });
    }

    pub(super) fn required(&mut self, path: &Path<'_>, detail: &str) {
        self.push(path, ErrorType::Required, detail);
    }

    pub(super) fn invalid(&mut self, path: &Path<'_>, value: impl Into<Shown>, detail: &str) {
        self.push(path, ErrorType::Invalid(value.into().0), detail);
    }

    /// One fault for each text.
    pub(super) fn invalid_all(&mut self, path: &Path<'_>, value: &str, details: &[String]) {
        for detail in details {
            self.invalid(path, value, detail);
        }
    }

    pub(super) fn not_supported(
        &mut self,
        path: &Path<'_>,
        value: impl Into<Shown>,
        supported: &[&str],
    ) {
        let list: Vec<String> = supported.iter().map(|text| quote(text)).collect();
        let detail = format!("supported values: {}", list.join(", "));
        self.push(path, ErrorType::NotSupported(value.into().0), &detail);
    }

    pub(super) fn duplicate(&mut self, path: &Path<'_>, value: impl Into<Shown>) {
        self.push(path, ErrorType::Duplicate(value.into().0), "");
    }

    pub(super) fn duplicate_why(&mut self, path: &Path<'_>, value: impl Into<Shown>, detail: &str) {
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

    pub(super) fn not_found(&mut self, path: &Path<'_>, value: impl Into<Shown>) {
        self.push(path, ErrorType::NotFound(value.into().0), "");
    }

    /// The rule of counters, seconds and sizes.
    pub(super) fn non_negative(&mut self, path: &Path<'_>, value: i64) {
        if value < 0 {
            self.invalid(path, value, "must be greater than or equal to 0");
        }
    }

    /// An optional choice out of a few words, `""` being none of them.
    pub(super) fn one_of(&mut self, path: &Path<'_>, value: &str, supported: &[&str]) {
        if !supported.contains(&value) {
            self.not_supported(path, value, supported);
        }
    }

    /// A choice that must be made.
    pub(super) fn required_one_of(&mut self, path: &Path<'_>, value: &str, supported: &[&str]) {
        if value.is_empty() {
            self.required(path, "");
        } else {
            self.one_of(path, value, supported);
        }
    }
}
