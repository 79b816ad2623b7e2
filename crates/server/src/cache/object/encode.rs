//! The encoding of objects for the store.

use bytes::Bytes;
use pandaemon_machinery::kind::IndexedField;
use serde_json::{Map, Value};

use super::{
    METADATA, Unparsed,
    head::{Head, Span},
};

/// An encoded object, and where its fields are.
#[derive(Clone)]
pub struct Encoded {
    /// The encoded object without its resource version.
    pub bytes: Bytes,
    /// Where the fields are in the bytes.
    pub head: Head,
}

/// Without the content: it may be a Secret.
impl std::fmt::Debug for Encoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Encoded({} bytes)", self.bytes.len())
    }
}

/// Encodes an object for the store: kind, apiVersion and metadata first, without a resource
/// version. `index` is that of the kind.
///
/// # Errors
/// When a value cannot be written as JSON (it always can).
pub fn encode(value: &Value, index: Option<IndexedField>) -> serde_json::Result<Encoded> {
    encode_with(value, Unparsed::default(), index)
}

/// As [`encode`], with encoded parts that are inserted; `value` does not have them.
///
/// # Errors
/// As [`encode`].
pub fn encode_with(
    value: &Value,
    unparsed: Unparsed<'_>,
    index: Option<IndexedField>,
) -> serde_json::Result<Encoded> {
    let empty = Map::new();
    let fields = value.as_object().unwrap_or(&empty);
    let mut encoder = Encoder {
        out: Vec::with_capacity(1024 + unparsed.len()),
        head: Head::default(),
        index,
    };
    encoder.object(fields, unparsed)?;
    let Encoder { mut out, head, .. } = encoder;
    out.shrink_to_fit();
    Ok(Encoded {
        bytes: out.into(),
        head,
    })
}

/// Writes an object and notes where its fields are.
struct Encoder {
    out: Vec<u8>,
    head: Head,
    index: Option<IndexedField>,
}

impl Encoder {
    fn object(
        &mut self,
        fields: &Map<String, Value>,
        unparsed: Unparsed<'_>,
    ) -> serde_json::Result<()> {
        self.out.push(b'{');
        for name in ["kind", "apiVersion"] {
            if let Some(field) = fields.get(name) {
                self.name(name)?;
                serde_json::to_writer(&mut self.out, field)?;
            }
        }
        self.separate();
        self.metadata(fields.get("metadata"), unparsed.managed_fields)?;
        let mut spec = unparsed.spec.map(|spec| (spec, unparsed.indexed));
        for (name, field) in fields {
            if matches!(name.as_str(), "kind" | "apiVersion" | "metadata") {
                continue;
            }
            if name.as_str() > "spec" {
                self.unparsed_spec(spec.take());
            }
            self.name(name)?;
            match (self.index, field) {
                (Some(index), Value::Object(part)) if index.part == name => {
                    self.indexed_part(part, index.name)?;
                }
                _ => serde_json::to_writer(&mut self.out, field)?,
            }
        }
        self.unparsed_spec(spec);
        self.out.push(b'}');
        Ok(())
    }

    /// Writes a comma, unless this is the first field of an object.
    fn separate(&mut self) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
    }

    fn name(&mut self, name: &str) -> serde_json::Result<()> {
        self.separate();
        serde_json::to_writer(&mut self.out, name)?;
        self.out.push(b':');
        Ok(())
    }

    /// Writes a value; returns where it is.
    fn value(&mut self, value: &Value) -> serde_json::Result<Span> {
        let start = self.out.len();
        serde_json::to_writer(&mut self.out, value)?;
        Ok(Span::new(start, self.out.len()))
    }

    /// The part of the object with the field by which the kind is indexed.
    fn indexed_part(&mut self, part: &Map<String, Value>, indexed: &str) -> serde_json::Result<()> {
        self.out.push(b'{');
        for (name, value) in part {
            self.name(name)?;
            let span = self.value(value)?;
            if name == indexed {
                self.head.indexed = span;
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    fn unparsed_spec(&mut self, spec: Option<(&[u8], Span)>) {
        if let Some((spec, indexed)) = spec {
            self.out.extend_from_slice(b",\"spec\":");
            if indexed != Span::default() {
                self.head.indexed = indexed.after(self.out.len());
            }
            self.out.extend_from_slice(spec);
        }
    }

    fn metadata(
        &mut self,
        metadata: Option<&Value>,
        managed_fields: Option<&[u8]>,
    ) -> serde_json::Result<()> {
        self.head.item_start = u32::try_from(self.out.len()).unwrap_or(u32::MAX);
        self.out.extend_from_slice(METADATA);
        let mut managed_fields = managed_fields;
        for (name, value) in metadata.and_then(Value::as_object).into_iter().flatten() {
            if name == "resourceVersion" {
                continue;
            }
            if name.as_str() > "managedFields" {
                self.managed_fields(managed_fields.take());
            }
            self.name(name)?;
            let span = self.value(value)?;
            match name.as_str() {
                "labels" if !value.is_null() => self.head.labels = span,
                "deletionTimestamp" => self.head.is_terminating = !value.is_null(),
                _ => {}
            }
        }
        self.managed_fields(managed_fields);
        self.out.push(b'}');
        self.head.metadata_end = u32::try_from(self.out.len()).unwrap_or(u32::MAX);
        Ok(())
    }

    fn managed_fields(&mut self, managed_fields: Option<&[u8]>) {
        if let Some(managed_fields) = managed_fields {
            self.separate();
            self.out.extend_from_slice(b"\"managedFields\":");
            self.out.extend_from_slice(managed_fields);
        }
    }
}
