//! Short ways to read a [`serde_json::Value`]: a missing field reads as Go's zero value.
//!
//! Upstream works on structs, where a field that was not sent is empty; these readers give the same view.

use serde_json::{Map, Value};

/// Readers of the fields of an object.
pub(crate) trait Access {
    /// The string, or `""`.
    fn text(&self, name: &str) -> &str;
    /// The whole number, or 0.
    fn int(&self, name: &str) -> i64;
    /// The flag, or `false`.
    fn flag(&self, name: &str) -> bool;
    /// The items of a list, or none.
    fn items(&self, name: &str) -> &[Value];
    /// The entries of an object, if there is one.
    fn entries(&self, name: &str) -> Option<&Map<String, Value>>;
    /// The field, if it is set and not null.
    fn field(&self, name: &str) -> Option<&Value>;
    /// Whether the field is set and not null.
    fn has(&self, name: &str) -> bool {
        self.field(name).is_some()
    }
}

impl Access for Value {
    fn text(&self, name: &str) -> &str {
        self.get(name).and_then(Self::as_str).unwrap_or_default()
    }

    fn int(&self, name: &str) -> i64 {
        self.get(name).and_then(Self::as_i64).unwrap_or_default()
    }

    fn flag(&self, name: &str) -> bool {
        self.get(name).and_then(Self::as_bool).unwrap_or_default()
    }

    fn items(&self, name: &str) -> &[Self] {
        self.get(name)
            .and_then(Self::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    fn entries(&self, name: &str) -> Option<&Map<String, Self>> {
        self.get(name).and_then(Self::as_object)
    }

    fn field(&self, name: &str) -> Option<&Self> {
        self.get(name).filter(|value| !value.is_null())
    }
}
