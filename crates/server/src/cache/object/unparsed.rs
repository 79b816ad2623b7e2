//! Objects of which some parts stay encoded: most of a pod is spec and managedFields, and most
//! writes change neither.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

use super::{Error, Object, head::Span};

/// Encoded parts of an object that are not parsed: most of a pod, and what most changes keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unparsed<'a> {
    /// The encoded `spec`.
    pub spec: Option<&'a [u8]>,
    /// The value by which the kind is indexed, as a part of the encoded `spec`.
    pub indexed: Span,
    /// The encoded `metadata.managedFields`.
    pub managed_fields: Option<&'a [u8]>,
}

impl Unparsed<'_> {
    /// Number of their bytes.
    pub(super) fn len(&self) -> usize {
        let len = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        len(self.spec) + len(self.managed_fields)
    }
}

/// Which parts of an object [`Object::value_without`] does not parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// The spec, which most writes of pods leave alone.
    Spec,
    /// `metadata.managedFields`.
    ManagedFields,
    /// The spec and `metadata.managedFields`.
    SpecAndManagedFields,
}

/// Reads a JSON object; the fields for which `unparsed` gives a place are not parsed.
struct Partly<'p, 'de> {
    skip: Skip,
    /// Whether this is the object itself, and not its metadata.
    is_root: bool,
    unparsed: &'p mut Unparsed<'de>,
}

impl<'p, 'de> Partly<'p, 'de> {
    /// The place of a field that is not parsed.
    fn place(&mut self, field: &str) -> Option<&mut Option<&'de [u8]>> {
        match field {
            "spec" if self.is_root && self.skip != Skip::ManagedFields => {
                Some(&mut self.unparsed.spec)
            }
            "managedFields" if !self.is_root => Some(&mut self.unparsed.managed_fields),
            _ => None,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Partly<'_, 'de> {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Partly<'_, 'de> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if let Some(place) = self.place(&name) {
                *place = Some(access.next_value::<&RawValue>()?.get().as_bytes());
            } else if self.is_root && self.skip != Skip::Spec && name == "metadata" {
                let metadata = Partly {
                    skip: self.skip,
                    is_root: false,
                    unparsed: &mut *self.unparsed,
                };
                let metadata = access.next_value_seed(metadata)?;
                fields.insert(name, Value::Object(metadata));
            } else {
                fields.insert(name, access.next_value()?);
            }
        }
        Ok(fields)
    }
}

impl Object {
    /// The parsed object with its resource version but without some parts, and these encoded.
    ///
    /// # Errors
    /// [`Error::Unreadable`] for bytes that are not JSON.
    pub fn value_without(&self, skip: Skip) -> Result<(Value, Unparsed<'_>), Error> {
        let mut unparsed = Unparsed::default();
        let mut deserializer = serde_json::Deserializer::from_slice(&self.bytes);
        let partly = Partly {
            skip,
            is_root: true,
            unparsed: &mut unparsed,
        };
        let fields = partly.deserialize(&mut deserializer);
        let fields = fields.map_err(|why| self.unreadable(&why))?;
        if let Some(spec) = unparsed.spec {
            unparsed.indexed = self.head.indexed.within(&self.bytes, spec);
        }
        Ok((self.with_version(Value::Object(fields)), unparsed))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use pandaemon_machinery::kind::IndexedField;

    use super::{
        super::{Head, encode, encode_with},
        *,
    };

    const INDEX: Option<IndexedField> = Some(IndexedField {
        path: "spec.nodeName",
        part: "spec",
        name: "nodeName",
    });

    #[test]
    fn unparsed_parts_are_encoded_as_they_were_stored() {
        let managed =
            json!([{"manager": "a\"}]", "fieldsV1": {"f:metadata": {"f:managedFields": {}}}}]);
        for value in [
            json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}, "spec": {"a": "\"}", "nodeName": "n"}, "status": {"b": 1}}),
            json!({"kind": "Pod", "metadata": {"name": "p", "managedFields": managed, "labels": {"a": "b"}}, "data": 1, "spec": {"metadata": {"managedFields": [1]}}}),
            json!({"metadata": {"managedFields": managed, "uid": "u"}, "spec": {"nodeName": null}, "status": {"spec": 1, "managedFields": 2}}),
            json!({"metadata": {"deletionTimestamp": "t", "labels": {}, "managedFields": managed}, "spec": {"nodeName": "n"}}),
            json!({"metadata": {"deletionTimestamp": null, "labels": null}, "spec": "nodeName"}),
            json!({"metadata": {"managedFields": managed}}),
            json!({"metadata": {}}),
        ] {
            let encoded = encode(&value, INDEX).unwrap();
            let read = Head::read(&encoded.bytes, INDEX);
            assert!(!value["spec"].is_string() || read.is_err());
            assert!(read.is_err() || read.unwrap() == encoded.head, "{value}");
            let object = Object::new("/pods/d/p".into(), encoded, 7);
            for skip in [Skip::Spec, Skip::ManagedFields, Skip::SpecAndManagedFields] {
                let (parts, unparsed) = object.value_without(skip).unwrap();
                let again = encode_with(&parts, unparsed, INDEX).unwrap();
                assert_eq!((&again.bytes, again.head), (&object.bytes, object.head));
                let mut whole = object.value().unwrap();
                if skip != Skip::ManagedFields {
                    let spec = whole.as_object_mut().unwrap().remove("spec");
                    assert_eq!(spec.is_some(), unparsed.spec.is_some());
                }
                if skip != Skip::Spec {
                    let metadata = whole["metadata"].as_object_mut().unwrap();
                    let managed = metadata.remove("managedFields");
                    assert_eq!(managed.is_some(), unparsed.managed_fields.is_some());
                }
                assert_eq!(parts, whole);
            }
        }
    }
}
