//! OpenAPI documents: version 3 with one document for each group version, and version 2 with one
//! document for all. They are generated (`cargo run -p xtask -- codegen`) and embedded with gzip
//! compression, and served as they are to clients that accept gzip. Documents that show kinds which
//! came at run time are made when they are first asked for, and kept with their [`Scheme`].

mod body;
mod document;
#[rustfmt::skip]
mod generated;
mod operations;
mod parameters;
mod protobuf;
pub mod render;
mod run_time;
mod structural;
mod version;

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::{Map, Value, json};

pub use self::document::Document;
pub(crate) use self::document::RunTimeDocuments;
use self::version::place;
use crate::Scheme;

/// The generated documents of version 3, by path below `/openapi/v3/`, such as `apis/apps/v1`.
static DOCUMENTS: LazyLock<BTreeMap<&str, Document>> = LazyLock::new(|| {
    let documents = generated::DOCUMENTS.iter();
    documents
        .map(|&(path, gzip)| (path, Document::packed(gzip)))
        .collect()
});

/// The generated document of version 2 as JSON.
static V2_JSON: LazyLock<Document> =
    LazyLock::new(|| Document::packed(include_bytes!("../schema/openapi/v2.json.gz").as_slice()));

/// The generated document of version 2 as protobuf.
static V2_PROTOBUF: LazyLock<Document> =
    LazyLock::new(|| Document::packed(include_bytes!("../schema/openapi/v2.pb.gz").as_slice()));

/// The media type of `/openapi/v2` as protobuf.
pub const V2_PROTOBUF_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// The response to `/openapi/v3`: the URL of each document with its hash.
#[must_use]
pub fn index(scheme: &Scheme) -> Value {
    let mut paths = Map::new();
    for (group, version) in scheme.group_versions() {
        let path = place(group, version);
        if let Some(document) = v3(scheme, &path) {
            let url = format!("/openapi/v3/{path}?hash={}", document.hash());
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

/// The document of a group version (`apis/apps/v1` or `api/v1`); `None` for a group version that is
/// not served.
#[must_use]
pub fn v3<'s>(scheme: &'s Scheme, path: &str) -> Option<&'s Document> {
    let made = scheme.documents().v3.get_or_init(|| run_time::v3(scheme));
    if let Some(document) = made.get(path) {
        return Some(document);
    }
    let versions = scheme.group_versions();
    let mut served = versions.iter();
    let is_served = served.any(|(group, version)| place(group, version) == path);
    DOCUMENTS.get(path).filter(|_| is_served)
}

/// The document of `/openapi/v2`: as protobuf, as kubectl requests it, or as JSON.
#[must_use]
pub fn v2(scheme: &Scheme, protobuf: bool) -> &Document {
    let made = scheme.documents();
    match (run_time::has_kinds(scheme), protobuf) {
        (false, false) => &V2_JSON,
        (false, true) => &V2_PROTOBUF,
        (true, false) => made
            .v2_json
            .get_or_init(|| Document::pack(run_time::v2(scheme).to_string().as_bytes())),
        (true, true) => made
            .v2_protobuf
            .get_or_init(|| Document::pack(&render::encode(&run_time::v2(scheme)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme;

    fn document(path: &str) -> Value {
        v3(scheme::built_in(), path).unwrap().parse()
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
        let json = v2(scheme::built_in(), false).parse();
        let spec = &json["definitions"]["io.k8s.api.apps.v1.DaemonSetSpec"];
        assert_eq!(spec["required"], json!(["selector", "template"]));
        assert_eq!(spec["properties"]["minReadySeconds"]["format"], "int32");
        let protobuf = v2(scheme::built_in(), true).unpack().unwrap();
        assert!(protobuf.starts_with(b"\x0a\x032.0"));
        assert!(protobuf == render::encode(&json));
    }
}
