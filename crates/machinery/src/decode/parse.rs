//! Parses JSON and YAML, and collects duplicate keys; the last value of a key counts, as in Go.

use std::{collections::BTreeSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{
    go_errors::MAX_STRICT_ERRORS,
    path::{Path, Step},
};
use crate::go_text;

/// A parsed body.
#[derive(Debug)]
pub(super) struct Parsed {
    /// The value that was parsed.
    pub(super) value: Value,
    /// A text for each duplicate key, such as `duplicate field "data.a"`.
    pub(super) duplicates: Vec<String>,
}

/// Parses one JSON value.
///
/// # Errors
/// The text of Go's decoder for a syntax error.
pub(super) fn from_json(body: &[u8]) -> Result<Parsed, String> {
    let mut duplicates = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(body);
    let seed = Node {
        path: None,
        duplicates: &mut duplicates,
    };
    let value = seed
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| go_text::syntax_error(body, &error))?;
    let duplicates = duplicates
        .iter()
        .map(|path| format!("duplicate field \"{path}\""))
        .collect();
    Ok(Parsed { value, duplicates })
}

/// Parses one YAML document.
///
/// # Errors
/// Upstream's prefix and the text of our YAML parser.
pub(super) fn from_yaml(body: &[u8]) -> Result<Parsed, String> {
    let wrong = |why: String| format!("error converting YAML to JSON: yaml: {why}");
    let text =
        std::str::from_utf8(body).map_err(|_| wrong("invalid leading UTF-8 octet".into()))?;
    // Go's parser follows YAML 1.1, in which numbers such as `0640` are octal.
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
    };
    let mut duplicates = Vec::new();
    let value = serde_saphyr::with_deserializer_from_str_with_options(text, options, |reader| {
        Node {
            path: None,
            duplicates: &mut duplicates,
        }
        .deserialize(reader)
    })
    .map_err(|error| {
        wrong(
            error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        )
    })?;
    let name = |path: &String| path.rsplit('.').next().unwrap_or_default().to_owned();
    let duplicates = duplicates
        .iter()
        .map(|path| {
            format!(
                "yaml: unmarshal errors:\n  key \"{}\" already set in map",
                name(path)
            )
        })
        .collect();
    Ok(Parsed { value, duplicates })
}

/// Deserializes the value at `path`, and collects the paths of duplicate keys.
struct Node<'a> {
    path: Option<&'a Path<'a>>,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let path = Path {
                parent: self.path,
                step: Step::Index(items.len()),
            };
            let seed = Node {
                path: Some(&path),
                duplicates: &mut *self.duplicates,
            };
            match access.next_element_seed(seed)? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let mut reported = BTreeSet::new();
        while let Some(key) = access.next_key_seed(Key)? {
            let path = Path {
                parent: self.path,
                step: Step::Key(&key),
            };
            if self.duplicates.len() < MAX_STRICT_ERRORS
                && map.contains_key(&key)
                && reported.insert(key.clone())
            {
                self.duplicates.push(path.to_string());
            }
            let value = access.next_value_seed(Node {
                path: Some(&path),
                duplicates: &mut *self.duplicates,
            })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// Deserializes a key of a map. YAML keys may be booleans or numbers, which become strings.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        match (Node {
            path: None,
            duplicates: &mut Vec::new(),
        })
        .deserialize(deserializer)?
        {
            Value::String(text) => Ok(text),
            scalar @ (Value::Bool(_) | Value::Number(_)) => Ok(scalar.to_string()),
            _ => Err(D::Error::custom("invalid map key")),
        }
    }
}
