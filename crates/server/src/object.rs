//! The stored form of an object: encoded JSON bytes and a small header that is read once.
//!
//! The bytes hold no resource version. They start with `kind`, `apiVersion` and `metadata`, so the
//! version is spliced in by copying two slices around it, and an item of a list (which has neither
//! kind nor apiVersion) is a suffix of the bytes. Nothing is serialized again for a reader.

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use pandaemon_store::{Entry, Key, Revision};
use pandaemon_types::Labels;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

const METADATA: &[u8] = b"\"metadata\":{";

/// Why stored bytes cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON, or not an object with metadata.
    #[error("read stored object `{key}`: {why}")]
    Unreadable {
        /// The key of the store.
        key: String,
        /// What is wrong.
        why: String,
    },
}

/// An object at one revision.
#[derive(Debug)]
pub struct Object {
    /// The key of the store, such as `/pods/default/web`.
    pub key: Key,
    /// The encoded object without its resource version.
    pub bytes: Bytes,
    /// Its resource version.
    pub revision: Revision,
    /// Where `"metadata":{` starts, and where the object behind it ends.
    item_at: u32,
    metadata_end: u32,
    /// Whether it has a `deletionTimestamp`.
    pub is_terminating: bool,
    labels: Range<u32>,
    node: Range<u32>,
}

/// Encodes an object for the store: kind, apiVersion and metadata first, no resource version.
///
/// # Errors
/// When a value cannot be written as JSON (it always can).
pub fn encode(value: &Value) -> serde_json::Result<Bytes> {
    encode_with(value, None)
}

/// As [`encode`], with a spec that is encoded already (and lacks in the value).
///
/// # Errors
/// As [`encode`].
pub fn encode_with(value: &Value, spec: Option<&[u8]>) -> serde_json::Result<Bytes> {
    let mut out = Vec::with_capacity(1024);
    let empty = Map::new();
    let fields = value.as_object().unwrap_or(&empty);
    let mut separator = b'{';
    for name in ["kind", "apiVersion"] {
        if let Some(field) = fields.get(name) {
            write_field(&mut out, &mut separator, name, field)?;
        }
    }
    out.push(separator);
    separator = b',';
    write_metadata(&mut out, fields.get("metadata"))?;
    let mut spec = spec;
    for (name, field) in fields {
        if matches!(name.as_str(), "kind" | "apiVersion" | "metadata") {
            continue;
        }
        if name.as_str() > "spec" {
            write_spec(&mut out, spec.take());
        }
        write_field(&mut out, &mut separator, name, field)?;
    }
    write_spec(&mut out, spec);
    out.push(b'}');
    out.shrink_to_fit();
    Ok(out.into())
}

fn write_spec(out: &mut Vec<u8>, spec: Option<&[u8]>) {
    if let Some(spec) = spec {
        out.extend_from_slice(b",\"spec\":");
        out.extend_from_slice(spec);
    }
}

fn write_field(
    out: &mut Vec<u8>,
    separator: &mut u8,
    name: &str,
    value: &Value,
) -> serde_json::Result<()> {
    out.push(*separator);
    *separator = b',';
    serde_json::to_writer(&mut *out, name)?;
    out.push(b':');
    serde_json::to_writer(&mut *out, value)
}

fn write_metadata(out: &mut Vec<u8>, metadata: Option<&Value>) -> serde_json::Result<()> {
    out.extend_from_slice(METADATA);
    let mut separator = None;
    for (name, value) in metadata.and_then(Value::as_object).into_iter().flatten() {
        if name == "resourceVersion" {
            continue;
        }
        out.extend(separator);
        separator = Some(b',');
        serde_json::to_writer(&mut *out, name)?;
        out.push(b':');
        serde_json::to_writer(&mut *out, value)?;
    }
    out.push(b'}');
    Ok(())
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow, default)]
    labels: Option<&'a RawValue>,
    #[serde(default)]
    deletion_timestamp: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct PodHead<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
    #[serde(borrow, default)]
    spec: Option<PodSpec<'a>>,
}

#[derive(Deserialize)]
struct PodSpec<'a> {
    #[serde(borrow, default, rename = "nodeName")]
    node_name: Option<&'a RawValue>,
}

/// An object whose spec is not looked into.
#[derive(Default)]
struct Parts<'a> {
    spec: Option<&'a RawValue>,
    fields: Map<String, Value>,
}

impl<'de> Deserialize<'de> for Parts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PartsVisitor)
    }
}

struct PartsVisitor;

impl<'de> Visitor<'de> for PartsVisitor {
    type Value = Parts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Parts<'de>, A::Error> {
        let mut parts = Parts::default();
        while let Some(name) = access.next_key::<String>()? {
            if name == "spec" {
                parts.spec = Some(access.next_value()?);
            } else {
                parts.fields.insert(name, access.next_value()?);
            }
        }
        Ok(parts)
    }
}

/// Where a raw value lies in the bytes it was read from.
fn place(bytes: &[u8], raw: Option<&RawValue>) -> Range<u32> {
    let Some(raw) = raw.map(RawValue::get) else {
        return 0..0;
    };
    let start = (raw.as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize);
    match (u32::try_from(start), u32::try_from(start + raw.len())) {
        (Ok(start), Ok(end)) => start..end,
        _ => 0..0,
    }
}

impl Object {
    /// Reads the header of a stored entry.
    ///
    /// # Errors
    /// [`Error::Unreadable`] for bytes that are no object of ours.
    pub fn read(entry: &Entry) -> Result<Self, Error> {
        Self::new(
            Arc::clone(&entry.key),
            entry.value.clone(),
            entry.mod_revision,
        )
    }

    /// Reads the header of encoded bytes.
    ///
    /// # Errors
    /// [`Error::Unreadable`] for bytes that are no object of ours.
    pub fn new(key: Key, bytes: Bytes, revision: Revision) -> Result<Self, Error> {
        let unreadable = |why: &dyn ToString| Error::Unreadable {
            key: key.to_string(),
            why: why.to_string(),
        };
        let (metadata, node) = if key.starts_with("/pods/") {
            let head: PodHead<'_> = serde_json::from_slice(&bytes).map_err(|e| unreadable(&e))?;
            (head.metadata, head.spec.and_then(|spec| spec.node_name))
        } else {
            let head: Head<'_> = serde_json::from_slice(&bytes).map_err(|e| unreadable(&e))?;
            (head.metadata, None)
        };
        let inner: Metadata<'_> =
            serde_json::from_str(metadata.get()).map_err(|e| unreadable(&e))?;
        let (labels, node) = (place(&bytes, inner.labels), place(&bytes, node));
        let is_terminating = inner.deletion_timestamp.is_some();
        let Range { start, end } = place(&bytes, Some(metadata));
        // The name of the field and its colon come before its value.
        let item_at = (start as usize).checked_sub(METADATA.len() - 1);
        let item_at = item_at.filter(|at| bytes[*at..].starts_with(METADATA));
        let item_at = item_at.and_then(|at| u32::try_from(at).ok());
        let item_at = item_at.ok_or_else(|| unreadable(&"no metadata at its start"))?;
        Ok(Self {
            key,
            bytes,
            revision,
            item_at,
            metadata_end: end,
            is_terminating,
            labels,
            node,
        })
    }

    /// The same content under a later revision: how a deletion is told.
    #[must_use]
    pub fn at(&self, revision: Revision) -> Self {
        Self {
            key: Arc::clone(&self.key),
            bytes: self.bytes.clone(),
            revision,
            item_at: self.item_at,
            metadata_end: self.metadata_end,
            is_terminating: self.is_terminating,
            labels: self.labels.clone(),
            node: self.node.clone(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }

    /// Its namespace, empty for cluster-scoped objects.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.key.rsplit('/').nth(1).unwrap_or_default()
    }

    fn text(&self, range: &Range<u32>) -> &str {
        let bytes = self
            .bytes
            .get(range.start as usize..range.end as usize)
            .unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// `spec.nodeName` of a pod, else empty.
    #[must_use]
    pub fn node(&self) -> &str {
        self.text(&self.node).trim_matches('"')
    }

    /// Writes the object with its resource version.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_from(0, self.bytes.len(), out);
    }

    /// Writes the object as an item of a list: without kind and apiVersion.
    pub fn write_item(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        self.write_from(self.item_at as usize, self.bytes.len(), out);
    }

    /// Writes its metadata as a `PartialObjectMetadata` of that version of `meta.k8s.io`.
    pub fn write_metadata(&self, version: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/");
        out.extend_from_slice(version.as_bytes());
        out.extend_from_slice(b"\",");
        self.write_from(self.item_at as usize, self.metadata_end as usize, out);
        out.push(b'}');
    }

    fn write_from(&self, start: usize, end: usize, out: &mut Vec<u8>) {
        let splice = self.item_at as usize + METADATA.len();
        out.extend_from_slice(&self.bytes[start..splice]);
        // A dry run makes objects that are in no store.
        if self.revision == 0 {
            return out.extend_from_slice(&self.bytes[splice..end]);
        }
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out.extend_from_slice(self.revision.to_string().as_bytes());
        // Metadata always holds a name, so something follows.
        out.extend_from_slice(b"\",");
        out.extend_from_slice(&self.bytes[splice..end]);
    }

    /// About how many bytes [`Object::write`] makes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() + 44
    }

    /// Whether there are no bytes (never).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The object as it is answered.
    #[must_use]
    pub fn encoded(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.len());
        self.write(&mut out);
        out.into()
    }

    /// The parsed object with its resource version, but for its spec, which comes as it is stored.
    ///
    /// # Errors
    /// [`Error::Unreadable`] for bytes that are not JSON.
    pub fn value_and_spec(&self) -> Result<(Value, Option<&[u8]>), Error> {
        let mut parts: Parts<'_> =
            serde_json::from_slice(&self.bytes).map_err(|why| Error::Unreadable {
                key: self.key.to_string(),
                why: why.to_string(),
            })?;
        if let Some(metadata) = parts
            .fields
            .get_mut("metadata")
            .and_then(Value::as_object_mut)
        {
            metadata.insert("resourceVersion".into(), self.revision.to_string().into());
        }
        let spec = parts.spec.map(|spec| spec.get().as_bytes());
        Ok((Value::Object(parts.fields), spec))
    }

    /// The parsed object with its resource version.
    ///
    /// # Errors
    /// [`Error::Unreadable`] for bytes that are not JSON.
    pub fn value(&self) -> Result<Value, Error> {
        let mut value: Value =
            serde_json::from_slice(&self.bytes).map_err(|why| Error::Unreadable {
                key: self.key.to_string(),
                why: why.to_string(),
            })?;
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".into(), self.revision.to_string().into());
        }
        Ok(value)
    }
}

impl Labels for Object {
    /// Labels are validated, so they hold no escapes and quotes delimit them.
    fn label(&self, key: &str) -> Option<&str> {
        let mut parts = self.text(&self.labels).split('"').skip(1);
        loop {
            let (name, _, value, _) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
            if name == key {
                return Some(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(key: &str, value: &Value) -> Object {
        Object::new(key.into(), encode(value).unwrap(), 7).unwrap()
    }

    #[test]
    fn the_resource_version_is_spliced_in() {
        let value = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "binaryData": {"metadata": "x"},
            "metadata": {"name": "a", "namespace": "d", "resourceVersion": "3"},
        });
        let object = object("/configmaps/d/a", &value);
        assert!(
            object
                .bytes
                .starts_with(b"{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{")
        );
        let mut written: Value = serde_json::from_slice(&object.encoded()).unwrap();
        assert_eq!(written, object.value().unwrap());
        assert_eq!(written["metadata"]["resourceVersion"], "7");
        let mut item = Vec::new();
        object.write_item(&mut item);
        let item: Value = serde_json::from_slice(&item).unwrap();
        written
            .as_object_mut()
            .unwrap()
            .retain(|k, _| k != "kind" && k != "apiVersion");
        assert_eq!(item, written);
        assert_eq!((object.namespace(), object.name()), ("d", "a"));
    }

    #[test]
    fn a_spec_can_stay_as_it_is() {
        for value in [
            json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}, "spec": {"a": "\"}"}, "status": {"b": 1}}),
            json!({"kind": "Pod", "metadata": {"name": "p"}, "data": 1, "spec": {}}),
            json!({"metadata": {"name": "p"}, "status": {}}),
        ] {
            let object = object("/pods/d/p", &value);
            let (parts, spec) = object.value_and_spec().unwrap();
            assert_eq!(encode_with(&parts, spec).unwrap(), object.bytes);
            let mut whole = object.value().unwrap();
            whole.as_object_mut().unwrap().remove("spec");
            assert_eq!(parts, whole);
        }
    }

    #[test]
    fn the_header_knows_labels_and_node() {
        let value = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "labels": {"app": "web", "empty": ""}},
            "spec": {"nodeName": "n1", "containers": []},
        });
        let pod = object("/pods/d/p", &value);
        assert_eq!(pod.node(), "n1");
        assert_eq!(pod.label("app"), Some("web"));
        assert_eq!(pod.label("empty"), Some(""));
        assert_eq!(pod.label("web"), None);
        let mut metadata = Vec::new();
        pod.write_metadata("v1", &mut metadata);
        assert_eq!(
            serde_json::from_slice::<Value>(&metadata).unwrap(),
            json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                "metadata": pod.value().unwrap()["metadata"],
            })
        );
        assert!(!pod.is_terminating);
        let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "name": "p"}});
        assert!(object("/pods/d/p", &going).is_terminating);
        let bare = object("/pods/d/p", &json!({"metadata": {"name": "p"}}));
        assert_eq!((bare.node(), bare.label("app")), ("", None));
    }
}
