//! A kind: its row, which says how it is served, and its [`Strategy`], which does what it does
//! differently from other kinds. Upstream: `APIResource`, and the strategies of
//! `k8s.io/kubernetes/pkg/registry`, `SetDefaults_*` and the table printers.
//!
//! A kind is one module of [`crate::kinds`]. The rest of the program asks its row and its strategy
//! and compares no names of kinds.

use std::{fmt::Debug, sync::Arc};

use serde_json::Value;

use crate::{
    rbac::Grant,
    schema::{self, Built, Type},
    selectable_fields::text::text_of,
    table::{
        cells,
        columns::{OTHER, Printer},
    },
    validation::{ErrorList, meta, names},
};

/// Whether objects of a kind live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Names are unique in the cluster.
    Cluster,
    /// Names are unique in a namespace.
    Namespaced,
}

/// A subresource such as `status`, `log`, `exec`, `binding`, `eviction`.
#[derive(Debug, Clone)]
pub struct Subresource {
    /// Last segment of its path.
    pub name: String,
    /// API group of the kind of its bodies, empty for the core group.
    pub group: String,
    /// API version of the kind of its bodies.
    pub version: String,
    /// The kind of its bodies.
    pub kind: String,
    /// Verbs as discovery lists them, sorted.
    pub verbs: Vec<String>,
}

impl Subresource {
    /// Whether it has this verb.
    #[must_use]
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }
}

/// One kind in one API version, with its resource.
#[derive(Debug)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: String,
    /// API version, such as `v1`.
    pub version: String,
    /// The kind, such as `DaemonSet`.
    pub kind: String,
    /// The kind of its lists, such as `DaemonSetList`.
    pub list_kind: String,
    /// The resource, such as `daemonsets`.
    pub plural: String,
    /// The resource in the singular, such as `daemonset`.
    pub singular: String,
    /// Whether objects live in a namespace.
    pub scope: Scope,
    /// Short names that kubectl accepts for the resource, such as `ds`.
    pub short_names: Vec<String>,
    /// Groups of resources that kubectl expands, such as `all`.
    pub categories: Vec<String>,
    /// Verbs as discovery lists them, sorted.
    pub verbs: Vec<String>,
    /// Subresources with `status`, sorted by name.
    pub subresources: Vec<Subresource>,
    /// Full name of its type, such as `io.k8s.api.apps.v1.DaemonSet`.
    pub type_name: String,
    /// The type of a kind that came at run time; that of others is in the built-in field tables.
    pub built_type: Option<Built>,
    /// Prefix of the storage keys: `plural` in the core group, `group/plural` in the others. Kinds
    /// with the same prefix share their objects (`events` of the core group and of
    /// `events.k8s.io`). Empty for kinds that are not stored.
    pub storage: String,
    /// Fields that a field selector may name beside `metadata.name` and `metadata.namespace`,
    /// sorted.
    pub selectable_fields: Vec<String>,
    /// The rules of the kind.
    pub strategy: Box<dyn Strategy>,
}

/// A kind that several owners share.
pub type KindRef = Arc<Kind>;

impl Kind {
    /// The `apiVersion` of its objects: `apps/v1`, or `v1` in the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The resource as error texts name it (`schema.GroupResource`): `daemonsets.apps`, or `pods`.
    #[must_use]
    pub fn qualified_resource(&self) -> String {
        qualify(&self.plural, &self.group)
    }

    /// The kind as error texts name it (`schema.GroupKind`): `DaemonSet.apps`, or `Pod`.
    #[must_use]
    pub fn qualified_kind(&self) -> String {
        qualify(&self.kind, &self.group)
    }

    /// Whether objects are stored. Others, such as reviews, are answered only.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.has_verb("list")
    }

    /// Whether the resource has this verb.
    #[must_use]
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }

    /// The type of its objects.
    #[must_use]
    pub fn object_type(&self) -> Option<Type<'_>> {
        match &self.built_type {
            Some(built) => Some(built.view()),
            None => schema::find(&self.type_name),
        }
    }

    /// Full name of the type of its lists, such as `io.k8s.api.apps.v1.DaemonSetList`.
    #[must_use]
    pub fn list_type_name(&self) -> String {
        match self.type_name.rsplit_once('.') {
            Some((package, _)) => format!("{package}.{}", self.list_kind),
            None => self.list_kind.clone(),
        }
    }

    /// Validates the metadata by the rules of the kind (upstream's `ValidateObjectMeta`).
    pub(crate) fn validate_metadata(&self, object: &Value, errors: &mut ErrorList) {
        let name_rule = |name: &str| self.strategy.validate_name(name);
        meta::validate(self.is_namespaced(), name_rule, object, errors);
    }

    /// Whether objects live in a namespace.
    #[must_use]
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// The subresource of that name, if the kind has it.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }
}

/// A name as error texts show it: with its group, unless that is the core group.
pub(crate) fn qualify(name: &str, group: &str) -> String {
    if group.is_empty() {
        name.to_owned()
    } else {
        format!("{name}.{group}")
    }
}

/// What a deletion does to the grace period of an object. Upstream: `rest.BeforeDelete`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GracePeriod {
    /// Objects of this kind have none.
    None,
    /// The object gets this grace period, in seconds.
    Seconds(i64),
    /// The object is terminating already, and this deletion does not shorten its grace period.
    Unchanged,
}

/// Fields that have no owner in writes to an object or a subresource: the server sets them, or the
/// write cannot change them. Upstream: `GetResetFields`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResetFields {
    /// Fields of the object.
    pub top_level: &'static [&'static str],
    /// Fields of `metadata`.
    pub metadata: &'static [&'static str],
}

/// A string field that the watch cache reads from every stored object of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexedField {
    /// As field selectors name it, such as `spec.nodeName`.
    pub path: &'static str,
    /// The first of its two names.
    pub part: &'static str,
    /// The second of its two names.
    pub name: &'static str,
}

/// A strategy: the rules of one kind. The methods that a kind does not write itself do what most
/// kinds do.
pub trait Strategy: Debug + Send + Sync {
    // === defaults and what the server sets ===

    /// Sets the fields that are not set (`SetDefaults_*`). Doing it twice changes nothing.
    fn set_defaults(&self, _object: &mut Value) {}

    /// Removes what clients cannot set in a new object, and sets what the server sets.
    fn prepare_for_create(&self, _object: &mut Value) {}

    /// Takes from the old object what a write to the object cannot change; the status is taken
    /// already.
    fn prepare_for_update(&self, _old: &Value, _new: &mut Value) {}

    /// The same for a write to `/status`; all but metadata and status are taken already.
    fn prepare_for_status_update(&self, _old: &Value, _new: &mut Value) {}

    /// Whether `metadata.generation` counts changes.
    fn has_generation(&self) -> bool {
        false
    }

    /// Whether `metadata.generation` counts the change.
    fn changes_generation(&self, old: &Value, new: &Value) -> bool {
        old["spec"] != new["spec"]
    }

    /// The fields without an owner in writes to a subresource; `""` is the object itself.
    fn reset_fields(&self, kind: &Kind, subresource: &str) -> ResetFields {
        let top_level: &[&str] = match subresource {
            "" if kind.subresource("status").is_some() => &["status"],
            "status" => &["spec"],
            _ => &[],
        };
        ResetFields {
            top_level,
            metadata: &[],
        }
    }

    // === validation ===

    /// What is wrong with a name of this kind.
    fn validate_name(&self, name: &str) -> Vec<String> {
        names::subdomain(name)
    }

    /// Validates a new object, after defaulting.
    fn validate(&self, kind: &Kind, object: &Value, errors: &mut ErrorList) {
        kind.validate_metadata(object, errors);
    }

    /// Validates a changed object; `subresource` is empty for the object itself, and never
    /// `status`.
    fn validate_update(
        &self,
        kind: &Kind,
        _subresource: &str,
        old: &Value,
        new: &Value,
        errors: &mut ErrorList,
    ) {
        meta::validate_update(old, new, errors);
        self.validate_change(old, new, errors);
        self.validate(kind, new, errors);
    }

    /// Validates what a write to the object itself may not change beside the metadata; part of
    /// [`Self::validate_update`], unless the kind writes that itself.
    fn validate_change(&self, _old: &Value, _new: &Value, _errors: &mut ErrorList) {}

    /// Validates a write to `/status`; the metadata is validated already.
    fn validate_status_update(&self, _old: &Value, _new: &Value, _errors: &mut ErrorList) {}

    // === warnings ===

    /// Texts that the client is warned with when it creates this object.
    fn warnings_on_create(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// Texts that the client is warned with when it writes to the object itself.
    fn warnings_on_update(&self, _old: &Value, _new: &Value) -> Vec<String> {
        Vec::new()
    }

    // === what writes may do ===

    /// Whether writes wait for each other, because each object gets values that no other may have.
    fn is_written_one_by_one(&self) -> bool {
        false
    }

    /// Whether a PUT creates a missing object.
    fn allows_create_on_update(&self) -> bool {
        false
    }

    /// Whether a PUT need not name a resource version.
    fn allows_unconditional_update(&self) -> bool {
        true
    }

    /// What a deletion with this grace period (or none) does to that of the object.
    fn grace_period(&self, _object: &Value, _requested: Option<i64>) -> GracePeriod {
        GracePeriod::None
    }

    /// Whether finalizers outside of the metadata delay a deletion.
    fn has_more_finalizers(&self, _object: &Value) -> bool {
        false
    }

    /// Changes an object whose deletion has begun.
    fn deletion_begins(&self, _object: &mut Value) {}

    /// Whether DELETE answers with the deleted object instead of a `Status`.
    fn returns_deleted_object(&self) -> bool {
        false
    }

    /// Whether the objects hold passwords, keys or tokens, which no log may have; also of a
    /// subresource (empty: of the object itself).
    fn holds_secrets(&self, _subresource: &str) -> bool {
        false
    }

    /// The warning that answers requests to a deprecated kind.
    fn deprecation(&self) -> Option<&'static str> {
        None
    }

    /// The rights that an object gives to others: who writes it must hold them.
    fn grants(&self, _object: &Value) -> Option<Grant> {
        None
    }

    // === what readers see ===

    /// The columns of a table and their cells.
    fn printer(&self) -> Printer {
        Printer {
            columns: OTHER,
            cells: cells::other,
        }
    }

    /// The conditions of a row in a table.
    fn row_conditions(&self, _object: &Value) -> Option<Value> {
        None
    }

    /// The present name of a field that field selectors may name by an older one.
    fn selectable_alias<'a>(&self, field: &'a str) -> &'a str {
        field
    }

    /// The value of a selectable field; empty if it is not set.
    fn selectable_value(&self, object: &Value, field: &str) -> String {
        text_of(object, field)
    }

    // === how it is stored ===

    /// The field by which the watch cache keeps an index for lists and watches.
    fn indexed_field(&self) -> Option<IndexedField> {
        None
    }

    /// The fields of the spec that writes to `/status` and deletions read, if the spec is most of
    /// the object: the rest is not parsed then.
    fn spec_read_by_status_writes(&self) -> Option<&'static [&'static str]> {
        None
    }

    /// Whether writes in this namespace may be lost by a restart of the server: heartbeats.
    fn is_volatile(&self, _namespace: &str) -> bool {
        false
    }

    /// Whether objects are stored in the form of another version, that of the storage.
    fn is_stored_converted(&self) -> bool {
        false
    }

    /// Converts an object to its stored form.
    fn to_stored(&self, _object: &mut Value) {}

    /// Converts a stored object to this kind.
    fn convert_stored(&self, _object: &mut Value) {}
}

/// The strategy of kinds that have no rules of their own.
#[derive(Debug)]
pub struct Usual;

impl Strategy for Usual {}
