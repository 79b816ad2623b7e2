//! The kinds that are served: upstream's `runtime.Scheme` and `meta.RESTMapper`. Discovery, routing,
//! decoding and storage read it.
//!
//! A [`Scheme`] is a snapshot: cheap to clone, and never changed. Kinds that come at run time give a
//! new one ([`Scheme::with`]), which a server swaps as a whole, so that a request sees one state.

use std::sync::{Arc, LazyLock};

use crate::{Kind, kind::KindRef, kinds, openapi::RunTimeDocuments};

/// The kinds that are served at one moment.
#[derive(Debug, Clone)]
pub struct Scheme(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// In the order of discovery.
    kinds: Vec<KindRef>,
    bodies: Vec<KindRef>,
    documents: RunTimeDocuments,
}

/// A name of a new kind that another one has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameTaken {
    /// The resource, such as `widgets.example.com/v1`.
    #[error("the resource {0} is served already")]
    Resource(String),
    /// The kind, such as `Widget.example.com/v1`.
    #[error("the kind {0} is served already")]
    Kind(String),
}

/// The built-in kinds alone.
#[must_use]
pub fn built_in() -> &'static Scheme {
    static BUILT_IN: LazyLock<Scheme> = LazyLock::new(|| {
        let shared = |kinds: Vec<Kind>| kinds.into_iter().map(Arc::new).collect();
        Scheme(Arc::new(Inner {
            kinds: shared(kinds::with_path()),
            bodies: shared(kinds::bodies()),
            documents: RunTimeDocuments::default(),
        }))
    });
    &BUILT_IN
}

impl Scheme {
    /// The kinds with a resource path of their own, in the order of discovery.
    #[must_use]
    pub fn kinds(&self) -> &[KindRef] {
        &self.0.kinds
    }

    /// Kinds without a resource path: bodies of subresources, and options of requests.
    #[must_use]
    pub fn body_kinds(&self) -> &[KindRef] {
        &self.0.bodies
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &KindRef> {
        self.0.kinds.iter().chain(&self.0.bodies)
    }

    /// Finds the kind of a resource (upstream's `RESTMapper.KindFor`). `group` is empty for the
    /// core group.
    #[must_use]
    pub fn find_resource(&self, group: &str, version: &str, plural: &str) -> Option<&KindRef> {
        let mut kinds = self.0.kinds.iter();
        kinds.find(|k| k.group == group && k.version == version && k.plural == plural)
    }

    /// Finds a kind by its name, among those with a resource path and those without.
    #[must_use]
    pub fn find_kind(&self, group: &str, version: &str, kind: &str) -> Option<&KindRef> {
        self.all()
            .find(|k| k.group == group && k.version == version && k.kind == kind)
    }

    /// The served `(group, version)` pairs, in the order of discovery.
    #[must_use]
    pub fn group_versions(&self) -> Vec<(&str, &str)> {
        let mut found = Vec::new();
        for kind in self.kinds() {
            let of = (kind.group.as_str(), kind.version.as_str());
            if !found.contains(&of) {
                found.push(of);
            }
        }
        found
    }

    /// The kinds with one more.
    ///
    /// # Errors
    /// [`NameTaken`] if a kind of that group version has its resource or its name.
    pub fn with(&self, kind: KindRef) -> Result<Self, NameTaken> {
        let (group, version) = (&kind.group, &kind.version);
        let place = |name: String| format!("{name}/{version}");
        if self.find_resource(group, version, &kind.plural).is_some() {
            return Err(NameTaken::Resource(place(kind.qualified_resource())));
        }
        if self.find_kind(group, version, &kind.kind).is_some() {
            return Err(NameTaken::Kind(place(kind.qualified_kind())));
        }
        let mut kinds = self.0.kinds.clone();
        // The kinds of a group version are listed together.
        let neighbour = |known: &KindRef| known.group == kind.group;
        let at = kinds.iter().rposition(neighbour);
        let at = at.map_or(kinds.len(), |at| at + 1);
        kinds.insert(at, kind);
        Ok(self.with_kinds(kinds))
    }

    /// The kinds without this one.
    #[must_use]
    pub fn without(&self, kind: &KindRef) -> Self {
        let mut kinds = self.0.kinds.clone();
        kinds.retain(|other| !Arc::ptr_eq(other, kind));
        self.with_kinds(kinds)
    }

    fn with_kinds(&self, kinds: Vec<KindRef>) -> Self {
        Self(Arc::new(Inner {
            kinds,
            bodies: self.0.bodies.clone(),
            documents: RunTimeDocuments::default(),
        }))
    }

    /// The OpenAPI documents that were made for this scheme.
    pub(crate) fn documents(&self) -> &RunTimeDocuments {
        &self.0.documents
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_listed_with_its_group_version_and_its_names_are_its_own() {
        let widget = |kind: &str, plural: &str| {
            let mut widget = kinds::with_path().remove(1);
            (widget.group, widget.kind, widget.plural) =
                ("apps".into(), kind.into(), plural.into());
            Arc::new(widget)
        };
        let added = built_in().with(widget("Widget", "widgets")).unwrap();
        let apps: Vec<_> = added
            .kinds()
            .iter()
            .map(|kind| (&*kind.group, &*kind.plural))
            .collect();
        let at = apps
            .iter()
            .position(|(_, plural)| *plural == "widgets")
            .unwrap();
        assert_eq!(apps[at - 1], ("apps", "daemonsets"));
        assert!(
            built_in().find_resource("apps", "v1", "widgets").is_none(),
            "a snapshot"
        );
        let taken = |kind, plural| added.with(widget(kind, plural)).unwrap_err().to_string();
        assert_eq!(
            taken("Other", "widgets"),
            "the resource widgets.apps/v1 is served already"
        );
        assert_eq!(
            taken("Widget", "others"),
            "the kind Widget.apps/v1 is served already"
        );
        let found = added
            .find_resource("apps", "v1", "widgets")
            .unwrap()
            .clone();
        let removed = added.without(&found);
        assert_eq!(removed.kinds().len(), built_in().kinds().len());
    }
}
