//! Encodes the OpenAPI v2 document as protobuf, the only form in which kubectl reads version 2.
//! kubectl requests it for manifests of kind `List` and for kinds that cannot be patched.
//!
//! The messages are those of `gnostic` (`openapi.v2`). Encoded is what clients read: schemas, and
//! the paths with their operations and query parameters.

use serde_json::{Map, Value};

/// Encodes a document of version 2.
#[must_use]
pub fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, &document["swagger"]);
    out.message(2, |info| {
        info.text(1, &document["info"]["title"]);
        info.text(2, &document["info"]["version"]);
    });
    out.message(8, |paths| {
        for (path, item) in entries(&document["paths"]) {
            paths.named(2, path, |out| path_item(out, item));
        }
    });
    out.message(9, |definitions| {
        for (name, definition) in entries(&document["definitions"]) {
            definitions.named(1, name, |out| schema(out, definition));
        }
    });
    out.bytes
}

fn path_item(out: &mut Message, item: &Value) {
    for (number, method) in [
        (2, "get"),
        (3, "put"),
        (4, "post"),
        (5, "delete"),
        (8, "patch"),
    ] {
        if let Some(found) = item.get(method) {
            out.message(number, |out| operation(out, found));
        }
    }
    for found in list(&item["parameters"]) {
        out.message(9, |out| parameter(out, found));
    }
}

fn operation(out: &mut Message, operation: &Value) {
    out.texts(1, &operation["tags"]);
    out.text(3, &operation["description"]);
    out.text(5, &operation["operationId"]);
    out.texts(6, &operation["produces"]);
    out.texts(7, &operation["consumes"]);
    for found in list(&operation["parameters"]) {
        out.message(8, |out| parameter(out, found));
    }
    out.message(9, |responses| {
        for (code, answer) in entries(&operation["responses"]) {
            // ResponseValue { response }
            responses.named(1, code, |value| {
                value.message(1, |out| response(out, answer));
            });
        }
    });
    out.extensions(13, operation);
}

fn response(out: &mut Message, response: &Value) {
    out.text(1, &response["description"]);
    if let Some(found) = response.get("schema") {
        // SchemaItem { schema }
        out.message(2, |item| item.message(1, |out| schema(out, found)));
    }
}

/// `ParametersItem { parameter { body | non-body { query | path } } }`
fn parameter(out: &mut Message, found: &Value) {
    let place = found["in"].as_str();
    out.message(1, |out| match place {
        Some("body") => out.message(1, |out| {
            out.text(2, &found["name"]);
            out.text(3, &found["in"]);
            out.flag(4, &found["required"]);
            out.message(5, |out| schema(out, &found["schema"]));
        }),
        _ => out.message(2, |out| {
            let query = place == Some("query");
            out.message(if query { 3 } else { 4 }, |out| {
                out.flag(1, &found["required"]);
                out.text(2, &found["in"]);
                out.text(3, &found["description"]);
                out.text(4, &found["name"]);
                out.text(if query { 6 } else { 5 }, &found["type"]);
                out.flag(if query { 20 } else { 19 }, &found["uniqueItems"]);
            });
        }),
    });
}

fn schema(out: &mut Message, schema_: &Value) {
    out.text(1, &schema_["$ref"]);
    out.text(2, &schema_["format"]);
    out.text(3, &schema_["title"]);
    out.text(4, &schema_["description"]);
    if let Some(default) = schema_.get("default") {
        out.message(5, |any| any.yaml(default));
    }
    limits(out, schema_);
    out.texts(19, &schema_["required"]);
    for value in list(&schema_["enum"]) {
        out.message(20, |any| any.yaml(value));
    }
    match schema_.get("additionalProperties") {
        Some(allowed @ Value::Bool(_)) => out.message(21, |item| item.flag(2, allowed)),
        Some(found) => out.message(21, |item| item.message(1, |out| schema(out, found))),
        None => {}
    }
    if schema_["type"].is_string() {
        out.message(22, |item| item.text(1, &schema_["type"]));
    }
    if let Some(found) = schema_.get("items") {
        out.message(23, |item| item.message(1, |out| schema(out, found)));
    }
    if let Some(found) = schema_.get("properties") {
        out.message(25, |properties| {
            for (name, property) in entries(found) {
                properties.named(1, name, |out| schema(out, property));
            }
        });
    }
    if let Some(found) = schema_.get("externalDocs") {
        out.message(29, |out| {
            out.text(1, &found["description"]);
            out.text(2, &found["url"]);
        });
    }
    if let Some(example) = schema_.get("example") {
        out.message(30, |any| any.yaml(example));
    }
    out.extensions(31, schema_);
}

/// The keywords that limit a value.
fn limits(out: &mut Message, schema: &Value) {
    out.double(6, &schema["multipleOf"]);
    out.double(7, &schema["maximum"]);
    out.flag(8, &schema["exclusiveMaximum"]);
    out.double(9, &schema["minimum"]);
    out.flag(10, &schema["exclusiveMinimum"]);
    out.count(11, &schema["maxLength"]);
    out.count(12, &schema["minLength"]);
    out.text(13, &schema["pattern"]);
    out.count(14, &schema["maxItems"]);
    out.count(15, &schema["minItems"]);
    out.flag(16, &schema["uniqueItems"]);
    out.count(17, &schema["maxProperties"]);
    out.count(18, &schema["minProperties"]);
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// An encoded message. Empty values are not written.
#[derive(Default)]
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn integer(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes
                .push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
            number >>= 7;
        }
        self.bytes.push(u8::try_from(number).unwrap_or_default());
    }

    fn raw(&mut self, number: u64, content: &[u8]) {
        self.integer(number << 3 | 2);
        self.integer(u64::try_from(content.len()).unwrap_or_default());
        self.bytes.extend_from_slice(content);
    }

    fn message(&mut self, number: u64, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.raw(number, &inner.bytes);
    }

    /// An entry of a map: `{ name = 1, value = 2 }`.
    fn named(&mut self, number: u64, name: &str, fill: impl FnOnce(&mut Self)) {
        self.message(number, |entry| {
            entry.raw(1, name.as_bytes());
            entry.message(2, fill);
        });
    }

    fn text(&mut self, number: u64, value: &Value) {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            self.raw(number, text.as_bytes());
        }
    }

    fn texts(&mut self, number: u64, values: &Value) {
        for value in list(values) {
            self.text(number, value);
        }
    }

    fn flag(&mut self, number: u64, value: &Value) {
        if value.as_bool() == Some(true) {
            self.integer(number << 3);
            self.integer(1);
        }
    }

    fn count(&mut self, number: u64, value: &Value) {
        if let Some(count) = value.as_u64().filter(|count| *count > 0) {
            self.integer(number << 3);
            self.integer(count);
        }
    }

    fn double(&mut self, number: u64, value: &Value) {
        if let Some(double) = value.as_f64().filter(|double| *double != 0.0) {
            self.integer(number << 3 | 1);
            self.bytes.extend_from_slice(&double.to_le_bytes());
        }
    }

    /// `Any { yaml = 2 }`; JSON is YAML.
    fn yaml(&mut self, value: &Value) {
        self.raw(2, format!("{value}\n").as_bytes());
    }

    fn extensions(&mut self, number: u64, value: &Value) {
        for (name, extension) in entries(value).filter(|(name, _)| name.starts_with("x-")) {
            self.named(number, name, |any| any.yaml(extension));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_enumerations_and_open_maps_are_encoded() {
        let schema = json!({"title": "a", "minimum": 0.5, "exclusiveMinimum": true,
            "maxLength": 300, "pattern": "b", "enum": [1], "additionalProperties": true,
            "externalDocs": {"url": "c"}, "example": 2});
        let mut expected = b"\x1a\x01a\x49".to_vec();
        expected.extend(0.5_f64.to_le_bytes());
        expected.extend(b"\x50\x01\x58\xac\x02\x6a\x01b\xa2\x01\x04\x12\x021\n");
        expected.extend(b"\xaa\x01\x02\x10\x01\xea\x01\x03\x12\x01c\xf2\x01\x04\x12\x022\n");
        let mut out = Message::default();
        super::schema(&mut out, &schema);
        assert_eq!(out.bytes, expected);
    }
}
