//! The catalogue of kinds that this server serves.

/// Whether objects of a kind live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One for the whole cluster.
    Cluster,
    /// Inside a namespace.
    Namespaced,
}

/// A subresource such as `status`, `log`, `exec`, `binding`, `eviction`.
#[derive(Debug, Clone, Copy)]
pub struct Subresource {
    /// Path segment.
    pub name: &'static str,
    /// Group of the kind it answers with, empty for the core group.
    pub group: &'static str,
    /// Version of the kind it answers with.
    pub version: &'static str,
    /// The kind it answers with.
    pub kind: &'static str,
    /// Verbs as discovery lists them.
    pub verbs: &'static [&'static str],
}

/// One kind in one version: everything that is static about it.
#[derive(Debug)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// API version, such as `v1`.
    pub version: &'static str,
    /// `DaemonSet`
    pub kind: &'static str,
    /// `DaemonSetList`
    pub list_kind: &'static str,
    /// `daemonsets`
    pub plural: &'static str,
    /// `daemonset`
    pub singular: &'static str,
    /// Namespaced or cluster-wide.
    pub scope: Scope,
    /// `ds`
    pub short_names: &'static [&'static str],
    /// `all`
    pub categories: &'static [&'static str],
    /// Verbs as discovery lists them, sorted.
    pub verbs: &'static [&'static str],
    /// Subresources, `status` included.
    pub subresources: &'static [Subresource],
    /// Name of the type in the field tables, such as `io.k8s.api.apps.v1.DaemonSet`.
    pub type_name: &'static str,
    /// The storage kind: two kinds with the same `storage` share their objects
    /// (`events` of the core group and of `events.k8s.io`). `group/plural` otherwise.
    pub storage: &'static str,
    /// Fields that a field selector may name, beside `metadata.name` and `metadata.namespace`.
    pub selectable: &'static [&'static str],
    /// Whether `metadata.generation` counts changes of the spec.
    pub has_generation: bool,
}

impl Kind {
    /// `apps/v1`, or `v1` for the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `daemonsets.apps`, or `pods`: the resource as error texts name it.
    #[must_use]
    pub fn qualified_resource(&self) -> String {
        qualify(self.plural, self.group)
    }

    /// `DaemonSet.apps`, or `Pod`: the kind as error texts name it.
    #[must_use]
    pub fn qualified_kind(&self) -> String {
        qualify(self.kind, self.group)
    }

    /// Whether objects live in a namespace.
    #[must_use]
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// The subresource of that name.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }
}

fn qualify(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

/// All kinds, in the order of discovery.
#[must_use]
pub fn kinds() -> &'static [Kind] {
    &[]
}

/// Finds a kind by its resource path.
#[must_use]
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    kinds().iter().find(|k| k.group == group && k.version == version && k.plural == plural)
}
