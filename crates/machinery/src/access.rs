//! Short ways to read a [`serde_json::Value`]: a missing field reads as Go's zero value.
//!
//! Upstream works on structs, where a field that was not sent is empty; these readers give the same view.

use serde_json::{Map, Value, json};

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

/// Writers of the fields of an object; a value that is no object becomes one.
pub(crate) trait Edit {
    /// Sets a field whatever it was; null removes it.
    fn put(&mut self, name: &str, value: impl Into<Value>);
    /// Removes a field.
    fn cut(&mut self, name: &str);
    /// The object in a field, made if it is not there.
    fn member(&mut self, name: &str) -> &mut Value;
    /// The items of a list, none if there is no list.
    fn items_mut<'a>(&'a mut self, name: &str) -> impl Iterator<Item = &'a mut Value>;
}

impl Edit for Value {
    fn put(&mut self, name: &str, value: impl Into<Self>) {
        match value.into() {
            Self::Null => self.cut(name),
            value => {
                if !self.is_object() {
                    *self = json!({});
                }
                self[name] = value;
            }
        }
    }

    fn cut(&mut self, name: &str) {
        if let Some(fields) = self.as_object_mut() {
            fields.remove(name);
        }
    }

    fn member(&mut self, name: &str) -> &mut Self {
        if !self.is_object() {
            *self = json!({});
        }
        let value = &mut self[name];
        if !value.is_object() {
            *value = json!({});
        }
        value
    }

    fn items_mut<'a>(&'a mut self, name: &str) -> impl Iterator<Item = &'a mut Self> {
        self.get_mut(name)
            .and_then(Self::as_array_mut)
            .into_iter()
            .flatten()
    }
}
