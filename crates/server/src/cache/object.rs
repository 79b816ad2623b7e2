//! Stored objects: encoded JSON bytes, and the positions of a few fields in them.
//!
//! The bytes contain no resource version. They start with `kind`, `apiVersion` and `metadata`, so
//! the version is inserted by copying two slices around it, and an item of a list (without kind and
//! apiVersion) is a suffix of the bytes. Reads do not serialize objects again.

use std::sync::Arc;

use bytes::Bytes;
use pandaemon_machinery::kind::IndexedField;
use pandaemon_store::{Entry, Key, Revision};
use pandaemon_types::Labels;
use serde::Deserialize;
use serde_json::Value;

mod encode;
mod head;
mod raw;
mod unparsed;

use self::head::Span;
pub use encode::{Encoded, encode, encode_with};
pub use head::Head;
pub(crate) use raw::pick;
pub use unparsed::{Skip, Unparsed};

/// The start of the metadata in encoded objects.
const METADATA: &[u8] = b"\"metadata\":{";

/// The error of stored bytes that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not a JSON object that starts with kind, apiVersion and metadata.
    #[error("read stored object `{key}`: {why}")]
    Unreadable {
        /// The key in the store.
        key: String,
        /// What is wrong with the object.
        why: String,
    },
}

/// An object at one revision.
pub struct Object {
    /// The key in the store, such as `/pods/default/web`.
    pub key: Key,
    /// The encoded object without its resource version.
    pub bytes: Bytes,
    /// The resource version.
    pub revision: Revision,
    /// Where the fields are in the bytes.
    pub head: Head,
}

/// Without the content: it may be a Secret.
impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Object")
            .field("key", &self.key)
            .field("revision", &self.revision)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl Object {
    /// Reads the positions of the fields in a stored entry; `index` is that of its kind.
    ///
    /// # Errors
    /// [`Error::Unreadable`] for bytes that [`encode()`] did not write.
    pub fn read(entry: &Entry, index: Option<IndexedField>) -> Result<Self, Error> {
        let (key, value) = (Arc::clone(&entry.key), entry.value.clone());
        let head = Head::read(&value, index).map_err(|why| Error::Unreadable {
            key: key.to_string(),
            why: why.to_string(),
        })?;
        let encoded = Encoded { bytes: value, head };
        Ok(Self::new(key, encoded, entry.mod_revision))
    }

    /// An encoded object at a revision.
    #[must_use]
    pub fn new(key: Key, encoded: Encoded, revision: Revision) -> Self {
        let Encoded { bytes, head } = encoded;
        Self {
            key,
            bytes,
            revision,
            head,
        }
    }

    /// The same object with another revision, for DELETED events.
    #[must_use]
    pub fn with_revision(&self, revision: Revision) -> Self {
        Self {
            key: Arc::clone(&self.key),
            bytes: self.bytes.clone(),
            revision,
            head: self.head,
        }
    }

    /// The name of the object.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }

    /// The namespace of the object, empty if cluster-scoped.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.key.rsplit('/').nth(1).unwrap_or_default()
    }

    fn text(&self, span: Span) -> &str {
        std::str::from_utf8(span.of(&self.bytes)).unwrap_or_default()
    }

    /// Whether it has a `deletionTimestamp`.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        self.head.is_terminating
    }

    /// Fields of its metadata, without a copy of the others.
    ///
    /// # Errors
    /// [`Error::Unreadable`] for metadata without these fields.
    pub(crate) fn metadata<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        let start = self.head.item_start as usize + METADATA.len() - 1;
        let metadata = self.bytes.get(start..self.head.metadata_end as usize);
        serde_json::from_slice(metadata.unwrap_or_default()).map_err(|why| self.unreadable(&why))
    }

    /// The value by which the kind is indexed, such as the node of a pod; empty if it has none.
    #[must_use]
    pub fn indexed_value(&self) -> &str {
        self.text(self.head.indexed).trim_matches('"')
    }

    /// Writes the object with its resource version.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_from(0, self.bytes.len(), out);
    }

    /// Writes the object as an item of a list, without kind and apiVersion.
    pub fn write_item(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        self.write_from(self.head.item_start as usize, self.bytes.len(), out);
    }

    /// Writes the metadata as a `PartialObjectMetadata` of a version of `meta.k8s.io`.
    pub fn write_metadata(&self, version: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/");
        out.extend_from_slice(version.as_bytes());
        out.extend_from_slice(b"\",");
        self.write_from(
            self.head.item_start as usize,
            self.head.metadata_end as usize,
            out,
        );
        out.push(b'}');
    }

    fn write_from(&self, start: usize, end: usize, out: &mut Vec<u8>) {
        let splice = self.head.item_start as usize + METADATA.len();
        out.extend_from_slice(&self.bytes[start..splice]);
        // An object of a dry run is not stored and has no version.
        if self.revision == 0 {
            return out.extend_from_slice(&self.bytes[splice..end]);
        }
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out.extend_from_slice(self.revision.to_string().as_bytes());
        // Metadata always contains a name, so a field follows.
        out.extend_from_slice(b"\",");
        out.extend_from_slice(&self.bytes[splice..end]);
    }

    /// Approximate number of bytes that [`Object::write`] writes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() + 44
    }

    /// Whether the object has no bytes; always false.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The encoded object with its resource version.
    #[must_use]
    pub fn encoded(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.len());
        self.write(&mut out);
        out.into()
    }

    /// The parsed object with its resource version.
    ///
    /// # Errors
    /// [`Error::Unreadable`] for bytes that are not JSON.
    pub fn value(&self) -> Result<Value, Error> {
        let value = serde_json::from_slice(&self.bytes).map_err(|why| self.unreadable(&why))?;
        Ok(self.with_version(value))
    }

    fn with_version(&self, mut value: Value) -> Value {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".into(), self.revision.to_string().into());
        }
        value
    }

    fn unreadable(&self, why: &serde_json::Error) -> Error {
        Error::Unreadable {
            key: self.key.to_string(),
            why: why.to_string(),
        }
    }
}

impl Labels for Object {
    /// Labels are validated, so they contain no escapes and are delimited by quotes.
    fn label(&self, key: &str) -> Option<&str> {
        let mut parts = self.text(self.head.labels).split('"').skip(1);
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
    use pandaemon_machinery::scheme;
    use serde_json::json;

    use super::*;

    fn object(key: &str, value: &Value) -> Object {
        let pods = scheme::built_in().find_resource("", "v1", "pods").unwrap();
        let index = pods.strategy.indexed_field();
        Object::new(key.into(), encode(value, index).unwrap(), 7)
    }

    #[test]
    fn the_resource_version_is_inserted_into_objects_and_list_items() {
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
    fn labels_node_and_metadata_are_read_from_the_stored_bytes() {
        let value = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "labels": {"app": "web", "empty": ""}},
            "spec": {"nodeName": "n1", "containers": []},
        });
        let pod = object("/pods/d/p", &value);
        assert_eq!(pod.indexed_value(), "n1");
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
        assert!(!pod.is_terminating());
        let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "name": "p"}});
        assert!(object("/pods/d/p", &going).is_terminating());
        let bare = object("/pods/d/p", &json!({"metadata": {"name": "p"}}));
        assert_eq!((bare.indexed_value(), bare.label("app")), ("", None));
    }
}
