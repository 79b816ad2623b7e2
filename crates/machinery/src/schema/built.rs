//! Types that are built from the schema of a kind that comes at run time: an OpenAPI v3 schema in
//! the structural form of CustomResourceDefinitions, which refers to nothing outside of itself.

use serde_json::Value;

use super::{Field as FieldView, Item, ItemOf, Keys, KeysOf, Shape as ShapeView, Topology, TypeOf};
use crate::json_fields::ReadFields;

/// Most levels of a schema.
const MAX_DEPTH: usize = 64;
/// The type of `metadata` of every object.
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A part of it has a type that there is none of.
    #[error("{path}: unsupported value {found:?} of \"type\"")]
    Type {
        /// Where it stands, such as `.spec.size`.
        path: String,
        /// The type that it asks for.
        found: String,
    },
    /// It refers to another schema.
    #[error("{path}: \"$ref\" is not supported in the schema of a kind")]
    Reference {
        /// Where it stands.
        path: String,
    },
    /// It is nested too deeply.
    #[error("{path}: more than {MAX_DEPTH} levels")]
    Deep {
        /// Where the limit is reached.
        path: String,
    },
}

/// The type of a kind that came at run time.
#[derive(Debug)]
pub struct Built {
    of: Type,
    schema: Value,
}

#[derive(Debug)]
pub(super) struct Type {
    pub(super) name: String,
    /// Sorted by name.
    pub(super) fields: Vec<Field>,
    pub(super) keeps_unknown_fields: bool,
}

#[derive(Debug)]
pub(super) struct Field {
    name: String,
    shape: Shape,
    required: bool,
    topology: BuiltTopology,
    default: Option<String>,
}

#[derive(Debug)]
enum BuiltTopology {
    Default,
    Atomic,
    Set,
    Map(Vec<String>),
}

#[derive(Debug)]
pub(super) enum Shape {
    /// A scalar, any value, or a built-in type.
    Known(ShapeView<'static>),
    Object(Box<Type>),
    List(Box<Self>),
    Map(Box<Self>),
}

impl Built {
    /// Builds the type of a kind from its schema; `name` is its full name.
    ///
    /// # Errors
    /// [`SchemaError`] says what is wrong with the schema, and where.
    pub fn new(name: &str, schema: &Value) -> Result<Self, SchemaError> {
        let mut built = Type::build(name, schema, &Place::ROOT)?;
        // Every object has these, whatever its schema says of them.
        let meta = super::find(OBJECT_META).map_or(ShapeView::Any, ShapeView::Object);
        for (name, shape) in [
            ("apiVersion", ShapeView::String),
            ("kind", ShapeView::String),
            ("metadata", meta),
        ] {
            built.fields.retain(|field| field.name != name);
            built.fields.push(Field {
                name: name.to_owned(),
                shape: Shape::Known(shape),
                required: false,
                topology: BuiltTopology::Default,
                default: None,
            });
        }
        built.fields.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            of: built,
            schema: schema.clone(),
        })
    }

    /// The schema that it was built from.
    #[must_use]
    pub const fn schema(&self) -> &Value {
        &self.schema
    }

    /// The type as readers see it.
    #[must_use]
    pub const fn view(&self) -> super::Type<'_> {
        super::Type(TypeOf::Built(&self.of))
    }
}

/// A place in a schema, for errors.
struct Place<'a> {
    parent: Option<(&'a Self, &'a str)>,
    depth: usize,
}

impl<'a> Place<'a> {
    const ROOT: Place<'static> = Place {
        parent: None,
        depth: 0,
    };

    const fn child(&'a self, step: &'a str) -> Self {
        Place {
            parent: Some((self, step)),
            depth: self.depth + 1,
        }
    }

    fn path(&self) -> String {
        match self.parent {
            None => String::new(),
            Some((parent, step)) => format!("{}.{step}", parent.path()),
        }
    }
}

impl Type {
    fn build(name: &str, schema: &Value, at: &Place<'_>) -> Result<Self, SchemaError> {
        if at.depth > MAX_DEPTH {
            return Err(SchemaError::Deep { path: at.path() });
        }
        let required = schema.items("required");
        let mut fields = Vec::new();
        for (field, schema) in schema.entries("properties").into_iter().flatten() {
            let at = at.child(field);
            fields.push(Field {
                shape: Shape::build(&format!("{name}.{field}"), schema, &at)?,
                required: required.iter().any(|name| name == field),
                topology: BuiltTopology::of(schema),
                default: schema["default"].as_str().map(str::to_owned),
                name: field.clone(),
            });
        }
        fields.sort_by(|a: &Field, b: &Field| a.name.cmp(&b.name));
        Ok(Self {
            name: name.to_owned(),
            fields,
            keeps_unknown_fields: schema.flag("x-kubernetes-preserve-unknown-fields"),
        })
    }

    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        let found = self
            .fields
            .binary_search_by(|field| field.name.as_str().cmp(name));
        found.ok().map(|at| &self.fields[at])
    }
}

impl BuiltTopology {
    fn of(schema: &Value) -> Self {
        match (
            schema.text("x-kubernetes-list-type"),
            schema.text("x-kubernetes-map-type"),
        ) {
            ("atomic", _) | (_, "atomic") => Self::Atomic,
            ("set", _) => Self::Set,
            ("map", _) => {
                let keys = schema.items("x-kubernetes-list-map-keys").iter();
                let keys = keys.filter_map(Value::as_str).map(str::to_owned);
                Self::Map(keys.collect())
            }
            _ => Self::Default,
        }
    }
}

impl Shape {
    fn build(name: &str, schema: &Value, at: &Place<'_>) -> Result<Self, SchemaError> {
        if schema.has("$ref") {
            return Err(SchemaError::Reference { path: at.path() });
        }
        if schema.flag("x-kubernetes-int-or-string") {
            return Ok(Self::Known(ShapeView::IntOrString));
        }
        let known = match (schema.text("type"), schema.text("format")) {
            ("object", _) => return Self::object(name, schema, at),
            ("array", _) => {
                let items = Self::build(name, &schema["items"], &at.child("items"))?;
                return Ok(Self::List(Box::new(items)));
            }
            ("string", "byte") => ShapeView::Bytes,
            ("string", _) => ShapeView::String,
            ("boolean", _) => ShapeView::Bool,
            ("integer", "int32") => ShapeView::Int32,
            ("integer", _) => ShapeView::Int64,
            ("number", _) => ShapeView::Float,
            ("", _) => ShapeView::Any,
            (other, _) => {
                return Err(SchemaError::Type {
                    path: at.path(),
                    found: other.to_owned(),
                });
            }
        };
        Ok(Self::Known(known))
    }

    fn object(name: &str, schema: &Value, at: &Place<'_>) -> Result<Self, SchemaError> {
        let values = &schema["additionalProperties"];
        if values.is_object() {
            let values = Self::build(name, values, &at.child("additionalProperties"))?;
            return Ok(Self::Map(Box::new(values)));
        }
        let is_open = schema.flag("x-kubernetes-preserve-unknown-fields");
        let has_fields = schema
            .entries("properties")
            .is_some_and(|all| !all.is_empty());
        if (is_open && !has_fields) || values.as_bool() == Some(true) {
            return Ok(Self::Known(ShapeView::Any));
        }
        Ok(Self::Object(Box::new(Type::build(name, schema, at)?)))
    }

    pub(super) const fn view(&self) -> ShapeView<'_> {
        match self {
            Self::Known(shape) => *shape,
            Self::Object(of) => ShapeView::Object(super::Type(TypeOf::Built(of))),
            Self::List(item) => ShapeView::List(Item(ItemOf::Built(item))),
            Self::Map(item) => ShapeView::Map(Item(ItemOf::Built(item))),
        }
    }
}

impl Field {
    pub(super) fn view(&self) -> FieldView<'_> {
        FieldView {
            name: &self.name,
            shape: self.shape.view(),
            required: self.required,
            topology: match &self.topology {
                BuiltTopology::Default => Topology::Default,
                BuiltTopology::Atomic => Topology::Atomic,
                BuiltTopology::Set => Topology::Set,
                BuiltTopology::Map(keys) => Topology::Map(Keys(KeysOf::Built(keys))),
            },
            patch_merge: false,
            patch_retain_keys: false,
            patch_merge_key: "",
            omit_empty: false,
            number: 0,
            default: self.default.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_becomes_a_type() {
        let schema = json!({"type": "object", "required": ["spec"], "properties": {
            "spec": {"type": "object", "required": ["size"], "properties": {
                "size": {"type": "integer", "format": "int32"},
                "ports": {"type": "array", "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["port", "protocol"],
                    "items": {"type": "object", "properties": {
                        "port": {"type": "integer"},
                        "protocol": {"type": "string", "default": "TCP"}}}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "target": {"x-kubernetes-int-or-string": true},
                "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
            "metadata": {"type": "object"}}});
        let built = Built::new("com.example.v1.Widget", &schema).unwrap();
        let widget = built.view();
        assert_eq!(widget.short_name(), "Widget");
        let names: Vec<&str> = widget.fields().map(|field| field.name).collect();
        assert_eq!(names, ["apiVersion", "kind", "metadata", "spec"]);
        assert!(matches!(
            widget.field("metadata").unwrap().shape,
            ShapeView::Object(meta) if meta.field("ownerReferences").is_some()
        ));
        let spec = widget.field("spec").unwrap();
        let ShapeView::Object(of) = spec.shape else {
            panic!("{spec:?}")
        };
        assert!(spec.required && of.field("size").unwrap().required);
        assert!(matches!(of.field("size").unwrap().shape, ShapeView::Int32));
        assert!(matches!(
            of.field("target").unwrap().shape,
            ShapeView::IntOrString
        ));
        assert!(matches!(of.field("raw").unwrap().shape, ShapeView::Any));
        assert!(matches!(
            of.field("labels").unwrap().shape,
            ShapeView::Map(values) if matches!(values.shape(), ShapeView::String)
        ));
        let ports = of.field("ports").unwrap();
        let Topology::Map(keys) = ports.topology else {
            panic!("{ports:?}")
        };
        assert_eq!(keys.iter().collect::<Vec<_>>(), ["port", "protocol"]);
    }

    #[test]
    fn a_schema_that_cannot_be_used_is_refused_with_its_place() {
        let of = |schema: Value| {
            let schema = json!({"type": "object", "properties": {"spec": schema}});
            Built::new("com.example.v1.Widget", &schema)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            of(json!({"type": "int"})),
            ".spec: unsupported value \"int\" of \"type\""
        );
        assert_eq!(
            of(json!({"type": "array", "items": {"$ref": "#/x"}})),
            ".spec.items: \"$ref\" is not supported in the schema of a kind"
        );
        let mut deep = json!({"type": "string"});
        for _ in 0..100 {
            deep = json!({"type": "object", "properties": {"a": deep}});
        }
        assert!(of(deep).ends_with("more than 64 levels"));
    }
}
