//! OpenAPI v3 documents of group versions with kinds that came at run time.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::{Kind, Scheme, kind::KindRef};

/// Where references to schemas point.
const SCHEMAS: &str = "#/components/schemas/";
/// The type of `metadata`.
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
/// The verbs of a kind, with the method and the path that serves them: of the collection, or of one
/// object.
const METHODS: [(&str, &str, bool); 6] = [
    ("list", "get", false),
    ("create", "post", false),
    ("get", "get", true),
    ("update", "put", true),
    ("patch", "patch", true),
    ("delete", "delete", true),
];

/// The kinds of a group version that came at run time.
pub(super) fn kinds<'s>(
    scheme: &'s Scheme,
    group: &'s str,
    version: &'s str,
) -> impl Iterator<Item = &'s KindRef> {
    let kinds = scheme.kinds().iter();
    kinds.filter(move |kind| {
        kind.built_type.is_some() && kind.group == group && kind.version == version
    })
}

/// Adds paths and schemas of kinds to a document. `meta` is a document with the types of metadata.
pub(super) fn add<'k>(
    document: &mut Value,
    kinds: impl Iterator<Item = &'k KindRef>,
    meta: &Value,
) {
    for kind in kinds {
        for (path, item) in paths(kind) {
            document["paths"][path] = item;
        }
        document["components"]["schemas"][&kind.type_name] = schema(kind);
    }
    let mut missing = vec![OBJECT_META.to_owned()];
    while let Some(name) = missing.pop() {
        if document["components"]["schemas"][&name].is_null() {
            let found = meta["components"]["schemas"][&name].clone();
            missing.extend(references(&found));
            document["components"]["schemas"][name] = found;
        }
    }
}

/// A document without paths and schemas.
pub(super) fn empty() -> Value {
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.33.0"},
        "paths": {},
        "components": {"schemas": {}},
    })
}

fn identity(kind: &Kind) -> Value {
    json!({"group": kind.group, "kind": kind.kind, "version": kind.version})
}

/// The schema of a kind: what its author wrote, and what every object has.
fn schema(kind: &Kind) -> Value {
    let written = kind.built_type.as_ref().map(|built| built.schema().clone());
    let mut schema = written.unwrap_or_default();
    let described = |name: &str| json!({"type": "string", "description": name});
    schema["properties"]["apiVersion"] =
        described("APIVersion defines the versioned schema of this representation of an object.");
    schema["properties"]["kind"] =
        described("Kind is a string value representing the REST resource this object represents.");
    schema["properties"]["metadata"] = json!({
        "description": "Standard object's metadata.",
        "allOf": [{"$ref": format!("{SCHEMAS}{OBJECT_META}")}],
    });
    schema["x-kubernetes-group-version-kind"] = json!([identity(kind)]);
    schema
}

fn paths(kind: &Kind) -> Vec<(String, Value)> {
    let namespace = if kind.is_namespaced() {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let (group, version, plural) = (&kind.group, &kind.version, &kind.plural);
    let collection = format!("/apis/{group}/{version}{namespace}/{plural}");
    let object = format!("{collection}/{{name}}");
    let operations = |of_object: bool| {
        let mut item = Map::new();
        for (verb, method, _) in METHODS.iter().filter(|(.., object)| *object == of_object) {
            if kind.has_verb(verb) {
                let action = if *verb == "create" { "post" } else { verb };
                item.insert((*method).to_owned(), operation(kind, action));
            }
        }
        Value::Object(item)
    };
    vec![(collection, operations(false)), (object, operations(true))]
}

fn operation(kind: &Kind, action: &str) -> Value {
    let object = json!({"$ref": format!("{SCHEMAS}{}", kind.type_name)});
    let mut operation = json!({
        "responses": {"200": {"description": "OK",
            "content": {"application/json": {"schema": object}}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": identity(kind),
    });
    if matches!(action, "post" | "update" | "patch") {
        // kubectl leaves validation to servers whose patches take this parameter.
        operation["parameters"] = json!([{"name": "fieldValidation", "in": "query",
            "schema": {"type": "string", "uniqueItems": true}}]);
    }
    operation
}

/// The names of the schemas that a schema refers to.
fn references(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = vec![schema];
    while let Some(value) = rest.pop() {
        match value {
            Value::Object(fields) => {
                let target = fields.get("$ref").and_then(Value::as_str);
                let name = target.and_then(|target| target.strip_prefix(SCHEMAS));
                found.extend(name.map(str::to_owned));
                rest.extend(fields.values());
            }
            Value::Array(items) => rest.extend(items),
            _ => {}
        }
    }
    found
}
