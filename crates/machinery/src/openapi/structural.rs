//! The published schema of a kind that came at run time, made from the structural OpenAPI v3 schema
//! that its author wrote. Upstream: `apiextensions-apiserver/pkg/controller/openapi`, the packages
//! `builder` (what every object has) and `v2` (what version 2 cannot say).

use serde_json::{Map, Value, json};

use super::version::Version;
use crate::{Kind, json_fields::ReadFields};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
const PRESERVE_UNKNOWN: &str = "x-kubernetes-preserve-unknown-fields";

/// Keywords of structural schemas that both versions have and that hold no schemas. Any others,
/// such as `$ref`, are not published.
const KEPT: &[&str] = &[
    "default",
    "description",
    "enum",
    "example",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "externalDocs",
    "format",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "required",
    "title",
    "type",
    "uniqueItems",
    EMBEDDED,
    INT_OR_STRING,
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    PRESERVE_UNKNOWN,
    "x-kubernetes-validations",
];

/// The schema of a kind: what its author wrote, and what every object has.
pub(super) fn object_schema(kind: &Kind, written: &Value, version: Version) -> Value {
    let mut schema = if version == Version::V2 && written.flag(PRESERVE_UNKNOWN) {
        // With any property kubectl would refuse those that are not listed.
        Map::from_iter([("type".to_owned(), "object".into())])
    } else {
        let mut schema = convert(written, version);
        let metadata = ("ObjectMeta", "Standard object's metadata.", "metadata");
        add_properties(&mut schema, type_meta(), metadata, version);
        schema
    };
    add_extensions(&mut schema, kind, &kind.kind);
    schema.into()
}

/// The schema of the lists of a kind.
pub(super) fn list_schema(kind: &Kind, version: Version) -> Value {
    let about_items = format!("List of {}. More info: {CONVENTIONS}", kind.plural);
    let described = json!({
        "description": format!("{} is a list of {}", kind.list_kind, kind.kind),
        "type": "object",
        "required": ["items"],
        "properties": {"items": {
            "description": about_items,
            "type": "array",
            "items": version.reference(&kind.type_name),
        }},
    });
    let mut schema = described.as_object().cloned().unwrap_or_default();
    let metadata = ("ListMeta", "Standard list metadata.", "types-kinds");
    add_properties(&mut schema, type_meta(), metadata, version);
    add_extensions(&mut schema, kind, &kind.list_kind);
    schema.into()
}

const CONVENTIONS: &str =
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";

/// The descriptions of `apiVersion` and `kind`.
fn type_meta() -> [String; 2] {
    [
        format!(
            "APIVersion defines the versioned schema of this representation of an object. Servers \
             should convert recognized schemas to the latest internal value, and may reject \
             unrecognized values. More info: {CONVENTIONS}#resources"
        ),
        format!(
            "Kind is a string value representing the REST resource this object represents. \
             Servers may infer this from the endpoint the client submits requests to. Cannot be \
             updated. In CamelCase. More info: {CONVENTIONS}#types-kinds"
        ),
    ]
}

/// Sets `apiVersion` and `kind` with these descriptions, and `metadata` with its type, its
/// description and the heading of the conventions that is about it.
fn add_properties(
    schema: &mut Map<String, Value>,
    [api_version, kind]: [String; 2],
    (metadata, about, heading): (&str, &str, &str),
    version: Version,
) {
    let about = format!("{about} More info: {CONVENTIONS}#{heading}");
    let about = Map::from_iter([("description".to_owned(), about.into())]);
    let metadata = version.reference_with(&format!("{META}.{metadata}"), about);
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    properties["apiVersion"] = json!({"type": "string", "description": api_version});
    properties["kind"] = json!({"type": "string", "description": kind});
    properties["metadata"] = metadata;
}

fn add_extensions(schema: &mut Map<String, Value>, kind: &Kind, name: &str) {
    let identity = json!([{"group": kind.group, "kind": name, "version": kind.version}]);
    schema.insert("x-kubernetes-group-version-kind".into(), identity);
    let fields = kind.selectable_fields.iter();
    let fields: Vec<Value> = fields.map(|path| json!({"fieldPath": path})).collect();
    if !fields.is_empty() {
        schema.insert("x-kubernetes-selectable-fields".into(), fields.into());
    }
}

/// A schema and those in it in the form of the version.
fn convert(schema: &Value, version: Version) -> Map<String, Value> {
    let within = |schema: &Value| Value::Object(convert(schema, version));
    let mut converted = Map::new();
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        let value = match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => properties
                .iter()
                .map(|(name, property)| (name.clone(), within(property)))
                .collect(),
            ("items", _) | ("additionalProperties", Value::Object(_)) => within(value),
            ("additionalProperties", Value::Bool(_)) => value.clone(),
            ("allOf" | "anyOf" | "oneOf", Value::Array(all)) if version == Version::V3 => {
                all.iter().map(within).collect()
            }
            ("not", _) if version == Version::V3 => within(value),
            ("nullable", _) if version == Version::V3 => value.clone(),
            (keyword, _) if KEPT.contains(&keyword) => value.clone(),
            _ => continue,
        };
        converted.insert(keyword.clone(), value);
    }
    match version {
        Version::V2 => loosen(&mut converted, schema),
        Version::V3 => unfold(&mut converted, schema),
    }
    if schema.flag(EMBEDDED) && !(version == Version::V2 && schema.flag(PRESERVE_UNKNOWN)) {
        embed(&mut converted, version);
    }
    converted
}

/// Removes what says more in version 2 than the schema of version 3 does, as clients read it
/// (upstream's `ToStructuralOpenAPIV2`): version 2 has no null, and kubectl refuses fields beside
/// those that are listed.
fn loosen(converted: &mut Map<String, Value>, schema: &Value) {
    let keeps_unknown = schema.flag(PRESERVE_UNKNOWN);
    if schema.flag("nullable") {
        converted.remove("type");
    }
    if schema.flag("nullable") || keeps_unknown {
        converted.remove("items");
        converted.remove("properties");
    }
    // kubectl cannot read a list without a schema of its items.
    let is_any = match converted.get("type").and_then(Value::as_str) {
        Some("array") => !converted.contains_key("items"),
        Some("object") => keeps_unknown,
        _ => false,
    };
    if is_any {
        converted.remove("type");
    }
    let has_properties = converted.contains_key("properties");
    let Some(required) = converted.get_mut("required").and_then(Value::as_array_mut) else {
        return;
    };
    if has_properties {
        // A required field that may be null may be missing for clients of version 2.
        let may_be_null = |name: &str| schema["properties"][name].flag("nullable");
        required.retain(|name| !name.as_str().is_some_and(may_be_null));
    }
    if required.is_empty() || schema["additionalProperties"].flag("nullable") {
        converted.remove("required");
    }
}

/// Says of an int-or-string that it is an integer or a string (upstream's `Unfold`).
fn unfold(converted: &mut Map<String, Value>, schema: &Value) {
    let alternatives = json!([{"type": "integer"}, {"type": "string"}]);
    let is_said = schema["anyOf"] == alternatives || schema["allOf"][0]["anyOf"] == alternatives;
    if !schema.flag(INT_OR_STRING) || is_said {
        return;
    }
    if !converted.contains_key("anyOf") {
        converted.insert("anyOf".into(), alternatives);
        return;
    }
    let all = converted.entry("allOf").or_insert_with(|| json!([]));
    if let Some(all) = all.as_array_mut() {
        all.insert(0, json!({"anyOf": alternatives}));
    }
}

/// Adds what every object has to the schema of an object in a field.
fn embed(converted: &mut Map<String, Value>, version: Version) {
    let type_meta = [
        format!(
            "apiVersion defines the versioned schema of this representation of an object. More \
             info: {CONVENTIONS}#resources"
        ),
        format!(
            "kind is a string value representing the type of this object. In CamelCase. More \
             info: {CONVENTIONS}#types-kinds"
        ),
    ];
    let metadata = ("ObjectMeta", "Standard object's metadata.", "metadata");
    add_properties(converted, type_meta, metadata, version);
    let required = converted.entry("required").or_insert_with(|| json!([]));
    for name in ["kind", "apiVersion"] {
        if let Some(required) = required
            .as_array_mut()
            .filter(|all| !all.contains(&name.into()))
        {
            required.push(name.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{json_fields::WriteFields as _, openapi::run_time::widget};

    /// A schema with all that the versions say differently.
    fn schema() -> Value {
        let meta = json!({"type": "object"});
        json!({"type": "object", "description": "A made-up thing.", "required": ["spec"],
            "nullable": false, "anyOf": [{"required": ["spec"]}, {"required": ["status"]}],
            "properties": {"metadata": meta, "spec": {
                "type": "object", "required": ["port", "note"], "not": {"$ref": "#/elsewhere"},
                "properties": {
                    "port": {"x-kubernetes-int-or-string": true, "pattern": "^[a-z0-9]+$",
                        "anyOf": [{"type": "integer"}, {"type": "string"}]},
                    "limit": {"x-kubernetes-int-or-string": true,
                        "anyOf": [{"pattern": "^a"}, {"pattern": "^b"}]},
                    "note": {"type": "string", "nullable": true, "maxLength": 9},
                    "steps": {"type": "array", "nullable": true, "items": {"type": "string"}},
                    "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                        "description": "Anything.", "properties": {"a": {"type": "string"}}},
                    "list": {"type": "array", "x-kubernetes-preserve-unknown-fields": true,
                        "items": {"type": "string"}},
                    "labels": {"type": "object", "required": ["a"],
                        "additionalProperties": {"type": "string", "nullable": true}},
                    "size": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 9,
                        "not": {"enum": [5]}, "oneOf": [{"minimum": 2}], "default": 3},
                    "template": {"type": "object", "x-kubernetes-embedded-resource": true,
                        "properties": {"data": {"type": "string"}}},
                    "object": {"type": "object", "x-kubernetes-embedded-resource": true,
                        "x-kubernetes-preserve-unknown-fields": true}}}}})
    }

    #[test]
    fn version_2_leaves_out_what_it_cannot_say() {
        let published = object_schema(&widget(&schema()), &schema(), Version::V2);
        let [api_version, kind] = type_meta();
        let text = |text: String| json!({"type": "string", "description": text});
        let metadata = json!({"$ref": format!("#/definitions/{META}.ObjectMeta"),
            "description": format!(
                "Standard object's metadata. More info: {CONVENTIONS}#metadata")});
        let mut template = published["properties"]["spec"]["properties"]["template"].clone();
        let data = json!({"type": "string"});
        assert_eq!(template["properties"]["data"], data);
        assert_eq!(template["properties"]["metadata"], metadata);
        assert_eq!(template["required"], json!(["kind", "apiVersion"]));
        template.put("properties", Value::Null);
        assert_eq!(
            published,
            json!({"type": "object", "description": "A made-up thing.", "required": ["spec"],
                "x-kubernetes-group-version-kind":
                    [{"group": "example.com", "version": "v1", "kind": "Widget"}],
                "properties": {
                    "apiVersion": text(api_version), "kind": text(kind), "metadata": metadata,
                    "spec": {"type": "object", "required": ["port"], "properties": {
                        "port": {"x-kubernetes-int-or-string": true, "pattern": "^[a-z0-9]+$"},
                        "limit": {"x-kubernetes-int-or-string": true},
                        "note": {"maxLength": 9},
                        "steps": {},
                        "open": {"x-kubernetes-preserve-unknown-fields": true,
                            "description": "Anything."},
                        "list": {"x-kubernetes-preserve-unknown-fields": true},
                        "labels": {"type": "object", "additionalProperties": {}},
                        "size": {"type": "integer", "format": "int32", "minimum": 1,
                            "maximum": 9, "default": 3},
                        "template": published["properties"]["spec"]["properties"]["template"],
                        "object": {"x-kubernetes-embedded-resource": true,
                            "x-kubernetes-preserve-unknown-fields": true}}}}})
        );
        assert_eq!(
            template,
            json!({"type": "object", "x-kubernetes-embedded-resource": true,
                "required": ["kind", "apiVersion"]})
        );
    }

    #[test]
    fn version_3_says_what_the_schema_says_and_what_an_int_or_string_is() {
        let published = object_schema(&widget(&schema()), &schema(), Version::V3);
        assert_eq!(published["anyOf"], schema()["anyOf"]);
        let metadata = &published["properties"]["metadata"];
        let target = format!("#/components/schemas/{META}.ObjectMeta");
        assert_eq!(metadata["allOf"], json!([{"$ref": target}]));
        let spec = &published["properties"]["spec"];
        assert_eq!(spec["not"], json!({}), "a reference to nothing is left out");
        let (spec, written) = (
            &spec["properties"],
            &schema()["properties"]["spec"]["properties"],
        );
        for same in ["port", "note", "steps", "open", "list", "labels", "size"] {
            assert_eq!(spec[same], written[same], "{same}");
        }
        let alternatives = json!([{"type": "integer"}, {"type": "string"}]);
        assert_eq!(spec["limit"]["anyOf"], written["limit"]["anyOf"]);
        assert_eq!(spec["limit"]["allOf"], json!([{"anyOf": alternatives}]));
        let plain = json!({"x-kubernetes-int-or-string": true});
        let plain = Value::Object(convert(&plain, Version::V3));
        assert_eq!(plain["anyOf"], alternatives);
        assert_eq!(spec["object"]["properties"]["metadata"], *metadata);
    }

    #[test]
    fn version_2_lists_no_fields_of_a_kind_with_unknown_fields() {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"spec": {"type": "object"}}});
        let published = object_schema(&widget(&schema), &schema, Version::V2);
        assert_eq!(
            published,
            json!({"type": "object", "x-kubernetes-group-version-kind":
                [{"group": "example.com", "version": "v1", "kind": "Widget"}]})
        );
        let published = object_schema(&widget(&schema), &schema, Version::V3);
        assert!(published["properties"].get("spec").is_some());
    }

    #[test]
    fn fields_of_selectors_are_published() {
        let schema = json!({"type": "object"});
        let mut kind = widget(&schema);
        kind.selectable_fields = vec!["spec.size".into()];
        for published in [
            object_schema(&kind, &schema, Version::V2),
            list_schema(&kind, Version::V3),
        ] {
            let fields = &published["x-kubernetes-selectable-fields"];
            assert_eq!(*fields, json!([{"fieldPath": "spec.size"}]));
        }
    }
}
