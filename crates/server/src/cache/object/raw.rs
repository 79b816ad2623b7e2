//! The parts of a stored object that are read without parsing it: its metadata, the field by which
//! its kind is indexed, single fields of its spec.

use std::{borrow::Cow, fmt};

use pandaemon_machinery::kind::IndexedField;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Error, Map, Value, value::RawValue};

/// Raw parts of an encoded object.
#[derive(Debug)]
pub(super) struct RawHead<'a> {
    pub(super) metadata: &'a RawValue,
    pub(super) indexed: Option<&'a RawValue>,
}

/// Reads the head of an encoded object.
///
/// # Errors
/// For bytes that are no JSON object with metadata.
pub(super) fn read(bytes: &[u8], index: Option<IndexedField>) -> Result<RawHead<'_>, Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    HeadOf(index).deserialize(&mut deserializer)
}

/// The fields of an encoded object that are named.
///
/// # Errors
/// For bytes that are no JSON object.
pub(crate) fn pick(bytes: &[u8], names: &[&str]) -> Result<Value, Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Picked(names)
        .deserialize(&mut deserializer)
        .map(Value::Object)
}

/// A name of a field; without escapes it is not copied.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct HeadOf(Option<IndexedField>);

impl<'de> DeserializeSeed<'de> for HeadOf {
    type Value = RawHead<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawHead<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeadOf {
    type Value = RawHead<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<RawHead<'de>, A::Error> {
        let (mut metadata, mut indexed) = (None, None);
        while let Some(Name(name)) = access.next_key()? {
            match self.0 {
                _ if name == "metadata" => metadata = Some(access.next_value()?),
                Some(index) if name == index.part => {
                    indexed = access.next_value_seed(RawField(index.name))?;
                }
                _ => drop(access.next_value::<IgnoredAny>()?),
            }
        }
        let metadata = metadata.ok_or_else(|| A::Error::missing_field("metadata"))?;
        Ok(RawHead { metadata, indexed })
    }
}

/// One field of an object, not parsed.
struct RawField(&'static str);

impl<'de> DeserializeSeed<'de> for RawField {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RawField {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Name(name)) = access.next_key()? {
            if name == self.0 {
                found = Some(access.next_value()?);
            } else {
                access.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Some fields of an object.
struct Picked<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Picked<'_> {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Picked<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut fields = Map::new();
        while let Some(Name(name)) = access.next_key()? {
            if self.0.contains(&&*name) {
                fields.insert(name.into_owned(), access.next_value()?);
            } else {
                access.next_value::<IgnoredAny>()?;
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_named_fields_of_an_object_are_parsed() {
        let spec = br#"{"nodeName":"a","containers":[{"nodeName":"b"}],"initContainers":[1]}"#;
        let picked = pick(spec, &["nodeName", "initContainers", "missing"]).unwrap();
        assert_eq!(picked, json!({"nodeName": "a", "initContainers": [1]}));
        assert!(pick(b"[]", &[]).is_err());
    }

    #[test]
    fn an_object_without_metadata_has_no_head() {
        assert!(read(br#"{"kind":"Pod"}"#, None).is_err());
        let head = read(br#"{"metadata":{},"spec":{"nodeName":"a"}}"#, None).unwrap();
        assert_eq!((head.metadata.get(), head.indexed.is_none()), ("{}", true));
    }
}
