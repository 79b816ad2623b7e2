//! OpenAPI documents: version 3 with one document for each group version, and version 2 with one
//! document for all. They are generated (`cargo run -p xtask -- codegen`) and embedded with gzip
//! compression, and served as they are to clients that accept gzip. Documents of kinds that came at
//! run time are made when they are asked for.

mod built;
#[rustfmt::skip]
mod generated;
mod operations;
mod parameters;
mod protobuf;
pub mod render;
mod version;

use std::{
    borrow::Cow,
    io::{self, Read as _, Write as _},
    sync::LazyLock,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use self::version::place;
use crate::Scheme;

/// One document of version 3.
#[derive(Debug)]
struct Document {
    /// Path below `/openapi/v3/`, such as `apis/apps/v1`.
    path: &'static str,
    gzip: &'static [u8],
    /// SHA-256 of `gzip` in upper-case hexadecimal, for `ETag` and the query parameter `hash`.
    hash: String,
}

static DOCUMENTS: LazyLock<Vec<Document>> = LazyLock::new(|| {
    let documents = generated::DOCUMENTS.iter();
    documents
        .map(|&(path, gzip)| Document {
            path,
            gzip,
            hash: hash(gzip),
        })
        .collect()
});

/// The response to `/openapi/v3`: the URL of each document with its hash.
#[must_use]
pub fn index(scheme: &Scheme) -> Value {
    let mut paths = Map::new();
    for (group, version) in scheme.group_versions() {
        let path = place(group, version);
        if let Some((_, hash)) = document_gzip(scheme, &path) {
            let url = format!("/openapi/v3/{path}?hash={hash}");
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

/// The gzipped document of a group version (`apis/apps/v1` or `api/v1`) and its hash; `None` for a
/// group version that is not served.
#[must_use]
pub fn document_gzip(scheme: &Scheme, path: &str) -> Option<(Cow<'static, [u8]>, String)> {
    let generated = DOCUMENTS.iter().find(|document| document.path == path);
    let versions = scheme.group_versions().into_iter();
    let (group, version) = versions
        .into_iter()
        .find(|(group, version)| place(group, version) == path)?;
    let mut added = built::kinds(scheme, group, version).peekable();
    if added.peek().is_none() {
        let document = generated?;
        return Some((Cow::Borrowed(document.gzip), document.hash.clone()));
    }
    let mut document = generated.map_or_else(built::empty, Document::parsed);
    let meta = DOCUMENTS
        .iter()
        .find(|document| document.path == META_DOCUMENT);
    built::add(
        &mut document,
        added,
        &meta.map_or(Value::Null, Document::parsed),
    );
    let packed = gzip(document.to_string().as_bytes()).ok()?;
    let hash = hash(&packed);
    Some((Cow::Owned(packed), hash))
}

/// A document with the types of metadata.
const META_DOCUMENT: &str = "apis/apps/v1";

impl Document {
    fn parsed(&self) -> Value {
        let text = gunzip(self.gzip).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}

fn gzip(document: &[u8]) -> io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(document)?;
    packer.finish()
}

/// The media type of `/openapi/v2` as protobuf.
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// The gzipped document of `/openapi/v2` and its hash: as protobuf, as kubectl requests it, or as
/// JSON.
#[must_use]
pub fn v2_gzip(protobuf: bool) -> (&'static [u8], String) {
    const PROTOBUF: &[u8] = include_bytes!("../schema/openapi/v2.pb.gz");
    const JSON: &[u8] = include_bytes!("../schema/openapi/v2.json.gz");
    let gzip = if protobuf { PROTOBUF } else { JSON };
    (gzip, hash(gzip))
}

/// Decompresses a document, for a client that does not accept gzip.
///
/// # Errors
/// If the bytes are no gzip.
pub fn gunzip(gzip: &[u8]) -> io::Result<Vec<u8>> {
    let mut document = Vec::new();
    GzDecoder::new(gzip).read_to_end(&mut document)?;
    Ok(document)
}

fn hash(gzip: &[u8]) -> String {
    Sha256::digest(gzip)
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme;

    fn document(path: &str) -> Value {
        let (gzip, _) = document_gzip(scheme::built_in(), path).unwrap();
        serde_json::from_slice(&gunzip(&gzip).unwrap()).unwrap()
    }

    #[test]
    fn index_lists_every_group_version() {
        let index = index(scheme::built_in());
        let paths = index["paths"].as_object().unwrap();
        assert_eq!(paths.len(), scheme::built_in().group_versions().len());
        for (group, version) in scheme::built_in().group_versions() {
            let place = place(group, version);
            let url = paths[&place]["serverRelativeURL"].as_str().unwrap();
            assert!(
                url.starts_with(&format!("/openapi/v3/{place}?hash=")),
                "{url}"
            );
        }
    }

    #[test]
    fn every_kind_has_a_schema_and_every_patch_takes_field_validation() {
        for kind in scheme::built_in().kinds() {
            let document = document(&place(&kind.group, &kind.version));
            let schema = &document["components"]["schemas"][&kind.type_name];
            let identity =
                json!([{"group": kind.group, "kind": kind.kind, "version": kind.version}]);
            assert_eq!(
                schema["x-kubernetes-group-version-kind"], identity,
                "{}",
                kind.kind
            );
            let paths = document["paths"].as_object().unwrap();
            let patches = paths
                .iter()
                .filter(|(path, _)| path.ends_with(&format!("/{}/{{name}}", kind.plural)));
            for (path, item) in patches.filter(|_| kind.has_verb("patch")) {
                let parameters = item["patch"]["parameters"].as_array().unwrap();
                assert!(
                    parameters.iter().any(|p| p["name"] == "fieldValidation"),
                    "{path}"
                );
                assert_eq!(
                    item["patch"]["x-kubernetes-group-version-kind"],
                    identity[0]
                );
            }
        }
    }

    #[test]
    fn every_reference_resolves() {
        fn check(value: &Value, schemas: &Map<String, Value>) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(target)) = map.get("$ref") {
                        let name = target.strip_prefix("#/components/schemas/").unwrap();
                        assert!(schemas.contains_key(name), "{name}");
                    }
                    map.values().for_each(|value| check(value, schemas));
                }
                Value::Array(list) => list.iter().for_each(|value| check(value, schemas)),
                _ => {}
            }
        }
        for (group, version) in scheme::built_in().group_versions() {
            let document = document(&place(group, version));
            check(
                &document,
                document["components"]["schemas"].as_object().unwrap(),
            );
        }
    }

    #[test]
    fn version_2_is_served_as_json_and_protobuf() {
        let json: Value = serde_json::from_slice(&gunzip(v2_gzip(false).0).unwrap()).unwrap();
        let spec = &json["definitions"]["io.k8s.api.apps.v1.DaemonSetSpec"];
        assert_eq!(spec["required"], json!(["selector", "template"]));
        assert_eq!(spec["properties"]["minReadySeconds"]["format"], "int32");
        let protobuf = gunzip(v2_gzip(true).0).unwrap();
        assert!(protobuf.starts_with(b"\x0a\x032.0"));
    }
}
