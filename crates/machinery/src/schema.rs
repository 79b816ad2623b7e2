//! The field tables: the types of everything that is served. Those of built-in kinds are static,
//! generated from the published OpenAPI schema of Kubernetes 1.33 (`cargo run -p xtask -- codegen`);
//! those of kinds that come at run time are built from their schema ([`Built`]). Readers see one
//! [`Type`].
//!
//! Decoding, defaulting, strategic merge patch and server-side apply read the same tables.

mod built;
#[rustfmt::skip]
mod generated;
mod table;

pub use built::{Built, SchemaError};

/// The type of a JSON value.
#[derive(Debug, Clone, Copy)]
pub enum Shape<'t> {
    /// A string without a format.
    String,
    /// `true` or `false`.
    Bool,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// An integer or floating-point number.
    Float,
    /// A string in standard Base64.
    Bytes,
    /// `resource.Quantity`: a string such as `100m`, or a number.
    Quantity,
    /// `intstr.IntOrString`: a string, or a whole number of 32 bits.
    IntOrString,
    /// `metav1.Time`: RFC 3339 with whole seconds.
    Time,
    /// `metav1.MicroTime`: RFC 3339 with microseconds.
    MicroTime,
    /// Any JSON value (`RawExtension`, `FieldsV1`, `JSON`).
    Any,
    /// An object with the fields of this type.
    Object(Type<'t>),
    /// A list of such values.
    List(Item<'t>),
    /// An object with any keys and such values.
    Map(Item<'t>),
}

/// The shape of the items of a list or the values of a map.
#[derive(Debug, Clone, Copy)]
pub struct Item<'t>(ItemOf<'t>);

#[derive(Debug, Clone, Copy)]
enum ItemOf<'t> {
    Table(&'static table::Shape),
    Built(&'t built::Shape),
}

impl<'t> Item<'t> {
    /// The shape of each of them.
    #[must_use]
    pub fn shape(self) -> Shape<'t> {
        match self.0 {
            ItemOf::Table(shape) => Shape::of_table(*shape),
            ItemOf::Built(shape) => shape.view(),
        }
    }
}

/// How server-side apply treats a list or map (`x-kubernetes-list-type`, `x-kubernetes-map-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology<'t> {
    /// Not given: a list is atomic, a map or struct is merged field by field.
    Default,
    /// Replaced and owned as a whole.
    Atomic,
    /// A list of distinct scalars.
    Set,
    /// A list of objects that are identified by these key fields.
    Map(Keys<'t>),
}

/// Names of key fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys<'t>(KeysOf<'t>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeysOf<'t> {
    Table(&'static [&'static str]),
    Built(&'t [String]),
}

impl<'t> Keys<'t> {
    /// The names, in the order of the schema.
    pub fn iter(self) -> impl Iterator<Item = &'t str> {
        let (table, built): (&'static [&'static str], &'t [String]) = match self.0 {
            KeysOf::Table(keys) => (keys, &[]),
            KeysOf::Built(keys) => (&[], keys),
        };
        table
            .iter()
            .copied()
            .chain(built.iter().map(String::as_str))
    }
}

/// One field of a struct type.
#[derive(Debug, Clone, Copy)]
pub struct Field<'t> {
    /// Name in JSON.
    pub name: &'t str,
    /// Type of its values.
    pub shape: Shape<'t>,
    /// Whether the schema lists it as required.
    pub required: bool,
    /// `x-kubernetes-list-type` or `x-kubernetes-map-type` of the field, or else of its type.
    pub topology: Topology<'t>,
    /// Whether `x-kubernetes-patch-strategy` contains `merge`.
    pub patch_merge: bool,
    /// Whether `x-kubernetes-patch-strategy` contains `retainKeys`.
    pub patch_retain_keys: bool,
    /// `x-kubernetes-patch-merge-key`, empty for none.
    pub patch_merge_key: &'t str,
    /// Whether an empty value (`""`, `0`, `false`, `[]`, `{}`) is left out of the JSON: the Go
    /// field has `omitempty` and is no pointer.
    pub omit_empty: bool,
    /// Field number in protobuf, 0 for none. A field of an embedded struct has the number of that
    /// struct in the high byte.
    pub number: u16,
    /// Default of the field if server-side apply needs it for a key of a list (`TCP`).
    pub default: Option<&'t str>,
}

/// A struct type.
#[derive(Debug, Clone, Copy)]
pub struct Type<'t>(TypeOf<'t>);

#[derive(Debug, Clone, Copy)]
enum TypeOf<'t> {
    Table(&'static table::Type),
    Built(&'t built::Type),
}

impl<'t> Type<'t> {
    /// Full name, such as `io.k8s.api.core.v1.PodSpec`.
    #[must_use]
    pub const fn name(self) -> &'t str {
        match self.0 {
            TypeOf::Table(of) => of.name,
            TypeOf::Built(of) => of.name.as_str(),
        }
    }

    /// The name of the Go type: the last segment of the full name.
    #[must_use]
    pub fn short_name(self) -> &'t str {
        let name = self.name();
        name.rsplit('.').next().unwrap_or(name)
    }

    /// The field of that name in JSON.
    #[must_use]
    pub fn field(self, name: &str) -> Option<Field<'t>> {
        match self.0 {
            TypeOf::Table(of) => {
                let found = of.fields.binary_search_by(|field| field.name.cmp(name));
                found.ok().map(|at| Field::of_table(&of.fields[at]))
            }
            TypeOf::Built(of) => of.field(name).map(built::Field::view),
        }
    }

    /// Its fields, sorted by name.
    pub fn fields(self) -> impl Iterator<Item = Field<'t>> {
        let (table, built): (&'static [table::Field], &'t [built::Field]) = match self.0 {
            TypeOf::Table(of) => (of.fields, &[]),
            TypeOf::Built(of) => (&[], of.fields.as_slice()),
        };
        let table = table
            .iter()
            .map(|field| -> Field<'t> { Field::of_table(field) });
        table.chain(built.iter().map(built::Field::view))
    }

    /// Whether fields that the type does not have are kept
    /// (`x-kubernetes-preserve-unknown-fields`).
    #[must_use]
    pub const fn keeps_unknown_fields(self) -> bool {
        match self.0 {
            TypeOf::Table(_) => false,
            TypeOf::Built(of) => of.keeps_unknown_fields,
        }
    }
}

impl Field<'static> {
    fn of_table(field: &'static table::Field) -> Self {
        Self {
            name: field.name,
            shape: Shape::of_table(field.shape),
            required: field.required,
            topology: match field.topology {
                table::Topology::Default => Topology::Default,
                table::Topology::Atomic => Topology::Atomic,
                table::Topology::Set => Topology::Set,
                table::Topology::Map(keys) => Topology::Map(Keys(KeysOf::Table(keys))),
            },
            patch_merge: field.patch_merge,
            patch_retain_keys: field.patch_retain_keys,
            patch_merge_key: field.patch_merge_key,
            omit_empty: field.omit_empty,
            number: field.number,
            default: field.default,
        }
    }
}

impl Shape<'static> {
    const fn of_table(shape: table::Shape) -> Self {
        match shape {
            table::Shape::String => Self::String,
            table::Shape::Bool => Self::Bool,
            table::Shape::Int32 => Self::Int32,
            table::Shape::Int64 => Self::Int64,
            table::Shape::Bytes => Self::Bytes,
            table::Shape::Quantity => Self::Quantity,
            table::Shape::IntOrString => Self::IntOrString,
            table::Shape::Time => Self::Time,
            table::Shape::MicroTime => Self::MicroTime,
            table::Shape::Any => Self::Any,
            table::Shape::Object(of) => Self::Object(Type(TypeOf::Table(of))),
            table::Shape::List(item) => Self::List(Item(ItemOf::Table(item))),
            table::Shape::Map(item) => Self::Map(Item(ItemOf::Table(item))),
        }
    }
}

/// The built-in type of that full name, such as `io.k8s.api.apps.v1.DaemonSet`.
#[must_use]
pub fn find(name: &str) -> Option<Type<'static>> {
    let types = generated::TYPES;
    let found = types.binary_search_by(|t| t.name.cmp(name));
    found.ok().map(|at| Type(TypeOf::Table(types[at])))
}

/// Every built-in type, sorted by name.
pub fn types() -> impl Iterator<Item = Type<'static>> {
    let types = generated::TYPES.iter();
    types.map(|of| Type(TypeOf::Table(of)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme;

    #[test]
    fn types_and_fields_are_sorted_by_name() {
        assert!(types().is_sorted_by(|a, b| a.name() < b.name()));
        for of in types() {
            assert!(
                of.fields().is_sorted_by(|a, b| a.name < b.name),
                "{}",
                of.name()
            );
        }
    }

    #[test]
    fn every_kind_has_a_type_of_its_name_with_api_version_and_kind() {
        for kind in scheme::built_in().all() {
            let table = kind.object_type();
            let table = table.unwrap_or_else(|| panic!("{} has no table", kind.type_name));
            assert_eq!(table.short_name(), kind.kind);
            assert!(
                table.field("apiVersion").is_some() && table.field("kind").is_some(),
                "{}",
                kind.kind
            );
        }
    }

    #[test]
    fn verbs_subresources_and_selectable_fields_are_sorted() {
        for kind in scheme::built_in().kinds() {
            assert!(
                kind.verbs.is_sorted() && kind.selectable_fields.is_sorted(),
                "{}",
                kind.kind
            );
            assert!(
                kind.subresources.is_sorted_by_key(|s| &s.name),
                "{}",
                kind.kind
            );
            assert!(
                kind.subresources.iter().all(|s| s.verbs.is_sorted()),
                "{}",
                kind.kind
            );
            assert!(!kind.storage.is_empty(), "{}", kind.kind);
        }
    }

    #[test]
    fn field_tables_hold_the_extensions_of_the_schema() {
        let spec = find("io.k8s.api.core.v1.PodSpec").unwrap();
        let containers = spec.field("containers").unwrap();
        assert_eq!(
            containers.topology,
            Topology::Map(Keys(KeysOf::Table(&["name"])))
        );
        assert!(
            containers.required && containers.patch_merge && containers.patch_merge_key == "name"
        );
        let volumes = spec.field("volumes").unwrap();
        assert!(volumes.patch_merge && volumes.patch_retain_keys);
        let container = find("io.k8s.api.core.v1.Container").unwrap();
        let ports = container.field("ports").unwrap();
        assert_eq!(
            ports.topology,
            Topology::Map(Keys(KeysOf::Table(&["containerPort", "protocol"])))
        );
        let port = find("io.k8s.api.core.v1.ContainerPort").unwrap();
        assert_eq!(port.field("protocol").unwrap().default, Some("TCP"));
        let daemon_set = find("io.k8s.api.apps.v1.DaemonSetSpec").unwrap();
        assert_eq!(
            daemon_set.field("selector").unwrap().topology,
            Topology::Atomic
        );
    }
}
