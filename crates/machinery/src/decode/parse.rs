//! Parses JSON and YAML, and collects duplicate keys; the last value of a key counts, as in Go.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::path::{Path, Step};
use crate::{
    bounds::{MAX_DEPTH, Room, Texts},
    go_text,
};

/// A parsed body.
#[derive(Debug)]
pub(super) struct Parsed {
    /// The value that was parsed.
    pub(super) value: Value,
    /// A text for each duplicate key, such as `duplicate field "data.a"`.
    pub(super) duplicates: Texts,
}

/// How a duplicate key is reported.
type Report = fn(&Path<'_>) -> String;

/// What is known of a body while it is parsed.
struct State<'r> {
    room: &'r mut Room,
    duplicates: Texts,
    report: Report,
}

/// Parses one JSON value.
///
/// # Errors
/// The text of Go's decoder for a syntax error, ours for too many values.
pub(super) fn from_json(body: &[u8]) -> Result<Parsed, String> {
    json(body, &mut Room::default()).map_err(|error| go_text::syntax_error(body, &error))
}

/// As [`from_json`], with this room for its values.
pub(super) fn json(body: &[u8], room: &mut Room) -> Result<Parsed, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let mut state = State {
        room,
        duplicates: Texts::default(),
        report: |path| format!("duplicate field \"{path}\""),
    };
    let value = Node::root(&mut state).deserialize(&mut reader)?;
    reader.end()?;
    Ok(Parsed {
        value,
        duplicates: state.duplicates,
    })
}

/// Parses one YAML document.
///
/// # Errors
/// Upstream's prefix and the text of our YAML parser, or of ours for too many values.
pub(super) fn from_yaml(body: &[u8]) -> Result<Parsed, String> {
    let wrong = |why: &str| format!("error converting YAML to JSON: yaml: {why}");
    let text = std::str::from_utf8(body).map_err(|_| wrong("invalid leading UTF-8 octet"))?;
    // Go's parser follows YAML 1.1, in which numbers such as `0640` are octal.
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
    };
    let mut room = Room::default();
    let mut state = State {
        room: &mut room,
        duplicates: Texts::default(),
        report: |path| {
            let (Step::Field(name) | Step::Key(name)) = path.step else {
                return String::new();
            };
            format!("yaml: unmarshal errors:\n  key \"{name}\" already set in map")
        },
    };
    let value = serde_saphyr::with_deserializer_from_str_with_options(text, options, |reader| {
        Node::root(&mut state).deserialize(reader)
    })
    .map_err(|error| wrong(error.to_string().lines().next().unwrap_or_default()))?;
    Ok(Parsed {
        value,
        duplicates: state.duplicates,
    })
}

/// Deserializes the value at `path`, and collects the paths of duplicate keys.
struct Node<'a, 'r> {
    path: Option<&'a Path<'a>>,
    /// How many levels are above it.
    depth: usize,
    state: &'a mut State<'r>,
}

impl<'a, 'r> Node<'a, 'r> {
    fn root(state: &'a mut State<'r>) -> Self {
        Self {
            path: None,
            depth: 0,
            state,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.state.room.value().map_err(D::Error::custom)?;
        if self.depth > MAX_DEPTH {
            return Err(D::Error::custom("exceeded max depth"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
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
                depth: self.depth + 1,
                state: &mut *self.state,
            };
            match access.next_element_seed(seed)? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.state.room.object().map_err(A::Error::custom)?;
        let mut map = Map::new();
        while let Some(key) = access.next_key_seed(Key(Node {
            path: None,
            depth: self.depth + 1,
            state: &mut *self.state,
        }))? {
            let path = Path {
                parent: self.path,
                step: Step::Key(&key),
            };
            if map.contains_key(&key) {
                let report = self.state.report;
                self.state.duplicates.add_distinct(Reported(report, &path));
            }
            let value = access.next_value_seed(Node {
                path: Some(&path),
                depth: self.depth + 1,
                state: &mut *self.state,
            })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// A duplicate key, formatted where it is shown.
struct Reported<'a>(Report, &'a Path<'a>);

impl fmt::Display for Reported<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&(self.0)(self.1))
    }
}

/// Deserializes a key of a map. YAML keys may be booleans or numbers, which become strings.
struct Key<'a, 'r>(Node<'a, 'r>);

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        match self.0.deserialize(deserializer)? {
            Value::String(text) => Ok(text),
            scalar @ (Value::Bool(_) | Value::Number(_)) => Ok(scalar.to_string()),
            _ => Err(D::Error::custom("invalid map key")),
        }
    }
}
