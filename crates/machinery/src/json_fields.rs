//! Access to the fields of a [`serde_json::Value`] as if it were one of upstream's Go structs: an
//! absent field reads as the zero value of its type.

use serde_json::{Map, Value, json};

/// Reads the fields of an object; a value that is no object has none.
pub(crate) trait ReadFields {
    /// The string in a field, or `""`.
    fn text(&self, name: &str) -> &str;
    /// The whole number in a field, or 0.
    fn int(&self, name: &str) -> i64;
    /// The boolean in a field, or `false`.
    fn flag(&self, name: &str) -> bool;
    /// The items of the list in a field, or none.
    fn items(&self, name: &str) -> &[Value];
    /// The entries of the object in a field, if there is one.
    fn entries(&self, name: &str) -> Option<&Map<String, Value>>;
    /// The value of a field, unless it is absent or null.
    fn field(&self, name: &str) -> Option<&Value>;
    /// Whether a field is neither absent nor null.
    fn has(&self, name: &str) -> bool {
        self.field(name).is_some()
    }
}

impl ReadFields for Value {
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

/// Changes the fields of an object; a value that is no object is replaced by one.
pub(crate) trait WriteFields {
    /// Sets a field, whatever its value was; null removes it.
    fn put(&mut self, name: &str, value: impl Into<Value>);
    /// Removes a field if it is there.
    fn remove_field(&mut self, name: &str);
    /// The object in a field; any other value there is replaced by an empty object.
    fn member(&mut self, name: &str) -> &mut Value;
    /// The items of the list in a field, or none.
    fn items_mut<'a>(&'a mut self, name: &str) -> impl Iterator<Item = &'a mut Value>;
}

impl WriteFields for Value {
    fn put(&mut self, name: &str, value: impl Into<Self>) {
        match value.into() {
            Self::Null => self.remove_field(name),
            value => {
                if !self.is_object() {
                    *self = json!({});
                }
                self[name] = value;
            }
        }
    }

    fn remove_field(&mut self, name: &str) {
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
