//! The field tables: every type that a served kind reaches, generated from the published OpenAPI
//! schema of Kubernetes 1.33 (`cargo run -p xtask -- codegen`).
//!
//! Decoding, defaulting, strategic merge patch and server-side apply read the same tables.

#[rustfmt::skip]
mod generated;

/// The type of a JSON value.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
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
    Object(&'static Type),
    /// A list of such values.
    List(&'static Self),
    /// An object with any keys and such values.
    Map(&'static Self),
}

/// How server-side apply treats a list or map (`x-kubernetes-list-type`, `x-kubernetes-map-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// Not given: a list is atomic, a map or struct is merged field by field.
    Default,
    /// Replaced and owned as a whole.
    Atomic,
    /// A list of distinct scalars.
    Set,
    /// A list of objects that are identified by these key fields.
    Map(&'static [&'static str]),
}

/// One field of a struct type.
#[derive(Debug)]
pub struct Field {
    /// Name in JSON.
    pub name: &'static str,
    /// Type of its values.
    pub shape: Shape,
    /// Whether the schema lists it as required.
    pub required: bool,
    /// `x-kubernetes-list-type` or `x-kubernetes-map-type` of the field, or else of its type.
    pub topology: Topology,
    /// Whether `x-kubernetes-patch-strategy` contains `merge`.
    pub patch_merge: bool,
    /// Whether `x-kubernetes-patch-strategy` contains `retainKeys`.
    pub patch_retain_keys: bool,
    /// `x-kubernetes-patch-merge-key`, empty for none.
    pub patch_merge_key: &'static str,
    /// Whether an empty value (`""`, `0`, `false`, `[]`, `{}`) is left out of the JSON: the Go
    /// field has `omitempty` and is no pointer.
    pub omit_empty: bool,
    /// Field number in protobuf, 0 for none. A field of an embedded struct has the number of that
    /// struct in the high byte.
    pub number: u16,
    /// Default of the field if server-side apply needs it for a key of a list (`TCP`).
    pub default: Option<&'static str>,
}

/// A struct type.
#[derive(Debug)]
pub struct Type {
    /// Full name, such as `io.k8s.api.core.v1.PodSpec`.
    pub name: &'static str,
    /// Its fields, sorted by name.
    pub fields: &'static [Field],
}

impl Type {
    /// The field of that name in JSON.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        let fields: &'static [Field] = self.fields;
        fields
            .binary_search_by(|f| f.name.cmp(name))
            .ok()
            .map(|at| &fields[at])
    }

    /// The name of the Go type: the last segment of the full name.
    #[must_use]
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }
}

/// The type of that full name, such as `io.k8s.api.apps.v1.DaemonSet`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Type> {
    let types = generated::TYPES;
    types
        .binary_search_by(|t| t.name.cmp(name))
        .ok()
        .map(|at| types[at])
}

/// Every type, sorted by name.
#[must_use]
pub fn types() -> &'static [&'static Type] {
    generated::TYPES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme;

    #[test]
    fn types_and_fields_are_sorted_by_name() {
        assert!(types().is_sorted_by(|a, b| a.name < b.name));
        for table in types() {
            assert!(
                table.fields.is_sorted_by(|a, b| a.name < b.name),
                "{}",
                table.name
            );
        }
    }

    #[test]
    fn every_kind_has_a_type_of_its_name_with_api_version_and_kind() {
        for kind in scheme::kinds().iter().chain(scheme::body_kinds()) {
            let table =
                find(kind.type_name).unwrap_or_else(|| panic!("{} has no table", kind.type_name));
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
        for kind in scheme::kinds() {
            assert!(
                kind.verbs.is_sorted() && kind.selectable_fields.is_sorted(),
                "{}",
                kind.kind
            );
            assert!(
                kind.subresources.is_sorted_by_key(|s| s.name),
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
        assert_eq!(containers.topology, Topology::Map(&["name"]));
        assert!(
            containers.required && containers.patch_merge && containers.patch_merge_key == "name"
        );
        let volumes = spec.field("volumes").unwrap();
        assert!(volumes.patch_merge && volumes.patch_retain_keys);
        let container = find("io.k8s.api.core.v1.Container").unwrap();
        let ports = container.field("ports").unwrap();
        assert_eq!(
            ports.topology,
            Topology::Map(&["containerPort", "protocol"])
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
