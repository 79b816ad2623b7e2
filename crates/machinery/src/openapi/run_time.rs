//! Documents that show kinds which came at run time: the generated documents with the paths and
//! schemas of those kinds. Upstream: `apiextensions-apiserver/pkg/controller/openapi/builder`.

use std::{cmp::Reverse, collections::BTreeMap};

use serde_json::{Map, Value};

use super::{
    DOCUMENTS, V2_JSON,
    document::Document,
    render,
    structural::{list_schema, object_schema},
    version::{Version, place},
};
use crate::{Kind, Scheme};

/// Whether a scheme has kinds that came at run time.
pub(super) fn has_kinds(scheme: &Scheme) -> bool {
    kinds(scheme).next().is_some()
}

/// The document of version 2.
pub(super) fn v2(scheme: &Scheme) -> Value {
    let mut document = V2_JSON.parse();
    let added: Vec<&Kind> = kinds(scheme).collect();
    let schemas = schemas(scheme, Version::V2);
    let find = |name: &str| schemas.get(name).cloned();
    add(&mut document, scheme, &added, Version::V2, find);
    document
}

/// The documents of version 3 of the group versions with such kinds.
pub(super) fn v3(scheme: &Scheme) -> BTreeMap<String, Document> {
    let schemas = schemas(scheme, Version::V3);
    let mut generated = GeneratedSchemas::new();
    let mut documents = BTreeMap::new();
    for (group, version) in scheme.group_versions() {
        let of_version = |kind: &&Kind| kind.group == group && kind.version == version;
        let added: Vec<&Kind> = kinds(scheme).filter(of_version).collect();
        if added.is_empty() {
            continue;
        }
        let path = place(group, version);
        let mut document = DOCUMENTS
            .get(path.as_str())
            .map_or_else(|| render::v3(scheme, &[], Map::new()), Document::parse);
        let find = |name: &str| schemas.get(name).cloned().or_else(|| generated.find(name));
        add(&mut document, scheme, &added, Version::V3, find);
        documents.insert(path, Document::pack(document.to_string().as_bytes()));
    }
    documents
}

fn kinds(scheme: &Scheme) -> impl Iterator<Item = &Kind> {
    let kinds = scheme.kinds().iter().map(|kind| &**kind);
    kinds.filter(|kind| kind.built_type.is_some())
}

/// The schemas of all kinds that came at run time and of their lists, by full name.
fn schemas(scheme: &Scheme, version: Version) -> BTreeMap<String, Value> {
    let mut schemas = BTreeMap::new();
    for kind in kinds(scheme) {
        let Some(built) = &kind.built_type else {
            continue;
        };
        let schema = object_schema(kind, built.schema(), version);
        schemas.insert(kind.type_name.clone(), schema);
        schemas.insert(kind.list_type_name(), list_schema(kind, version));
    }
    schemas
}

/// Adds the paths of kinds to a document, and the schemas that are missing then. What the document
/// has stays as it is.
fn add(
    document: &mut Value,
    scheme: &Scheme,
    kinds: &[&Kind],
    version: Version,
    mut find: impl FnMut(&str) -> Option<Value>,
) {
    let mut missing: Vec<String> = kinds.iter().map(|kind| kind.type_name.clone()).collect();
    let paths = render::paths(scheme, kinds, version);
    paths
        .values()
        .for_each(|item| references(item, version, &mut missing));
    if let Some(known) = document["paths"].as_object_mut() {
        for (path, item) in paths {
            known.entry(path).or_insert(item);
        }
    }
    let known = document.pointer_mut(version.schemas());
    let Some(known) = known.and_then(Value::as_object_mut) else {
        return;
    };
    while let Some(name) = missing.pop() {
        if known.contains_key(&name) {
            continue;
        }
        if let Some(schema) = find(&name) {
            references(&schema, version, &mut missing);
            known.insert(name, schema);
        }
    }
}

/// Adds the names of the schemas that a value refers to.
fn references(value: &Value, version: Version, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let target = fields.get("$ref").and_then(Value::as_str);
            let name = target.and_then(|target| version.referred(target));
            found.extend(name.map(str::to_owned));
            let values = fields.values();
            values.for_each(|value| references(value, version, found));
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| references(item, version, found)),
        _ => {}
    }
}

/// The schemas of the generated documents of version 3, which are parsed as they are needed.
struct GeneratedSchemas {
    parsed: Vec<Value>,
    /// The smallest is the last. All have the types of metadata, which are looked for most.
    left: Vec<&'static Document>,
}

impl GeneratedSchemas {
    fn new() -> Self {
        let mut left: Vec<&Document> = DOCUMENTS.values().collect();
        left.sort_by_key(|document| Reverse(document.gzip().len()));
        Self {
            parsed: Vec::new(),
            left,
        }
    }

    fn find(&mut self, name: &str) -> Option<Value> {
        let of =
            |document: &Value| Some(document.pointer(Version::V3.schemas())?.get(name)?.clone());
        if let Some(found) = self.parsed.iter().find_map(of) {
            return Some(found);
        }
        while let Some(next) = self.left.pop() {
            let document = next.parse();
            let found = of(&document);
            self.parsed.push(document);
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

/// A made-up kind with this schema.
#[cfg(test)]
pub(super) fn widget(schema: &Value) -> Kind {
    let mut kinds = crate::kinds::with_path().into_iter();
    let lease = kinds.find(|kind| kind.kind == "Lease").unwrap();
    let name = "com.example.v1.Widget";
    Kind {
        group: "example.com".into(),
        kind: "Widget".into(),
        list_kind: "WidgetList".into(),
        plural: "widgets".into(),
        singular: "widget".into(),
        type_name: name.into(),
        built_type: Some(crate::schema::Built::new(name, schema).unwrap()),
        ..lease
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{openapi, scheme};

    fn scheme_with(kind: Kind) -> Scheme {
        scheme::built_in().with(Arc::new(kind)).unwrap()
    }

    fn schema() -> Value {
        json!({"type": "object", "properties": {"spec": {"type": "object"}}})
    }

    /// The paths of a resource, as text.
    fn paths(document: &Value, plural: &str) -> String {
        let paths = document["paths"].as_object().unwrap().iter();
        let paths = paths.filter(|(path, _)| path.split('/').any(|part| part == plural));
        let paths: Map<String, Value> = paths
            .map(|(path, item)| (path.clone(), item.clone()))
            .collect();
        assert_eq!(paths.len(), 3, "{plural}");
        Value::Object(paths).to_string()
    }

    #[test]
    fn its_operations_are_those_of_a_built_in_kind() {
        let scheme = scheme_with(widget(&schema()));
        let v3 = |place: &str| openapi::v3(&scheme, place).unwrap().parse();
        let v2 = v2(&scheme);
        for (built_in, made) in [
            (v3("apis/coordination.k8s.io/v1"), v3("apis/example.com/v1")),
            (v2.clone(), v2),
        ] {
            let mut expected = paths(&built_in, "leases");
            for (from, to) in [
                ("io.k8s.api.coordination.v1.", "com.example.v1."),
                ("coordination.k8s.io", "example.com"),
                ("CoordinationV1", "ExampleComV1"),
                ("coordination_v1", "exampleCom_v1"),
                ("Lease", "Widget"),
                ("leases", "widgets"),
                ("\"application/strategic-merge-patch+json\",", ""),
            ] {
                assert!(from.starts_with('"') || expected.contains(from), "{from}");
                expected = expected.replace(from, to);
            }
            // As a key of an object of version 3, the media type has a value.
            let mut expected: Value = serde_json::from_str(&expected).unwrap();
            for item in expected.as_object_mut().unwrap().values_mut() {
                let content = item.pointer_mut("/patch/requestBody/content");
                if let Some(content) = content.and_then(Value::as_object_mut) {
                    content.remove("application/strategic-merge-patch+json");
                }
            }
            assert_eq!(paths(&made, "widgets"), expected.to_string());
        }
    }

    #[test]
    fn its_documents_have_all_schemas_that_they_refer_to() {
        let mut kind = widget(&schema());
        // Its body is in no document of a small group.
        let pods = scheme::built_in().find_resource("", "v1", "pods").unwrap();
        kind.subresources = vec![pods.subresource("eviction").unwrap().clone()];
        let scheme = scheme_with(kind);
        let v3 = openapi::v3(&scheme, "apis/example.com/v1").unwrap().parse();
        for (version, document) in [(Version::V2, v2(&scheme)), (Version::V3, v3)] {
            let mut names = Vec::new();
            references(&document, version, &mut names);
            let schemas = document.pointer(version.schemas()).unwrap();
            for name in &names {
                assert!(schemas.get(name).is_some(), "{version:?} {name}");
            }
            let list = &schemas["com.example.v1.WidgetList"];
            let items = &list["properties"]["items"]["items"];
            assert_eq!(*items, version.reference("com.example.v1.Widget"));
            let identity = json!([{"group": "example.com", "version": "v1", "kind": "WidgetList"}]);
            assert_eq!(list["x-kubernetes-group-version-kind"], identity);
            let meta = |name: &str| format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}");
            for name in ["ListMeta", "DeleteOptions", "Patch", "Status"] {
                assert!(names.contains(&meta(name)), "{version:?} {name}");
            }
            assert!(names.contains(&"io.k8s.api.policy.v1.Eviction".to_owned()));
        }
    }

    #[test]
    fn it_replaces_no_built_in_schema_and_no_path() {
        let mut kind = widget(&schema());
        kind.group = "apps".into();
        kind.type_name = "io.k8s.api.core.v1.PodSpec".into();
        let document = v2(&scheme_with(kind));
        let generated = V2_JSON.parse();
        let name = "io.k8s.api.core.v1.PodSpec";
        assert_eq!(
            document["definitions"][name],
            generated["definitions"][name]
        );
        let path = "/apis/apps/v1/namespaces/{namespace}/widgets";
        assert!(document["paths"].get(path).is_some());
        let count = |document: &Value| document["paths"].as_object().unwrap().len();
        assert_eq!(count(&document), count(&generated) + 3);
    }

    #[test]
    fn a_document_is_made_once_for_a_scheme() {
        let scheme = scheme_with(widget(&schema()));
        for protobuf in [false, true] {
            let made = openapi::v2(&scheme, protobuf);
            assert!(std::ptr::eq(made, openapi::v2(&scheme.clone(), protobuf)));
            assert_ne!(
                made.hash(),
                openapi::v2(scheme::built_in(), protobuf).hash()
            );
            let kind = scheme.find_kind("example.com", "v1", "Widget").unwrap();
            let gone = scheme.without(&kind.clone());
            let static_one = openapi::v2(scheme::built_in(), protobuf);
            assert!(std::ptr::eq(openapi::v2(&gone, protobuf), static_one));
        }
    }
}
