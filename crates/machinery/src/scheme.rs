//! The kinds that are served: the part of upstream's `runtime.Scheme` and `meta.RESTMapper` that is
//! fixed when the server starts. Discovery, routing and storage read it.

use crate::{Kind, kinds};

/// The kinds with a resource path of their own, in the order of discovery.
#[must_use]
pub fn kinds() -> &'static [&'static Kind] {
    kinds::WITH_PATH
}

/// Kinds without a resource path: bodies of subresources, and options of requests.
#[must_use]
pub fn body_kinds() -> &'static [&'static Kind] {
    kinds::BODIES
}

/// Finds the kind of a resource (upstream's `RESTMapper.KindFor`). `group` is empty for the core
/// group.
#[must_use]
pub fn find_resource(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    kinds()
        .iter()
        .copied()
        .find(|k| k.group == group && k.version == version && k.plural == plural)
}

/// Finds a kind by its name, among those with a resource path and those without.
#[must_use]
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    kinds()
        .iter()
        .chain(body_kinds())
        .copied()
        .find(|k| k.group == group && k.version == version && k.kind == kind)
}

/// The served `(group, version)` pairs, in the order of discovery.
#[must_use]
pub fn group_versions() -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    for kind in kinds() {
        if !found.contains(&(kind.group, kind.version)) {
            found.push((kind.group, kind.version));
        }
    }
    found
}
