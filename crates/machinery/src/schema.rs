//! The field tables: every type that a served kind reaches, generated from the published schema of
//! Kubernetes 1.33 (`cargo xtask codegen`).
//!
//! One table has many readers: strict decoding, the patches and server-side apply.

#[rustfmt::skip]
mod generated;

/// What a value of a field is.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A string.
    String,
    /// `true` or `false`.
    Bool,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// Any number.
    Float,
    /// Base64 in JSON.
    Bytes,
    /// `resource.Quantity`.
    Quantity,
    /// `intstr.IntOrString`.
    IntOrString,
    /// RFC 3339, seconds.
    Time,
    /// RFC 3339, microseconds.
    MicroTime,
    /// Anything (`RawExtension`, `FieldsV1`, JSON).
    Any,
    /// An object of a known type.
    Object(&'static Type),
    /// A list.
    List(&'static Self),
    /// A map from string.
    Map(&'static Self),
}

/// How server-side apply treats a list or map (`x-kubernetes-list-type`, `x-kubernetes-map-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// Lists: owned as a whole. Maps and structs: merged field by field (the default of each).
    Default,
    /// Owned as a whole.
    Atomic,
    /// A list of distinct scalars.
    Set,
    /// A list of objects, told apart by these keys.
    Map(&'static [&'static str]),
}

/// One field of a type.
#[derive(Debug)]
pub struct Field {
    /// JSON name.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// Whether the schema requires it.
    pub required: bool,
    /// `x-kubernetes-list-type` / `x-kubernetes-map-type` on the field (or atomic on its type).
    pub topology: Topology,
    /// `x-kubernetes-patch-strategy` contains `merge`.
    pub patch_merge: bool,
    /// `x-kubernetes-patch-strategy` contains `retainKeys`.
    pub patch_retain_keys: bool,
    /// `x-kubernetes-patch-merge-key`, empty for none.
    pub patch_merge_key: &'static str,
    /// Whether an empty value (`""`, `0`, `false`, `[]`, `{}`) is not written, as upstream's Go types say (`omitempty`
    /// on a field that is no pointer).
    pub omit_empty: bool,
    /// Field number in protobuf, 0 for none. A field of an embedded struct has the number of that struct in the high byte.
    pub wire: u16,
    /// Default of the field as a string, where server-side apply needs it for a list-map key (`TCP`).
    pub default: Option<&'static str>,
}

/// A struct type.
#[derive(Debug)]
pub struct Type {
    /// Such as `io.k8s.api.core.v1.PodSpec`.
    pub name: &'static str,
    /// Fields sorted by name.
    pub fields: &'static [Field],
}

impl Type {
    /// The field of that JSON name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        let fields: &'static [Field] = self.fields;
        fields
            .binary_search_by(|f| f.name.cmp(name))
            .ok()
            .map(|at| &fields[at])
    }

    /// The Go type name: the last segment.
    #[must_use]
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }
}

/// Finds a type by its full name, such as `io.k8s.api.apps.v1.DaemonSet`.
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
    use crate::catalogue;

    #[test]
    fn tables_are_sorted() {
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
    fn every_kind_has_a_table_with_its_names() {
        for kind in catalogue::kinds().iter().chain(catalogue::body_kinds()) {
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
    fn verbs_and_selectable_fields_are_sorted() {
        for kind in catalogue::kinds() {
            assert!(
                kind.verbs.is_sorted() && kind.selectable.is_sorted(),
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
    fn extensions_of_the_schema_arrive_in_the_table() {
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
